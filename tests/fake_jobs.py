"""In-memory stand-ins for what jobs need: tasks, the queue, the workflow, the workers, and a target.

What they do has to be obvious. The task store passes the same contract suite as the one on DynamoDB
(``tests/contract/test_task_store_contract.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from erasure.domain.plan import PENDING, Part, Shard, Task
from erasure.domain.subject import Subject
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.errors import SliceLostError, UnavailableError
from erasure.ports import PinnedJob, PinnedMap, Preview
from erasure.targets.protocol import Deadline, Guard, OnErased, ScanRange, SliceResult, Values, VerifyResult


class FakeTaskStore:
    """``writes`` counts the records written, one for each task that is touched."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.jobs: dict[str, PinnedJob] = {}
        self.records: dict[tuple[str, str, int], Task] = {}
        self.writes = 0

    def pinned(self, job_id: str) -> PinnedJob | None:
        return self.jobs.get(job_id)

    def create_job(self, job_id: str, job: PinnedJob, data_map: PinnedMap, tasks: Sequence[Task]) -> None:
        with self._lock:
            job = replace(job, data_map_version=data_map.version)
            if self.jobs.setdefault(job_id, job) != job:
                raise UnavailableError("the job was planned otherwise at the same moment")
            for task in tasks:
                self.records.setdefault(_place(task), task)

    def tasks(self, job_id: str, unit: str | None = None) -> list[Task]:
        with self._lock:
            places = sorted(place for place in self.records if place[0] == job_id and unit in (None, place[1]))
            return [self.records[place] for place in places]

    def begin_slice(self, task: Task, slice_id: str) -> Task:
        with self._lock:
            self._require(task, revision=task.revision)
            parts = task.parts
            if task.running is not None:
                parts = tuple(replace(part, at_least=True) if part.status == PENDING else part for part in parts)
            return self._write(task, parts, slice_id)

    def note_progress(self, task: Task, slice_id: str, parts: Sequence[Part]) -> None:
        with self._lock:
            self._require(task, running=slice_id)
            self._write(task, parts, slice_id)

    def end_slice(self, task: Task, slice_id: str, parts: Sequence[Part], cursor: int = 0) -> None:
        with self._lock:
            self._require(task, running=slice_id)
            self._write(task, parts, None, cursor)

    def set_verified(self, task: Task, parts: Sequence[Part], cursor: int = 0) -> None:
        with self._lock:
            self._require(task, revision=task.revision)
            self._require(task, running=None)
            self._write(task, parts, None, cursor)

    def _require(self, task: Task, **attributes: object) -> None:
        record = self.records[_place(task)]
        if any(getattr(record, name) != value for name, value in attributes.items()):
            raise SliceLostError("another slice has taken this task over")

    def _write(self, task: Task, parts: Iterable[Part], running: str | None, cursor: int | None = None) -> Task:
        record = self.records[_place(task)]
        cursor = record.cursor if cursor is None else cursor
        record = replace(record, parts=tuple(parts), running=running, revision=record.revision + 1, cursor=cursor)
        self.records[_place(task)] = record
        self.writes += 1
        return record


def _place(task: Task) -> tuple[str, str, int]:
    return task.job_id, task.unit, task.number


class FakeJobQueue:
    """``down``: sending fails. ``arrives_anyway``: it fails, but only the answer was lost."""

    def __init__(self) -> None:
        self.messages: list[tuple[tuple[str, ...], int]] = []
        self.delays: list[int] = []
        self.down = False
        self.arrives_anyway: Callable[[Sequence[str]], object] | None = None

    def send(self, request_ids: Sequence[str], attempt: int, *, delay_seconds: int = 0) -> None:
        if self.arrives_anyway is not None:
            self.arrives_anyway(request_ids)
        if self.down:
            raise UnavailableError("the queue did not take the message")
        self.messages.append((tuple(request_ids), attempt))
        self.delays.append(delay_seconds)


class FakeWorkflow:
    """``refuses``: requests whose jobs cannot be started."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[list[str], int]] = {}
        self.refuses: set[str] = set()

    def start(self, job_id: str, request_ids: Sequence[str], attempt: int) -> bool:
        if self.refuses & set(request_ids):
            raise UnavailableError("the workflow did not answer")
        if job_id in self.started:
            return False
        self.started[job_id] = (list(request_ids), attempt)
        return True


class FakeFunctions:
    """``answers``: what each function does with an event; one without any does not answer."""

    def __init__(self, answers: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((function, dict(event)))
        if function not in self.answers:
            raise UnavailableError("the function did not answer")
        return self.answers[function](event)


class FakeDataReader:
    """``identifiers``: what is known of each subject, by its id; ``unreadable``: pairs of subject's id and identifier
    of which nobody can tell. ``shards_of``: by target. ``down``: does not
    answer."""

    def __init__(self) -> None:
        self.identifiers: dict[str, dict[str, tuple[str, ...]]] = {}
        self.unreadable: set[tuple[str, str]] = set()
        self.shards_of: dict[str, tuple[Shard, ...]] = {}
        self.down = False
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def identify(
        self, subjects: Sequence[Subject], rules: Sequence[IdentifierRule]
    ) -> list[dict[str, tuple[str, ...]]]:
        self._answer()
        names = {rule.name for rule in rules}
        self.asked.append((tuple(subject.id for subject in subjects), tuple(sorted(names))))
        return [
            {
                name: self.identifiers.get(subject.id, {}).get(name, ())
                for name in names
                if (subject.id, name) not in self.unreadable
            }
            for subject in subjects
        ]

    def preview(self, subject: Subject, organization_ids: Sequence[str], data_map: PinnedMap) -> list[Preview]:
        self._answer()
        return [Preview(spec.name, spec.category, spec.action, 0) for spec in data_map.targets]

    def shards(self, specs: Sequence[TargetSpec]) -> dict[str, tuple[Shard, ...]]:
        self._answer()
        return {spec.name: self.shards_of.get(spec.name, (Shard(1, 0, 1),)) for spec in specs}

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError("a function did not answer")


# The ports' signatures are kept whole, although a fake does not need all of it.
# ruff: noqa: ARG002

Step = SliceResult | VerifyResult | Exception | Callable[[], SliceResult | VerifyResult]
_Result = TypeVar("_Result", SliceResult, VerifyResult)


class FakeTarget:
    """Holds things by the rendered text of a spec's templates, and erases them all in one slice.

    ``script``: by a target's name, what its next ``erase`` (or ``verify``, under ``"<name>:verify"``) does instead, for
    all subjects of the call; with ``@<subject's id>`` behind, for this subject when its turn comes. An exception ends
    the whole call. ``always``: the same, every time. ``erase_calls``, ``verify_calls``: target and ids of each call.
    """

    def __init__(self) -> None:
        self.things: dict[str, int] = {}
        self.script: dict[str, list[Step]] = {}
        self.always: dict[str, Step] = {}
        self.erase_calls: list[tuple[str, tuple[str, ...]]] = []
        self.verify_calls: list[tuple[str, tuple[str, ...]]] = []

    def put(self, spec: TargetSpec, values: Values, count: int) -> None:
        self.things[_text(spec, values)] = count

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,
    ) -> list[SliceResult]:
        if scan is not None:
            scan.done = scan.end - scan.first
        self.erase_calls.append((spec.name, _ids(subjects)))
        whole = self._step(spec.name, SliceResult)
        if whole is not None:
            return [whole for _ in subjects]
        results = []
        for position, values in enumerate(subjects):
            result = self._step(f"{spec.name}@{_id(values)}", SliceResult)
            if result is None:
                result = SliceResult(self.things.pop(_text(spec, values), 0), done=True)
                if on_erased is not None and result.erased:
                    on_erased(position, result.erased)
            results.append(result)
        return results

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]:
        if scan is not None:
            scan.done = scan.end - scan.first
        self.verify_calls.append((spec.name, _ids(subjects)))
        whole = self._step(f"{spec.name}:verify", VerifyResult)
        if whole is not None:
            return [whole for _ in subjects]
        return [
            self._step(f"{spec.name}:verify@{_id(values)}", VerifyResult)
            or VerifyResult(self.things.get(_text(spec, values), 0), complete=True)
            for values in subjects
        ]

    def _step(self, name: str, kind: type[_Result]) -> _Result | None:
        steps = self.script.get(name)
        step = steps.pop(0) if steps else self.always.get(name)
        if isinstance(step, Exception):
            raise step
        result = step() if callable(step) else step
        assert result is None or isinstance(result, kind)
        return result


def _ids(subjects: Sequence[Values]) -> tuple[str, ...]:
    return tuple(_id(values) for values in subjects)


def _id(values: Values) -> str:
    return values.get("user_id") or values["group_id"]


def _text(spec: TargetSpec, values: Values) -> str:
    parts: Iterable[str] = (template.render(values) for template in spec.templates())
    return "\x00".join([spec.name, *parts])
