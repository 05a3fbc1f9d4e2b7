"""Run the scenarios of ``tests/client/scenarios`` somewhere else, with a Python that knows the client only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

SCENARIOS = Path(__file__).resolve().parent / "scenarios"

HANDS = ("sync", "async", "command")
PEOPLE = (
    *("watched", "audited", "planned", "kept", "hurried", "repeated"),
    *("held", "deleted", "disabled", "suppressed", "bystander", "herself"),
)
"""Who the scenarios are about, by what becomes of them."""

OF_BACKENDS, OF_PEOPLE = 20, 2
EXPECTED = {"sync": OF_BACKENDS + OF_PEOPLE, "async": OF_BACKENDS + OF_PEOPLE, "command": OF_BACKENDS}
"""How many scenarios each of the hands has: the command line has no person's side."""

LONGEST_SECONDS = 600


class Result(NamedTuple):
    """``passed``: how many scenarios, with each of the hands. ``others``: what failed or was left out."""

    passed: Mapping[str, int]
    others: Sequence[str]
    output: str


def user_id_of(hand: str, name: str) -> str:
    """Of the person of that name. One of them is called in a way that has to be encoded in paths."""
    return f"usr {hand} zoë 50% a+b?x=1" if name == "deleted" else f"usr_{hand}_{name}"


def people_of(hand: str) -> dict[str, str]:
    return {name: user_id_of(hand, name) for name in PEOPLE}


def run_scenarios(
    python: Path,
    folder: Path,
    world: Mapping[str, Any],
    *,
    hands: Sequence[str] = HANDS,
    variables: Mapping[str, str] | None = None,
) -> Result:
    """All scenarios with these ``hands``, which work at the same time, in an empty ``folder``. ``world``: what the
    scenarios' ``hands`` module takes. ``variables``: the environment, by default one that knows nothing of this
    repository."""
    copied = folder / "scenarios"
    shutil.copytree(SCENARIOS, copied, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **(variables or {})}
    environment["ERASURE_SCENARIOS"] = json.dumps(world)
    started = {}
    for hand in hands:
        arguments = [*("-q", "--color=no", "-p", "no:cacheprovider"), *("-k", f"[{hand}]"), str(copied)]
        report = folder / f"{hand}.xml"
        started[report] = subprocess.Popen(
            [str(python), "-m", "pytest", *arguments, f"--rootdir={copied}", f"--junitxml={report}"],
            cwd=folder,
            env=environment,
            stdout=(folder / f"{hand}.txt").open("w"),
            stderr=subprocess.STDOUT,
        )
    try:
        for process in started.values():
            process.wait(LONGEST_SECONDS)
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    output = "\n".join((folder / f"{hand}.txt").read_text() for hand in hands)
    return _result(list(started), output)


def _result(reports: Sequence[Path], output: str) -> Result:
    passed, others = {report.stem: 0 for report in reports}, []
    for report in reports:
        if not report.exists():
            others.append(f"no report of {report.stem}")
            continue
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest's own
            if len(case.findall("./*")) == len(case.findall("system-out")):
                passed[report.stem] += 1
            else:
                others.append(f"{report.stem}: {case.get('name')}")
    return Result(passed, others, output)
