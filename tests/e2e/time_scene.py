"""The people of the tests of time, and what is set in motion with them before the schedules do the rest.

Days pass by letting a request's record say that everything was so much earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from erasure.domain.audit import broken_at
from erasure.domain.request import REQUESTED, STARTED
from local.sample import Person
from local.stack import Stack
from tests.e2e.calls import (
    Backend,
    Caller,
    audit_of,
    execution_arn,
    request_of,
    unscheduled,
    wait_for,
    wait_until_finished,
)
from tests.e2e.time_world import (
    BatchLane,
    Listener,
    Thing,
    everything,
    grow_older,
    plant,
    still_there,
    stopped_batch_lane,
    things_of,
)

TENANT, NAMESAKES = "clock", "clock-2"
HEAVY_DOCUMENTS = 1_500
"""So many that the job can be seen at work, and be aborted."""
SCHEDULES = 200.0
"""Seconds after which what the schedules have to do is done: a minute until a request is due to be looked at, a minute
until that happens, and what is done then, by a machine that has much to do."""
RESTORED = ("back-h2o", "back-john", "back-june", "back-native", "back-returned")
"""Whom a restored table brings back, by the family through which they were erased; the last one returns by himself."""
KEPT_BY_HELLOJOHN = ("record",)
LOST = ("lost-1", "lost-2", "lost-3")
"""Whose requests are in one message."""


def person(name: str) -> Person:
    """Somebody whose id is not spelled the same everywhere, and is found in nothing else."""
    return Person(TENANT, f"{name}+of.the.clock")


@dataclass(slots=True)
class Scene:
    """What was set in motion. ``before``: all that is nobody's of these people. ``requests``: ids by the name of whom
    they are about. ``of``: whose is what."""

    stack: Stack
    backend: Backend
    listener: Listener
    began_at: datetime
    before: dict[tuple[str, str], str] = field(default_factory=dict)
    of: dict[str, list[Thing]] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)

    def settle(self, *names: str, documents: int = 2) -> None:
        """Let there be these people, each with a namesake elsewhere."""
        for name in names:
            self.of[name] = things_of(person(name), documents)
            plant(self.stack, [*self.of[name], *things_of(Person(NAMESAKES, person(name).user))])

    def theirs(self) -> list[Thing]:
        """What may go or change: all but the bystander's."""
        return [thing for name, things in self.of.items() if name != "bystander" for thing in things]

    def left(self, name: str, but: tuple[str, ...] = ()) -> list[Thing]:
        return still_there(self.stack, self.of[name], but)

    def trail(self, name: str) -> list[str]:
        """The events of an unbroken trail."""
        entries = audit_of(self.stack).entries(self.requests[name])
        assert broken_at(entries) is None
        return [entry.event for entry in entries]

    def requests_about(self, name: str) -> list[dict[str, Any]]:
        """As the API lists them, the latest first."""
        path = f"/v1/erasure-requests?subject_id={quote(person(name).user, safe='')}"
        found: list[dict[str, Any]] = self.backend.accept("GET", path, 200).json()["requests"]
        return found

    def finish(self, *names: str) -> None:
        wait_until_finished(self.stack, [self.requests[name] for name in names], SCHEDULES)


def set_scene(stack: Stack) -> Scene:
    """Let there be everybody, and begin all that the schedules are to bring to its end. The listener is the caller's to
    be closed."""
    scene = Scene(stack, Backend(stack, TENANT), Listener(stack, "tests-of-time"), datetime.now(UTC))
    scene.settle("soft", *LOST, "at-risk", "overdue", "forgotten", "late", "held", "held-alias", "bystander")
    scene.settle(*RESTORED)
    scene.settle("aborted", documents=HEAVY_DOCUMENTS)
    scene.before = everything(stack, but=scene.theirs())
    _erase(scene)
    _lose_messages(scene)
    _abort(scene)
    _let_time_pass(scene)
    return scene


def _erase(scene: Scene) -> None:
    """Somebody waits to be erased, others are being erased by each family, and two have been: the one is gone, and the
    other's id is shown by his family."""
    backend, requests = scene.backend, scene.requests
    caller = Caller(scene.stack, person("back-h2o"))
    requests["back-h2o"] = caller.confirm(caller.request_deletion(), timeout=0).headers["X-Erasure-Request-Id"]
    for name in ("late", "back-john", "back-returned"):
        answer = backend.accept("DELETE", backend.user(person(name).user), 204)
        requests[name] = answer.headers["X-Erasure-Request-Id"]
    june = "/api/platform/data_management/user_deletion_request"
    for name in ("forgotten", "back-june"):
        requests[name] = backend.accept("POST", june, 200, {"user_id": person(name).user}).json()["id"]
    requests["back-native"] = backend.erase(person("back-native"))["requests"][0]["request"]["id"]
    path = f"{backend.user(person('soft').user)}/disable"
    assert backend.accept("POST", path, 200, {"delete_after_days": 30}).json()["status"] == "disabled"
    (waiting,) = scene.requests_about("soft")
    requests["soft"] = waiting["id"]


def _lose_messages(scene: Scene) -> None:
    """Requests are accepted, two of them long ago, and the queue is purged before anybody takes their messages or looks
    for them."""
    lost, stack = (*LOST, "at-risk", "overdue"), scene.stack
    with unscheduled(stack, "SLA_WATCH"), stopped_batch_lane(stack) as lane:
        wait_for(lambda: _stays(scene, lane), "a message that stays in the queue")
        together = scene.backend.erase(*map(person, LOST))["requests"]
        scene.requests |= {name: each["request"]["id"] for name, each in zip(LOST, together, strict=True)}
        for name, hours in (("at-risk", 71), ("overdue", 73)):
            scene.requests[name] = scene.backend.erase(person(name))["requests"][0]["request"]["id"]
            grow_older(stack, scene.requests[name], timedelta(hours=hours))
        wait_for(lambda: lane.holds(scene.requests[name] for name in lost), "their messages in the queue")
        lane.purge()
    for name in lost:
        assert request_of(stack, scene.requests[name]).state == REQUESTED


def _stays(scene: Scene, lane: BatchLane) -> bool:
    """The first message may be taken by somebody who was already waiting for it."""
    return lane.holds([scene.backend.erase(Person(TENANT, "nobody-at-all"))["requests"][0]["request"]["id"]])


def _abort(scene: Scene) -> None:
    """An execution is stopped while its eraser is at work."""
    stack = scene.stack
    request_id = scene.requests["aborted"] = scene.backend.erase(person("aborted"))["requests"][0]["request"]["id"]
    wait_for(lambda: request_of(stack, request_id).state == STARTED, "the job to begin", every=0.02)
    job_id = request_of(stack, request_id).job_id
    assert job_id is not None
    stack.client("stepfunctions").stop_execution(executionArn=execution_arn(stack, job_id))
    assert request_of(stack, request_id).state == STARTED


def _let_time_pass(scene: Scene) -> None:
    stack, requests = scene.stack, scene.requests
    scene.finish("forgotten", "late")
    assert scene.left("forgotten") == scene.left("late", KEPT_BY_HELLOJOHN) == []
    plant(stack, [thing for thing in scene.of["late"] if thing.place in ("app-sessions", "app-avatars")])
    grow_older(stack, requests["late"], timedelta(hours=25))
    grow_older(stack, requests["forgotten"], timedelta(days=90))
    begin = request_of(stack, requests["soft"]).not_before
    assert begin is not None
    grow_older(stack, requests["soft"], begin - datetime.now(UTC))
