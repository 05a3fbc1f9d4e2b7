"""What `sam build` puts into an artefact: bytecode beside every module, and nothing that could not run."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
PROCESSOR = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
UNCHECKED_HASH = 1
"""Flags of a .pyc that is taken as it is, without a look at its source (PEP 552)."""


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / "layers" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


def without_bytecode(artefact: Path) -> list[str]:
    """Modules that this Python would have to compile when it imports them."""
    return [
        str(module.relative_to(artefact))
        for module in artefact.rglob("*.py")
        if not taken_as_it_is(Path(importlib.util.cache_from_source(str(module))))
    ]


def taken_as_it_is(compiled: Path) -> bool:
    if not compiled.exists():
        return False
    head = compiled.read_bytes()[:8]
    return head[:4] == importlib.util.MAGIC_NUMBER and int.from_bytes(head[4:], "little") == UNCHECKED_HASH


def test_ten_functions_are_built() -> None:
    """The list that the tests below go through is the whole one."""
    assert len(FUNCTIONS) == 10


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_bytecode(name: str, tmp_path: Path) -> None:
    """A function's artefact is its app.py with bytecode that is used without a check."""
    build.build_function(name, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.py")] == ["app.py"]
    assert without_bytecode(tmp_path) == []


def test_core_layer_has_bytecode(tmp_path: Path) -> None:
    """The core layer holds the package below python/, each module with bytecode."""
    build.build_core(tmp_path)
    shipped = {path.relative_to(tmp_path / "python") for path in tmp_path.rglob("*.py")}
    package = ROOT / "layers" / "core" / "python"
    assert shipped == {path.relative_to(package) for path in (package / "erasure").rglob("*.py")}
    assert without_bytecode(tmp_path) == []


def test_deps_layer_keeps_the_page_of_the_api(tmp_path: Path) -> None:
    """What `/docs` is made of is not among what the build removes from the dependencies."""
    import aws_lambda_powertools

    package = tmp_path / "aws_lambda_powertools"
    shutil.copytree(Path(aws_lambda_powertools.__file__).parent, package)
    build.remove_unused(tmp_path)
    page = package / "event_handler" / "openapi" / "swagger_ui"
    assert {"swagger-ui-bundle.min.js", "swagger-ui.min.css"} <= {path.name for path in page.iterdir()}


def test_stale_bytecode_is_not_shipped(tmp_path: Path) -> None:
    """Bytecode that lay beside the sources is replaced: it would be taken as it is."""
    module = tmp_path / "module.py"
    module.write_text("answer = 42\n")
    compiled = Path(importlib.util.cache_from_source(str(module)))
    compiled.parent.mkdir()
    compiled.write_bytes(b"stale")
    foreign = compiled.with_name("module.cpython-27.pyc")
    foreign.write_bytes(b"stale")
    build.compile_all(tmp_path, "/var/task")
    assert taken_as_it_is(compiled)
    assert not foreign.exists()


def test_module_that_does_not_compile_fails_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A module with a syntax error is not shipped."""
    (tmp_path / "broken.py").write_text("def broken(:\n")
    with pytest.raises(build.BuildError, match="did not compile"):
        build.compile_all(tmp_path, "/var/task")
    assert "broken.py" in capfd.readouterr().out


def test_client_layer_is_the_client_without_its_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client's layer holds the package below python/, with bytecode; no function needs the command line."""
    asked: list[Path] = []
    monkeypatch.setattr(build, "install_wheels", lambda requirements, _destination: asked.append(requirements))
    build.build_client(tmp_path)
    package = tmp_path / "python" / "erasure_client"
    assert (package / "py.typed").exists()
    assert {"__init__.py", "errors.py"} <= {path.name for path in package.iterdir()}
    assert not (package / "cli").exists()
    assert without_bytecode(tmp_path) == []
    assert asked == [ROOT / "layers" / "client" / "requirements.txt"]


@pytest.mark.parametrize(
    ("layer", "needed"),
    [
        ("deps", {"aws-lambda-powertools", "botocore", "cryptography", "pydantic", "pyjwt"}),
        ("client", {"httpx", "httpcore", "anyio"}),
    ],
)
def test_requirements_are_pinned_with_hashes(layer: str, needed: set[str]) -> None:
    """Each dependency has a version and hashes, and no line gives the address of an index."""
    text = (ROOT / "layers" / layer / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9-]+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", text, re.MULTILINE)
    assert {name for name, _hashes in pins} >= needed
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize(
    ("layer", "project_file"), [("deps", "pyproject.toml"), ("client", "layers/client/pyproject.toml")]
)
def test_requirements_are_the_projects_own(layer: str, project_file: str) -> None:
    """What a layer is pinned from is what the package in it says that it runs with."""
    import tomllib

    project = tomllib.loads((ROOT / project_file).read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "layers" / layer / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert sorted(line for line in lines if line and not line.startswith("#")) == sorted(project["dependencies"])


# --- interpreter and parameters agree ----------------------------------------------------------------------------

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sam_build(tmp_path: Path) -> Iterator[Build]:
    """Runs a make target as `sam build` does: below a process of that name, in a scratch folder."""
    command = tmp_path / "bin" / "sam"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nmake --makefile "$PLACE/Makefile" "$TARGET"\nexit $?\n')
    command.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(*arguments: str, target: str = "build-CloseJob", **environment: str) -> subprocess.CompletedProcess[str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("ERASURE_", "MAKE"))}
        given |= {"ARTIFACTS_DIR": str(tmp_path / "artefact"), "TARGET": target, "PLACE": str(ROOT)}
        given |= {"ERASURE_PYTHON": sys.executable, "ERASURE_ARCH": platform.machine(), **environment}
        return subprocess.run(
            [str(command), "build", *arguments], cwd=scratch, env=given, capture_output=True, text=True, check=False
        )

    return run


def test_make_builds_what_sam_asks_for(sam_build: Build, tmp_path: Path) -> None:
    """The make target fills ARTIFACTS_DIR when interpreter and parameters agree."""
    done = sam_build("--parameter-overrides", f"PythonRuntime={RUNTIME}", f"Architecture={PROCESSOR}")
    assert done.returncode == 0, done.stderr
    assert without_bytecode(tmp_path / "artefact") == []
    assert (tmp_path / "artefact" / "app.py").exists()


def test_project_may_lie_anywhere(sam_build: Build, tmp_path: Path) -> None:
    """The path of the project may hold spaces and apostrophes."""
    place = tmp_path / "somebody's own folder"
    place.mkdir()
    for name in ("Makefile", "build.mk", "layers", "functions", "samconfig.toml"):
        (place / name).symlink_to(ROOT / name)
    overrides = ("--parameter-overrides", f"PythonRuntime={RUNTIME}", f"Architecture={PROCESSOR}")
    done = sam_build(*overrides, PLACE=str(place))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "artefact" / "app.py").exists()


def test_other_runtime_is_refused(sam_build: Build, tmp_path: Path) -> None:
    """Built for one Python and deployed on another, functions would not start: the build says what to set."""
    done = sam_build("--parameter-overrides", "PythonRuntime=python3.99", f"Architecture={PROCESSOR}")
    assert done.returncode != 0
    assert f"This build is for {RUNTIME}" in done.stderr
    assert "ERASURE_PYTHON=python3.99" in done.stderr
    assert not (tmp_path / "artefact").exists()


def test_missing_interpreter_is_explained(sam_build: Build) -> None:
    """Without the runtime's Python on the machine, the build fails and names the variable to set."""
    done = sam_build(ERASURE_PYTHON="python3.99")
    assert done.returncode != 0
    assert "python3.99 does not run here" in done.stderr
    assert "set ERASURE_PYTHON" in done.stderr


def test_unknown_processor_is_refused(sam_build: Build) -> None:
    """A processor that Lambda does not have is refused by name."""
    done = sam_build(ERASURE_ARCH="sparc")
    assert done.returncode != 0
    assert "ERASURE_ARCH is 'sparc'" in done.stderr


@pytest.mark.parametrize(
    ("command_line", "config", "expected"),
    [
        ("sam build", "", ("python3.13", "arm64")),
        (
            "/venv/bin/python /venv/bin/sam build --parameter-overrides PythonRuntime=python3.12",
            "",
            ("python3.12", "arm64"),
        ),
        (
            "sam build --parameter-overrides ParameterKey=PythonRuntime,ParameterValue=python3.11"
            " ParameterKey=Architecture,ParameterValue=x86_64",
            "",
            ("python3.11", "x86_64"),
        ),
        (
            "sam build",
            '[default.deploy.parameters]\nparameter_overrides = "OidcUserClaim=\\"x\\" PythonRuntime=\\"python3.12\\""',
            ("python3.12", "arm64"),
        ),
        (
            "sam build",
            '[default.deploy.parameters]\nparameter_overrides = ["PythonRuntime=python3.12", "Architecture=x86_64"]',
            ("python3.12", "x86_64"),
        ),
        (
            "sam build --config-env local",
            '[default.deploy.parameters]\nparameter_overrides = "PythonRuntime=python3.12"',
            ("python3.13", "arm64"),
        ),
        (
            "sam build --parameter-overrides Architecture=arm64",
            '[default.deploy.parameters]\nparameter_overrides = "Architecture=x86_64 PythonRuntime=python3.12"',
            ("python3.12", "arm64"),
        ),
    ],
)
def test_parameters_are_found_where_sam_finds_them(
    command_line: str, config: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    """Command line before samconfig.toml (of the chosen environment) before the template's defaults."""
    if config:
        (tmp_path / "samconfig.toml").write_text(config)
    wanted = build.wanted_parameters(tmp_path, command_line)
    assert (wanted["PythonRuntime"], wanted["Architecture"]) == expected


@pytest.mark.stack
@pytest.mark.usefixtures("stack")
def test_deployed_artefacts_have_bytecode() -> None:
    """Of what `sam build` made for the deployed stack, dependencies included, no module is compiled at import."""
    artefacts = ROOT / ".local" / "build"
    assert {path.name for path in artefacts.iterdir() if path.is_dir()} >= {
        "DepsLayer",
        "CoreLayer",
        "ClientLayer",
        "SubjectApi",
    }
    modules = [path for path in artefacts.rglob("*.py") if not path.is_relative_to(artefacts / ".aws-sam")]
    assert len(modules) > 500
    assert without_bytecode(artefacts) == []
    size = sum(path.stat().st_size for path in artefacts.rglob("*") if path.is_file())
    assert size < 100 * 2**20, "Lambda allows 250 MB for a function and its layers"
