"""The one call that verifies all units of a job after their first slice: what it says of each."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.logging.logger import Logger

from erasure.adapters.sessions import SessionName
from erasure.entry.workers import UNITS_AT_ONCE, Handler, make_verify_target
from erasure.services.verify_unit import NextStep, VerifyUnitDependencies
from erasure.targets.protocol import Deadline
from tests import fake_jobs, fakes
from tests.fake_clock_stores import FakeHoldStore

SECRET = "zq9xwv-secret-person"
JOB = "er_01K8ZQ4W7M3T9X5B2C6D8F0G1H-1"
DONE = NextStep(again=False, wait=0)
Verify = Callable[[str, Deadline, int], NextStep]


class Context:
    aws_request_id = "call"

    def __init__(self, milliseconds: int = 900_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def unit(name: str, **more: Any) -> dict[str, Any]:
    """As its eraser has answered."""
    event = {"job_id": JOB, "unit": name, "eraser": f"erase-{name.split('-')[0]}", "passes_left": 600}
    return {**event, "more": False, "again": True, "wait": 0, **more}


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Verifies units together; ``of`` stands in for the verification of each, by name, deadline and level."""

    def call(of: Verify, *units: dict[str, Any], milliseconds: int = 900_000) -> Any:
        def stand_in(job_id: str, name: str, deadline: Deadline, _use: Any, level: int) -> NextStep:
            assert job_id == JOB
            return of(name, deadline, level)

        monkeypatch.setattr("erasure.entry.workers.verify_unit", stand_in)
        return handler()({"job_id": JOB, "units": [*units]}, Context(milliseconds))

    return call


def handler() -> Handler:
    # A logger belongs to its service's name and to the standard output of the moment when it is first made.
    use = VerifyUnitDependencies(
        fakes.FakeRequestStore(fakes.FakeAuditLog()), fake_jobs.FakeTaskStore(), {}, holds=FakeHoldStore()
    )
    return make_verify_target(use, 15, SessionName(), Logger(service=f"workflow-{uuid.uuid4()}"))


def of_each(answer: Any) -> dict[str, tuple[bool, int, int]]:
    return {unit["unit"]: (unit["again"], unit["wait"], unit["passes_left"]) for unit in answer["units"]}


def test_each_unit_is_told_its_own(verify: Callable[..., Any]) -> None:
    """Whether it goes on and after how long, one pass less, in the order of the units; one that goes on is enough for
    the whole to do so."""
    steps = {"dynamodb-00": DONE, "s3-00": NextStep(again=True, wait=4), "s3-01": DONE}
    units = [unit("dynamodb-00"), unit("s3-00"), unit("s3-01")]
    answer = verify(lambda name, _deadline, _level: steps[name], *units)
    assert list(of_each(answer)) == ["dynamodb-00", "s3-00", "s3-01"]
    assert of_each(answer) == {
        "dynamodb-00": (False, 0, 599),
        "s3-00": (True, 4, 599),
        "s3-01": (False, 0, 599),
    }
    assert answer["again"] is True
    assert verify(lambda *_: DONE, *units)["again"] is False
    assert verify(lambda *_: DONE) == {"units": [], "again": False}


def test_each_unit_goes_on_with_its_own_level(verify: Callable[..., Any]) -> None:
    """A unit whose targets lead to each other is verified at its level and gets the next one's eraser; others have
    no levels."""
    seen = {}

    def step(name: str, _deadline: Deadline, level: int) -> NextStep:
        seen[name] = level
        return NextStep(again=name == "linked-00", wait=0, level=2 if name == "linked-00" else 0)

    linked = unit("linked-00", level=1, erasers=["erase-s3", "erase-dynamodb", "erase-s3"], eraser="erase-dynamodb")
    answer = verify(step, unit("dynamodb-00"), linked)
    assert seen == {"dynamodb-00": 0, "linked-00": 1}
    plain, going_on = answer["units"]
    assert "level" not in plain
    assert (going_on["level"], going_on["eraser"]) == (2, "erase-s3")


def test_a_unit_that_gave_up_is_left_alone(verify: Callable[..., Any]) -> None:
    """Its eraser failed for good: it is neither verified nor taken up again, whatever becomes of the others."""
    given_up = {**unit("s3-00"), "again": False}
    del given_up["more"], given_up["wait"]
    verified = []

    def step(name: str, _deadline: Deadline, _level: int) -> NextStep:
        verified.append(name)
        return NextStep(again=True, wait=0)

    answer = verify(step, given_up, unit("dynamodb-00"))
    assert verified == ["dynamodb-00"]
    assert of_each(answer) == {"s3-00": (False, 0, 600), "dynamodb-00": (True, 0, 599)}


def test_what_fails_for_one_unit_is_no_others_matter(
    verify: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A unit of which the verification fails goes on, at its level, to be verified by itself; the others are done. The
    log says which unit and what kind of error, and nothing of its text."""

    def step(name: str, _deadline: Deadline, _level: int) -> NextStep:
        if name == "linked-00":
            raise RuntimeError(SECRET)
        return DONE

    linked = unit("linked-00", level=1, erasers=["erase-s3", "erase-dynamodb"], eraser="erase-dynamodb")
    answer = verify(step, linked, unit("dynamodb-00"))
    assert of_each(answer) == {"linked-00": (True, 0, 599), "dynamodb-00": (False, 0, 599)}
    assert (answer["units"][0]["level"], answer["units"][0]["eraser"]) == (1, "erase-dynamodb")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (told,) = [line for line in lines if line["level"] == "ERROR"]
    assert (told["message"], told["unit"], told["kind"]) == ("unit not verified", "linked-00", "RuntimeError")
    assert SECRET not in json.dumps(lines)


def test_units_share_one_deadline(verify: Callable[..., Any]) -> None:
    """Nothing is begun when the time is up: such units go on and are verified by themselves."""
    seen = []

    def step(name: str, deadline: Deadline, _level: int) -> NextStep:
        seen.append((name, deadline))
        return DONE

    assert verify(step, unit("dynamodb-00"), unit("s3-00"))["again"] is False
    assert len({id(deadline) for _, deadline in seen}) == 1
    seen.clear()
    answer = verify(step, unit("dynamodb-00"), unit("s3-00"), milliseconds=0)
    assert seen == []
    assert of_each(answer) == {"dynamodb-00": (True, 0, 599), "s3-00": (True, 0, 599)}


def test_passes_come_to_an_end(verify: Callable[..., Any]) -> None:
    """A unit without passes left goes no further, verified or not; it does not keep the others from going on."""
    last, other = unit("s3-00", passes_left=1), unit("dynamodb-00")
    answer = verify(lambda *_: NextStep(again=True, wait=2), last, other)
    assert of_each(answer) == {"s3-00": (False, 2, 0), "dynamodb-00": (True, 2, 599)}
    assert verify(lambda *_: DONE, last, milliseconds=0)["again"] is False


def test_few_units_are_verified_at_once(verify: Callable[..., Any]) -> None:
    """As many as the function's memory is for, and no fewer: the two of a usual job do not wait for each other."""
    met, lock, at_once = threading.Barrier(UNITS_AT_ONCE, timeout=10), threading.Lock(), [0, 0]

    def step(_name: str, _deadline: Deadline, _level: int) -> NextStep:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        met.wait()
        with lock:
            at_once[0] -= 1
        return DONE

    units = [unit(f"s3-{number:02d}") for number in range(3 * UNITS_AT_ONCE)]
    assert verify(step, *units)["again"] is False
    assert at_once[1] == UNITS_AT_ONCE


def test_forty_units_fit_into_a_payload(verify: Callable[..., Any]) -> None:
    """As many as an inline job may have, with the longest names of functions and ten levels each, beside 1,000 request
    ids: what the states hand on stays below 256 KB."""
    erasers = ["e" * 64] * 10
    units = [unit(f"linked-{number:02d}", level=9, erasers=erasers, eraser=erasers[0]) for number in range(40)]
    answer = verify(lambda *_: NextStep(again=True, wait=60, level=9), *units)
    state = {"request_ids": [JOB[:29]] * 1000, "units": units, "first": answer}
    assert len(json.dumps(state)) < 256 * 1024 / 2
