"""The wheel of the client, in empty environments: what is in it, and that it does its work against the deployed stack
without anything of this repository beside it.

The last of the tests on the stack: what the scenarios have begun goes on after them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Mapping
from email.parser import Parser
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.deployment import make_key
from local.sample import Person
from local.stack import ROOT, Stack
from local.tokens import token
from tests.client.scenario_run import EXPECTED, HANDS, people_of, run_scenarios
from tests.e2e.test_5_bulk import fill

pytestmark = pytest.mark.stack

THINGS = {"accounts": 1, "documents": 2, "comments": 1, "sessions": 1, "document-files": 2, "avatars": 1}
"""Of each person, by target: what ``fill`` writes."""

NOT_HERE = ("erasure", "boto3", "botocore", "pydantic", "local", "tests")
"""What the client must do without."""


class Environment:
    """A virtual environment, with pip in it."""

    def __init__(self, folder: Path, *requirements: str) -> None:
        self.folder = folder
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        self.script = folder / "bin" / "erasure"
        self("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)

    def __call__(self, *arguments: str) -> str:
        """What its Python prints, away from the repository. Fails if it fails."""
        ran = self.run(str(self.python), *arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        known = ("PATH", "HOME", "LANG")
        variables = {name: value for name, value in os.environ.items() if name in known or name.startswith("PIP_")}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def importable(self, *names: str) -> set[str]:
        """Those of them that could be imported."""
        code = f"from importlib.util import find_spec; print(*[n for n in {names!r} if find_spec(n) is not None])"
        return set(self("-c", code).split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the layer's sources."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(_sources(folder))], check=True)
    (made,) = folder.glob("*.whl")
    return made


def _sources(folder: Path) -> Path:
    """A copy: setuptools leaves its work beside the sources, and takes up what it has left there before."""
    left = shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
    return Path(shutil.copytree(ROOT / "layers" / "client", folder / "client", ignore=left))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, the command line's extra and pytest, and nothing else."""
    return Environment(tmp_path_factory.mktemp("with-extra") / "venv", f"{wheel}[cli]", "pytest")


def test_what_is_in_the_wheel(wheel: Path) -> None:
    """The package with its types, the fake for users' tests and the command; no tests of ours, nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
        (scripts,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    packaged = {name for name in names if ".dist-info/" not in name}
    sources = ROOT / "layers" / "client" / "python"
    wanted = {str(path.relative_to(sources)) for path in sources.glob("erasure_client/**/*.py")}
    assert packaged == wanted | {"erasure_client/py.typed"}
    assert not [name for name in packaged if "test_" in name or "conftest" in name]
    told = Parser().parsestr(metadata)
    version = (sources / "erasure_client" / "_version.py").read_text().split('"')[1]
    assert (told["Name"], told["Version"]) == ("erasure-client", version)
    assert told["Requires-Python"] == ">=3.11"
    needed = [each for each in told.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert [each.split("<")[0].split(">")[0] for each in needed] == ["httpx"]
    assert set(told.get_all("Provides-Extra", [])) == {"cli", "aws"}
    assert "erasure = erasure_client.cli:main" in scripts


def test_the_client_does_without_the_command(wheel: Path, tmp_path: Path) -> None:
    """Without the extra the client is there; the command says what is missing, and how to get it."""
    bare = Environment(tmp_path / "venv", str(wheel))
    assert bare.importable("click", "rich", "yaml", *NOT_HERE) == set()
    bare(
        "-c",
        "import erasure_client, erasure_client.testing; erasure_client.ErasureClient('https://e.test', api_key='k')",
    )
    ran = bare.run(str(bare.script), "sla")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "click, rich, yaml" in ran.stderr
    assert "next: " in ran.stderr
    assert "[cli]" in ran.stderr


def test_the_scenarios_pass_on_the_stack(empty: Environment, stack: Stack, tmp_path: Path) -> None:
    """Every scenario, with either client and the command line, by the installed wheel: none fails, none is left out.

    Each of the hands has a tenant of its own, so that they work at the same time."""
    assert empty.importable("erasure_client", "click", *NOT_HERE) == {"erasure_client", "click"}
    where = Path(empty("-c", "import erasure_client; print(erasure_client.__file__)").strip())
    assert empty.folder in where.parents
    own = dict(_seeded(stack))
    world = {"url": stack.api_url, "things": THINGS, "hands": own, "command": [str(empty.script)]}
    result = run_scenarios(empty.python, tmp_path, world)
    print(result.output)
    assert result.others == [], result.output
    assert result.passed == EXPECTED, result.output


def _seeded(stack: Stack) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What each of the hands acts on, with its people's data in place."""
    for hand in HANDS:
        tenant, people = f"scenarios-{hand}", people_of(hand)
        fill(stack, [Person(tenant, user_id) for user_id in people.values()])
        key = make_key(stack, tenant)
        # The client cannot put anybody on the suppression list: only June's calls do.
        answer = httpx.post(
            f"{stack.api_url.rstrip('/')}/api/platform/data_management/user_deletion_request",
            json={"user_id": people["suppressed"]},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        yield hand, {"api_key": key, "people": people, "token": token(people["herself"], tenant, stack=stack)}
