"""Imports run one way: functions, entry, then services, adapters and targets, then domain."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "layers" / "core" / "python" / "erasure"
CLIENT = ROOT / "layers" / "client" / "python" / "erasure_client"

BELOW = {"domain", "errors", "cold_start"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "cold_start": set(),
    "domain": {"domain", "errors"},
    "ports": BELOW,
    "targets": BELOW | {"targets", "ports"},
    "adapters": BELOW | {"adapters", "ports"},
    "services": BELOW | {"services", "ports", "targets.protocol"},
    "entry": BELOW | {"entry", "services", "adapters", "targets", "ports"},
}


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all modules that a file imports, wherever in it; those for type checking included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def is_allowed(name: str, allowed: set[str]) -> bool:
    inner = name.removeprefix("erasure.")
    if name in ("erasure", "erasure.targets"):  # a package on the way to what is named beside it
        return True
    return any(inner == part or inner.startswith(f"{part}.") for part in allowed)


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_run_one_way(path: Path) -> None:
    """A module of ``erasure`` imports only from its own layer and those below it."""
    layer = path.relative_to(CORE).parts[0].removesuffix(".py")
    if layer == "__init__":
        assert not [name for name in imports(path) if name.startswith("erasure")]
        return
    wrong = [
        name
        for name in imports(path)
        if name.split(".")[0] == "erasure" and name != "erasure.__version__" and not is_allowed(name, MAY_IMPORT[layer])
    ]
    assert wrong == []


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_domain_is_pure_and_boto3_is_nowhere(path: Path) -> None:
    """No module of the layer imports boto3, and the domain imports nothing that does input or output."""
    names = {name.split(".")[0] for name in imports(path)}
    assert "boto3" not in names
    if "domain" in path.relative_to(CORE).parts:
        assert not names & {"botocore", "os", "socket", "logging", "aws_lambda_powertools"}


def test_services_know_neither_aws_nor_http() -> None:
    """Use cases import no AWS library and nothing of the HTTP side."""
    for path in modules(CORE / "services"):
        names = {name.split(".")[0] for name in imports(path)}
        assert not names & {"botocore", "aws_lambda_powertools", "http", "urllib"}, path.name


def test_the_client_stands_alone() -> None:
    """The client imports nothing of the service."""
    for path in modules(CLIENT) if CLIENT.exists() else []:
        assert "erasure" not in {name.split(".")[0] for name in imports(path)}, path.name


@pytest.mark.parametrize("folder", sorted((ROOT / "functions").glob("*/")), ids=lambda folder: folder.name)
def test_functions_are_thin(folder: Path) -> None:
    """A function's folder has one Python file at most, ``app.py``, which imports nothing but ``erasure.entry``."""
    files = modules(folder)
    if folder.name == "erasure_job":
        assert files == []
        return
    assert [path.name for path in files] == ["app.py"]
    ours = {name for name in imports(files[0]) if not name.startswith("__future__")}
    assert ours
    assert all(name.startswith("erasure.entry.") for name in ours)


def test_the_checks_have_something_to_check() -> None:
    """The folders that these tests read are there."""
    assert len(modules(CORE)) > 30
    assert len(list((ROOT / "functions").glob("*/app.py"))) >= 7
