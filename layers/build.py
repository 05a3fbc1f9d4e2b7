"""Builds one artefact for ``sam build``: a function's folder, or the layer of code, of dependencies or of the client.

``ERASURE_PYTHON layers/build.py function <name> | core | deps | client  <artifacts dir>``. It writes nothing into the
project, which is read-only in SAM's build containers.

Every module gets an unchecked-hash .pyc beside it: Lambda's disk is read-only, so without one each cold start
compiles everything again. The interpreter that runs this file does the compiling and must be the runtime's.
Standard library only: it runs under a bare Python.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import py_compile
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent

ARCHITECTURES = {"aarch64": "arm64", "x86_64": "x86_64"}
"""Names of the processors in wheels, and on Lambda."""

_DEFAULTS = {"PythonRuntime": "python3.13", "Architecture": "arm64"}
_SAM_BUILD = re.compile(r"(?:^|[\s/])sam(?:cli|\.cmd|\.exe)?\s(?:.*\s)?build(?:\s|$)")
_GLIBC = {(3, 11): 26}
"""Lambda's glibc 2.x by Python version: 2.26 up to Python 3.11 (Amazon Linux 2), 2.34 from 3.12 on."""


class BuildError(Exception):
    """The artefact cannot be built; the text says what to do."""


def main(arguments: list[str]) -> int:
    *what, target = arguments
    destination = Path(target)
    try:
        if not target:
            raise BuildError("ARTIFACTS_DIR is not set: these targets are called by `sam build`.")
        check_agreement(wanted_parameters(PROJECT), sys.version_info[:2], architecture())
        if what[0] == "function":
            build_function(what[1], destination)
        elif what[0] == "core":
            build_core(destination)
        elif what[0] == "client":
            build_client(destination)
        else:
            build_deps(destination)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def architecture() -> str:
    """The processor to build for, by its name in wheels.

    Raises :class:`BuildError` for a name that is unknown.
    """
    name = os.environ.get("ERASURE_ARCH", "aarch64")
    name = {"arm64": "aarch64", "amd64": "x86_64"}.get(name.lower(), name)
    if name not in ARCHITECTURES:
        raise BuildError(f"ERASURE_ARCH is {name!r}; it must be aarch64 (arm64 on AWS) or x86_64.")
    return name


# --- the artefacts -------------------------------------------------------------------------------------------


def build_function(name: str, destination: Path) -> None:
    shutil.copytree(PROJECT / "functions" / name, destination, dirs_exist_ok=True, ignore=_not_shipped)
    compile_all(destination, "/var/task")


def build_core(destination: Path) -> None:
    source = PROJECT / "layers" / "core" / "python" / "erasure"
    shutil.copytree(source, destination / "python" / "erasure", dirs_exist_ok=True, ignore=_not_shipped)
    compile_all(destination / "python", "/opt/python")


def build_deps(destination: Path) -> None:
    python = destination / "python"
    install_wheels(PROJECT / "layers" / "deps" / "requirements.txt", python)
    trim_botocore(python / "botocore" / "data")
    remove_unused(python)
    compile_all(python, "/opt/python")


def build_client(destination: Path) -> None:
    """The client and what it imports, for functions of other applications. The command line is no matter of theirs."""
    python = destination / "python"
    install_wheels(PROJECT / "layers" / "client" / "requirements.txt", python)
    remove_unused(python)
    source = PROJECT / "layers" / "client" / "python" / "erasure_client"
    shutil.copytree(source, python / "erasure_client", dirs_exist_ok=True, ignore=_not_of_the_client_layer)
    compile_all(python, "/opt/python")


def install_wheels(requirements: Path, destination: Path) -> None:
    """Install exactly the pinned wheels, for the functions' platform whatever machine this is."""
    major, minor = sys.version_info[:2]
    machine = architecture()
    platforms = [f"--platform=manylinux_2_{glibc}_{machine}" for glibc in range(_GLIBC.get((major, minor), 34), 16, -1)]
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"),
        *("--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation=cp"),
        *(f"--python-version={major}.{minor}", *platforms, f"--platform=manylinux2014_{machine}"),
        *("--requirement", str(requirements), "--target", str(destination), "--upgrade"),
    ]
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:  # noqa: S603 - nothing of it is input
        raise BuildError(
            f"The dependencies could not be installed for Python {major}.{minor} on {machine}; pip's reason stands"
            f" above. If it says that there is no module named pip: {sys.executable} -m ensurepip."
        )


def trim_botocore(data: Path) -> None:
    """Leave what the functions use. The script that knows what that is stands beside the layer's requirements."""
    script = runpy.run_path(str(PROJECT / "layers" / "deps" / "trim_botocore.py"))
    try:
        script["trim"](data)
    except script["LayoutError"] as error:
        raise BuildError(f"botocore's data could not be trimmed: {error}") from error


def remove_unused(python: Path) -> None:
    """Remove command line scripts and the packages' own tests."""
    shutil.rmtree(python / "bin", ignore_errors=True)
    for folder in [*python.rglob("tests"), *python.rglob("__pycache__")]:
        shutil.rmtree(folder, ignore_errors=True)


def compile_all(folder: Path, place: str) -> None:
    """Compile every module below ``folder``; ``place`` is where it will lie on Lambda, for tracebacks.

    Raises :class:`BuildError` if one does not compile.
    """
    for compiled in folder.rglob("*.pyc"):
        compiled.unlink()
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, ddir=place, quiet=1, force=True, invalidation_mode=mode, workers=0):
        raise BuildError("Some modules did not compile; see above.")


def _not_shipped(_folder: str, names: list[str]) -> Iterable[str]:
    return [name for name in names if name in {"__pycache__", "requirements.txt"} or name.endswith(".pyc")]


def _not_of_the_client_layer(folder: str, names: list[str]) -> Iterable[str]:
    return [*_not_shipped(folder, names), "cli"]


# --- does the artefact fit the template's parameters? ------------------------------------------------------------


def check_agreement(wanted: Mapping[str, str], version: tuple[int, int], machine: str) -> None:
    """Raise :class:`BuildError` if code built like this could not run under the parameters ``wanted``."""
    built = {"PythonRuntime": f"python{version[0]}.{version[1]}", "Architecture": ARCHITECTURES[machine]}
    if built == dict(wanted):
        return
    wheels = {lambda_name: name for name, lambda_name in ARCHITECTURES.items()}
    raise BuildError(
        f"This build is for {built['PythonRuntime']} on {built['Architecture']}, but the template's parameters ask for"
        f" {wanted['PythonRuntime']} on {wanted['Architecture']}: the functions would not start.\n"
        f"Either build with ERASURE_PYTHON={wanted['PythonRuntime']}"
        f" ERASURE_ARCH={wheels.get(wanted['Architecture'], wanted['Architecture'])},\n"
        "or give both `sam build` and `sam deploy`"
        f" --parameter-overrides PythonRuntime={built['PythonRuntime']} Architecture={built['Architecture']}."
    )


def wanted_parameters(project: Path, command_line: str | None = None) -> dict[str, str]:
    """``PythonRuntime`` and ``Architecture`` as SAM will use them, as far as can be seen from here.

    SAM does not tell a makefile its parameters. They are on its command line, or in samconfig.toml where
    `sam deploy --guided` saves them, or the template's defaults.
    """
    if command_line is None:
        command_line = next((line for line in ancestors() if _SAM_BUILD.search(line)), "")
    environment = re.search(r"--config-env[ =](\S+)", command_line)
    wanted = _DEFAULTS | _configured(project / "samconfig.toml", environment.group(1) if environment else "default")
    return wanted | _overrides(command_line)


def _configured(file: Path, environment: str) -> dict[str, str]:
    # tomllib came with 3.11, which is the oldest Python that the project runs on.
    import tomllib

    if not file.exists():
        return {}
    sections: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get(environment, {})
    found: dict[str, str] = {}
    for command in ("global", "deploy", "build"):
        value = sections.get(command, {}).get("parameters", {}).get("parameter_overrides", "")
        found |= _overrides(value if isinstance(value, str) else json.dumps(value))
    return found


def _overrides(text: str) -> dict[str, str]:
    """The two parameters in any of the ways that SAM reads them (``A=b``, ``ParameterKey=A,ParameterValue=b``)."""
    found = {}
    for name in _DEFAULTS:
        match = re.search(name + r"(?:,ParameterValue)?[\"']?\s*[=:]\s*\\?[\"']?([\w.]+)", text)
        if match:
            found[name] = match.group(1)
    return found


def ancestors() -> Iterator[str]:
    """Command lines of this process's ancestors, nearest first; nothing where there is no `ps`."""
    process = os.getppid()
    while process > 1:
        try:
            shown = subprocess.run(  # noqa: S603 - the only part that varies is a number
                ["ps", "-ww", "-o", "ppid=,args=", "-p", str(process)],  # noqa: S607 - wherever it is
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split(None, 1)
        except (OSError, subprocess.CalledProcessError):
            return
        if len(shown) < 2:
            return
        yield shown[1]
        process = int(shown[0])


if __name__ == "__main__":
    if platform.python_implementation() != "CPython":
        sys.exit("The functions run on CPython; set ERASURE_PYTHON to one.")
    # SAM shows what make wrote to standard error only, and the compiler reports to standard output.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(main(sys.argv[1:]))
