"""What the cold starts are measured on: our built artefacts, the naive build and a bare boto3.

All are built for this machine's own Python, from the versions that ``layers/deps/requirements.txt`` pins, below
``build/bench/``. Installed packages are kept while the pins stay the same; everything of ours is built each time.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest import mock

from local.stack import ROOT

BENCH_BUILD = ROOT / "build" / "bench"
REQUIREMENTS = ROOT / "layers" / "deps" / "requirements.txt"
NAIVE_APP = Path(__file__).with_name("naive_app.py")
PROBE = Path(__file__).with_name("probe.py")

_NAIVE_PACKAGES = ("aws-lambda-powertools[tracer,parser]", "boto3")
_BARE_PACKAGES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")


@dataclass(frozen=True)
class Artefacts:
    """Folders as they lie on Lambda: ``deps`` and ``core`` are layers' ``python/``, ``functions`` one folder each."""

    deps: Path
    core: Path
    functions: Path
    naive: Path
    bare: Path

    def path_of(self, function: str) -> str:
        """PYTHONPATH of one of our functions, in Lambda's order."""
        return os.pathsep.join(map(str, (self.functions / function, self.core, self.deps)))

    def compiled(self) -> tuple[Path, ...]:
        """The artefacts that are ours."""
        return (self.deps, self.core, self.functions)


def function_names() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))


def build_all() -> Artefacts:
    """Build everything that has changed since the last time."""
    builder = load_builder()
    packages = BENCH_BUILD / _digest(REQUIREMENTS.read_bytes(), sys.version.encode())
    if not (packages / "complete").exists():
        shutil.rmtree(BENCH_BUILD, ignore_errors=True)
        with mock.patch.dict(os.environ, {"ERASURE_ARCH": platform.machine()}):
            builder.install_wheels(REQUIREMENTS, packages / "wheels")
        _install_naive(packages / "naive")
        _make_bare(packages / "naive", packages / "bare")
        (packages / "complete").touch()
    ours = BENCH_BUILD / "ours"
    shutil.rmtree(ours, ignore_errors=True)
    _build_ours(builder, packages / "wheels", ours)
    shutil.copy(NAIVE_APP, packages / "naive")
    return Artefacts(
        deps=ours / "deps" / "python",
        core=ours / "core" / "python",
        functions=ours / "functions",
        naive=packages / "naive",
        bare=packages / "bare",
    )


def load_builder() -> ModuleType:
    """``layers/build.py``, which is a script and belongs to no package."""
    return _load(ROOT / "layers" / "build.py")


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"erasure_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _build_ours(builder: ModuleType, wheels: Path, ours: Path) -> None:
    def install(_requirements: Path, destination: Path) -> None:
        shutil.copytree(wheels, destination, symlinks=True)

    with mock.patch.object(builder, "install_wheels", install):
        builder.build_deps(ours / "deps")
    builder.build_core(ours / "core")
    for name in function_names():
        builder.build_function(name, ours / "functions" / name)


def _install_naive(target: Path) -> None:
    constraints = target.with_suffix(".txt")
    pins = re.findall(r"^[A-Za-z0-9_.-]+==[^\s\\;]+", REQUIREMENTS.read_text(), re.MULTILINE)
    constraints.write_text("\n".join(pins))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    command += ["--only-binary=:all:", "--constraint", str(constraints), "--target", str(target), *_NAIVE_PACKAGES]
    # pip compares what it puts into the folder with what is installed elsewhere, and complains: none of it matters.
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    if any(target.rglob("*.pyc")):
        raise RuntimeError("the naive build is to have no bytecode")


def _make_bare(naive: Path, bare: Path) -> None:
    bare.mkdir()
    for name in _BARE_PACKAGES:
        source = naive / name
        if source.is_dir():
            shutil.copytree(source, bare / name)
        else:
            shutil.copy(source, bare / name)
    compileall.compile_dir(bare, quiet=1)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
