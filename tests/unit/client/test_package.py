"""The package as its users see it."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import erasure
import erasure_client
from erasure_client import AsyncErasureClient, ErasureClient, _models_others, _models_plans, _models_requests, errors
from erasure_client.testing import FakeService

ROOT = Path(__file__).resolve().parents[3]
PROJECT = ROOT / "layers" / "client"

PROGRAM = """
from erasure_client import AsyncErasureClient, ErasureClient, ErasureRequest, Subject


def tell(request: ErasureRequest) -> None:
    print(request.state)


async def tell_later(request: ErasureRequest) -> None:
    print(request.state)


with ErasureClient("https://erasure.example.com", api_key=lambda: "key") as client:
    reveal_type(client)
    reveal_type(client.requests.create(["ann", Subject.group("g")]).request.due_at)
    reveal_type(client.requests.wait("er_1", timeout=5, on_progress=tell))
    reveal_type(next(client.requests.list(subject="ann")))
    reveal_type([result.status for result in client.bulk(each for each in "ab")])
    reveal_type(client.confirm_current_user_deletion("d", 5).kept)
    client.requests.create(5)  # type: ignore[arg-type]
    client.no_such_thing  # type: ignore[attr-defined]


async def main() -> None:
    async with AsyncErasureClient(token="token") as client:
        reveal_type(client)
        reveal_type(await client.users.delete("ann"))
        await client.requests.wait("er_1", on_progress=tell_later)
        async for request in client.requests.list():
            reveal_type(request)
        async for result in client.bulk(["a"]):
            reveal_type(result)
"""
REVEALED = [
    "ErasureClient",
    "datetime",
    "ErasureRequest",
    "ErasureRequest",
    "list[str]",
    "tuple[Target, ...]",
    "AsyncErasureClient",
    "Deletion",
    "ErasureRequest",
    "BulkResult",
]


def test_a_program_that_uses_the_client_is_typed(tmp_path: Path) -> None:
    """Under mypy --strict, a user's program sees the types of both clients, and its mistakes."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [*command, "--no-sqlite-cache", "--no-color-output", str(program)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(PROJECT / "python")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert [re.sub(r"[a-z_]+\.", "", each) for each in revealed] == REVEALED


def test_the_package_says_that_it_is_typed() -> None:
    """``py.typed`` is there, and goes into the wheel."""
    assert files("erasure_client").joinpath("py.typed").is_file()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["erasure_client"]


def test_the_public_face_is_complete() -> None:
    """Every public name exists, in order, and every exception and result is among them."""
    names = erasure_client.__all__
    assert names == sorted(names, key=lambda name: (name.startswith("_"), name))
    assert all(hasattr(erasure_client, name) for name in names)
    for module in (errors, _models_others, _models_plans, _models_requests):
        public = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        assert public
        assert set(public) <= set(names)


def test_the_client_has_the_services_version() -> None:
    """They are of one release: the doctor holds one against the other."""
    assert erasure_client.__version__ == erasure.__version__


def _methods(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(value)
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods() -> None:
    """Clients and their faces differ in being awaited, and in nothing else."""
    names = {"close": "aclose"}
    pairs: list[tuple[type, type]] = [(ErasureClient, AsyncErasureClient)]
    service = FakeService()
    client, async_client = service.client(), service.async_client()
    pairs += [
        (type(getattr(client, name)), type(getattr(async_client, name))) for name in ErasureClient.__annotations__
    ]
    assert len(pairs) == 7
    for one, other in pairs:
        ours = {names.get(name, name): signature for name, signature in _methods(one).items()}
        theirs = _methods(other)
        assert ours.keys() == theirs.keys(), one.__name__
        for name, signature in ours.items():
            given, awaited = signature.parameters, theirs[name].parameters
            assert list(given) == list(awaited), (one.__name__, name)
            assert [each.default for each in given.values()] == [each.default for each in awaited.values()], name
            assert [each.kind for each in given.values()] == [each.kind for each in awaited.values()], name
    client.close()


def test_the_example_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program in the package's docstring runs, and tells of an erasure that is complete."""
    example = re.search(r"::\n\n((?:    .*\n|\n)+)", erasure_client.__doc__ or "")
    assert example is not None
    service = FakeService(auto_finish=True)
    service.add_user("usr_1", documents=3)
    client = service.client()
    monkeypatch.setattr(erasure_client, "ErasureClient", lambda *_, **__: client)
    exec(inspect.cleandoc(example[1]), {})  # noqa: S102
    assert capsys.readouterr().out == "True\n"
    assert service.erased("usr_1")
