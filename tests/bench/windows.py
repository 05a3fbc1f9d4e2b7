"""What a window of subjects, or a single self-deletion, takes: the real functions on moto, everything counted.

The typical erasure has 200 items of 1 KB in 5 targets, and 600 objects of 2 versions below 3 prefixes. Where only the
service's own records, calls and states are of interest, ``real=False`` puts targets in the place of the real ones that
have erased as soon as they are asked: what the service writes about a target does not depend on what the target does
(``bench_batch`` compares the two).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends

from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.bench.capacity import Meter
from tests.bench.counting import CallCounter
from tests.bench.moto_stack import counted_stack
from tests.functional.job_stack import JobStack

ITEMS, ITEM_TARGETS, ITEM_BYTES = 200, 5, 1000
OBJECTS, OBJECT_TARGETS, VERSIONS = 600, 3, 2
POLLED = 10
"""Messages of one ReceiveMessage, and of one DeleteMessageBatch."""

OURS = {"Requests", "Registry", "Audit", "DeleteIds"}


@dataclass
class Window:
    """What was counted for ``subjects`` together, from the first call of the API to the end of the last job.

    ``functions``: calls of each Lambda function. ``accepting``: AWS calls until everything was accepted. ``calls``,
    ``units``: of the tables, by (``own`` or ``app``, operation) and (the same, kind). ``s3``: calls by operation.
    """

    subjects: int
    functions: Counter[str] = field(default_factory=Counter)
    accepting: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    executions: int = 0
    transitions: int = 0
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    s3: Counter[str] = field(default_factory=Counter)

    def own(self, *kinds: str) -> float:
        return sum(self.units["own", kind] for kind in kinds)

    @property
    def lists(self) -> int:
        return sum(count for name, count in self.s3.items() if name.startswith("List"))

    @property
    def queue_calls(self) -> float:
        """Sending, and what Lambda's poller does: receive and delete, ten messages at a time."""
        return self.accepting["SendMessage"] + 2 * -(-self.messages // POLLED)


Accept = Callable[[JobStack, str, Sequence[str]], None]
"""Accepts so many users, with an API key."""


def in_bulk(stack: JobStack, key: str, users: Sequence[str]) -> None:
    """One call of the native API for all."""
    body = {"subjects": [{"type": "user", "id": user} for user in users]}
    _expect(stack.ask(key, "POST", "/v1/erasure-requests", body), 202)


def one_by_one(stack: JobStack, key: str, users: Sequence[str]) -> None:
    """A June call for each."""
    for user in users:
        reply = stack.ask(key, "POST", "/api/platform/data_management/user_deletion_request", {"user_id": user})
        _expect(reply, 200)


def by_themselves(stack: JobStack, _key: str, users: Sequence[str]) -> None:
    """Each through the interactive lane, as a self-deletion."""
    for user in users:
        stack.confirm(Subject("acme", user))


def _expect(reply: tuple[int, Any], status: int) -> None:
    if reply[0] != status:
        raise RuntimeError(f"not accepted: {reply[0]}")


def measure(subjects: int, accept: Accept, *, real: bool) -> Window:
    """Accept and erase so many subjects; a call before the window has warmed everything up."""
    with counted_stack() as (stack, counter):
        users = [f"user-{number:04d}" for number in range(subjects)]
        if real:
            for user in users:
                _put_typical(stack, user)
        else:
            stack.targets.update(dict.fromkeys(stack.targets, _Nothing()))
        key = stack.api_key()
        accept(stack, key, ["warm"])  # a worker reads the digest key and the data map once
        stack.work()
        _expect(stack.ask(key, "GET", "/v1/erasure-requests?limit=1"), 200)  # its key is believed for some seconds
        return _counted(stack, counter, users, lambda: accept(stack, key, users))


def _counted(stack: JobStack, counter: CallCounter, users: Sequence[str], accept: Callable[[], None]) -> Window:
    window, meter = Window(len(users)), Meter(stack.dynamodb)
    call = stack.call

    def noting(function: str, *arguments: Any) -> Any:
        window.functions[function] += 1
        return call(function, *arguments)

    stack.call = noting  # type: ignore[assignment, method-assign]
    counter.take()
    stack.entered.clear()
    accept()
    accepted = counter.take()
    window.accepting = accepted
    window.messages = accepted["SendMessage"]
    closed = stack.work()
    calls = counter.take()
    if sum(answer["finished"] for answer in closed) != len(users):
        raise RuntimeError("not everybody is finished")
    window.executions = calls["StartExecution"]
    window.transitions = len(stack.entered)
    window.s3 = Counter({name: count for name, count in calls.items() if name in _S3_CALLS})
    of_units, of_calls = meter.take()
    for (table, kind), count in of_units.items():
        window.units[_whose(table), kind] += count
    for (table, name), count in of_calls.items():
        window.calls[_whose(table), name] += count
    return window


_S3_CALLS = {"ListObjectVersions", "ListMultipartUploads", "DeleteObjects", "DeleteObject", "AbortMultipartUpload"}


def _whose(table: str) -> str:
    return "own" if table in OURS else "app"


def _put_typical(stack: JobStack, user: str) -> None:
    """Straight into moto: through its API this takes longer than everything else together."""
    tables: Any = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
    padding = {"S": "x" * (ITEM_BYTES - 60)}
    for target in range(ITEM_TARGETS):
        for number in range(ITEMS // ITEM_TARGETS):
            item = {"pk": {"S": f"{target}#acme#{user}"}, "sk": {"S": f"{number:06d}"}, "text": padding}
            tables.put_item("app-notes", item)
    buckets: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for target in range(OBJECT_TARGETS):
        for number in range(OBJECTS // OBJECT_TARGETS):
            for _version in range(VERSIONS):
                buckets.put_object("app-files", f"{target}/acme/{user}/{number:04d}", b"x")


class _Nothing:
    """A target of either kind that has erased one thing of each subject as soon as it is asked."""

    def erase(
        self, _spec: TargetSpec, subjects: Sequence[Mapping[str, str]], _deadline: Deadline, on_erased: Any = None
    ) -> list[SliceResult]:
        for place in range(len(subjects)):
            on_erased(place, 1)
        return [SliceResult(1, done=True)] * len(subjects)

    def verify(
        self, _spec: TargetSpec, subjects: Sequence[Mapping[str, str]], _deadline: Deadline
    ) -> list[VerifyResult]:
        return [VerifyResult(0, complete=True)] * len(subjects)
