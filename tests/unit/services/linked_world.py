"""Targets that lead to each other, in memory: documents lead to pages and files, pages lead to images.

Everything that the erasers and the verifier do to the data, or write about it, is a *step*. A test can watch the steps,
change the data between two of them, or die at one.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from erasure.domain.collisions import neighbours
from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.plan import Part, Task, Unit
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.ports import PinnedMap
from erasure.services.close_job import ClosedJob
from erasure.services.erase_unit import EraseUnitDependencies, erase_unit
from erasure.services.start_jobs import job_id_for
from erasure.services.verify_unit import VerifyUnitDependencies, verify_unit
from erasure.targets.protocol import (
    CHILDREN_LEFT,
    Deadline,
    Guard,
    Item,
    OnErased,
    ScanRange,
    SliceResult,
    Values,
    VerifyResult,
)
from tests import fakes
from tests.fake_jobs import FakeTaskStore
from tests.unit.services.world import World

# The ports' signatures are kept whole, although a fake does not need all of it.
# ruff: noqa: ARG002

HOMES = TargetSpec("homes", "content", s3=S3Rule("files", prefix="{tenant_id}/{user_id}/"))
DOCS = TargetSpec("docs", "content", DynamoDBRule("docs", KeyRule("owner", "{tenant_id}#{user_id}")))
_FILES = TargetSpec("files", "content", s3=S3Rule("files", key="{docs.file}"), for_each=DOCS)
FILES = TargetSpec("files", "content", s3=_FILES.s3, for_each=DOCS, beside=neighbours(_FILES, [HOMES, _FILES]))
PAGES = TargetSpec("pages", "content", DynamoDBRule("pages", KeyRule("doc", "{docs.id}")), for_each=DOCS)
IMAGES = TargetSpec("images", "content", s3=S3Rule("images", prefix="{pages.image}/"), for_each=PAGES)
TREE = (DOCS, FILES, PAGES, IMAGES)
JOB_SLICES = 400


class Killed(SystemExit):
    """The process dies: nothing after it runs."""


class Things:
    """Tables (items by id, in order) and buckets (keys), as a target of either kind and as the reader of items.

    ``on_step``: called at each step with its number. ``refused``: keys that nobody may delete. ``locked``: keys that
    stay. ``missing``: buckets that are not there. ``after_look``: called when a guard has looked, before anything is
    deleted. ``largest``: the most values that a target was given at once.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, dict[str, Any]]] = {"docs": {}, "pages": {}}
        self.order: dict[str, list[str]] = {"docs": [], "pages": []}
        self.buckets: dict[str, set[str]] = {"files": set(), "images": set()}
        self.refused: set[str] = set()
        self.locked: dict[str, str | None] = {}
        self.missing: set[str] = set()
        self.on_step: Callable[[int], None] = lambda _: None
        self.after_look: Callable[[], None] = lambda: None
        self.steps = 0
        self.largest = 0
        self.clock = 0.0

    def step(self) -> None:
        self.steps += 1
        self.clock += 1.0
        self.on_step(self.steps)

    def put(self, table: str, name: str, **attributes: Any) -> None:
        """An item; strings are given as they are, everything else in DynamoDB's form."""
        item = {key: {"S": value} if isinstance(value, str) else value for key, value in attributes.items()}
        if name not in self.tables[table]:
            bisect.insort(self.order[table], name)
        self.tables[table][name] = {"id": {"S": name}, **item}

    def items(
        self, spec: TargetSpec, values: Values, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[Sequence[Item]]:
        for page in self._pages(spec, values):
            self.step()
            yield [{name: item[name] for name in ("id", *attributes) if name in item} for item in page]

    def _pages(self, spec: TargetSpec, values: Values) -> Iterator[list[dict[str, Any]]]:
        assert spec.dynamodb is not None
        table, rule = spec.dynamodb.table, spec.dynamodb.partition
        text, last = rule.parsed().render(values), ""
        while True:
            order = self.order[table]
            start = bisect.bisect_right(order, last)
            names = order[start : start + 100]
            if not names:
                return
            last = names[-1]
            page = [self.tables[table][name] for name in names]
            found = [item for item in page if item.get(rule.attribute) == {"S": text}]
            if found:
                yield found

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,
    ) -> list[SliceResult]:
        self.largest = max(self.largest, len(subjects))
        erase = self._erase_items if spec.dynamodb is not None else self._erase_objects
        results = []
        for position, values in enumerate(subjects):
            result = erase(spec, values, position, deadline, guard)
            if on_erased is not None and result.erased:
                on_erased(position, result.erased)
            results.append(result)
        return results

    def _erase_objects(
        self, spec: TargetSpec, values: Values, _position: int, deadline: Deadline, guard: Guard | None
    ) -> SliceResult:
        assert guard is None
        assert spec.s3 is not None
        if spec.s3.bucket in self.missing:
            return SliceResult(0, done=False, problem="target_missing", permanent=True)
        erased = 0
        for key in self._keys(spec, values):
            if deadline.expired():
                return SliceResult(erased, done=False)
            if key in self.refused:
                return SliceResult(erased, done=False, problem="rejected", permanent=True)
            if key not in self.locked:
                self.step()
                self.buckets[spec.s3.bucket].discard(key)
                erased += 1
        return SliceResult(erased, done=True)

    def _erase_items(
        self, spec: TargetSpec, values: Values, position: int, deadline: Deadline, guard: Guard | None
    ) -> SliceResult:
        assert guard is not None
        assert spec.dynamodb is not None
        table, erased, problem = spec.dynamodb.table, 0, None
        for page in self._pages(spec, values):
            if deadline.expired():
                return SliceResult(erased, done=False, problem=problem)
            read = [dict(item) for item in page]
            verdicts = guard.look([(position, item) for item in read], deadline)
            self.after_look()
            for item, verdict in zip(read, verdicts, strict=True):
                assert verdict.problem in (None, CHILDREN_LEFT)
                name = item["id"]["S"]
                if verdict.may_go and self.tables[table].get(name) == item:
                    self.step()
                    del self.tables[table][name]
                    self.order[table].remove(name)
                    erased += 1
                elif not verdict.kept.count:
                    problem = CHILDREN_LEFT
        return SliceResult(erased, done=problem is None, problem=problem)

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]:
        self.largest = max(self.largest, len(subjects))
        self.step()
        return [self._verify(spec, values) for values in subjects]

    def _verify(self, spec: TargetSpec, values: Values) -> VerifyResult:
        if spec.dynamodb is not None:
            return VerifyResult(sum(map(len, self._pages(spec, values))), complete=True)
        assert spec.s3 is not None
        if spec.s3.bucket in self.missing:
            return VerifyResult(0, complete=False, problem="target_missing", permanent=True)
        found = self._keys(spec, values)
        dates = [self.locked[key] for key in found if key in self.locked]
        until = None if None in dates else max(filter(None, dates), default=None)
        kept = Kept(len(dates), until) if dates else NOTHING_KEPT
        return VerifyResult(len(found) - len(dates), complete=True, kept=kept)

    def _keys(self, spec: TargetSpec, values: Values) -> list[str]:
        assert spec.s3 is not None
        bucket = self.buckets[spec.s3.bucket]
        if spec.s3.key is not None:
            key = spec.templates()[0].render(values)
            return [key] if key in bucket else []
        prefix = spec.templates()[0].render(values)
        return sorted(key for key in bucket if key.startswith(prefix))

    def orphans(self) -> set[str]:
        """What is there although no item leads to it."""
        files = {value["S"] for doc in self.tables["docs"].values() if "S" in (value := doc.get("file", {}))}
        many = {name for doc in self.tables["docs"].values() for name in doc.get("file", {}).get("SS", ())}
        images = {page["image"]["S"] for page in self.tables["pages"].values() if "image" in page}
        lost = {key for key in self.buckets["files"] if key not in files | many}
        lost |= {key for key in self.buckets["images"] if key.partition("/")[0] not in images}
        return lost | {
            name for name, page in self.tables["pages"].items() if page["doc"]["S"] not in self.tables["docs"]
        }

    def everything(self) -> set[str]:
        return {name for places in (self.tables, self.buckets) for place in places.values() for name in place}

    def add_document(self, owner: str, name: str, pages: int = 1) -> None:
        """What it leads to first, as an application does that wants nothing to be lost."""
        self.buckets["files"].add(f"{name}.pdf")
        for number in range(pages):
            image = f"{name}-image{number}"
            self.buckets["images"] |= {f"{image}/small.png", f"{image}/large.png"}
        self.put("docs", name, owner=f"acme#{owner}", file=f"{name}.pdf")
        for number in range(pages):
            self.put("pages", f"{name}-page{number}", doc=name, image=f"{name}-image{number}")


class WatchedTaskStore(FakeTaskStore):
    """What is written about the tasks is a step, too: right before and right after."""

    def __init__(self, things: Things) -> None:
        super().__init__()
        self._things = things

    def _write(self, task: Task, *arguments: Any) -> Task:
        self._things.step()
        written = super()._write(task, *arguments)
        self._things.step()
        return written


class LinkedWorld(World):
    """``events``: what the verifier answered, pass after pass."""

    def __init__(self, targets: Sequence[TargetSpec] = TREE) -> None:
        super().__init__()
        self.things = Things()
        self.tasks = WatchedTaskStore(self.things)
        self.maps = fakes.FakeDataMapStore(PinnedMap(1, "digest", tuple(targets)))
        self.events: list[dict[str, Any]] = []

    def erase_and_verify(self, event: Mapping[str, Any], steps: float | None = None) -> dict[str, Any]:
        """One pass, as the state machine makes it. ``steps``: what the eraser has time for."""
        self.slices += 1
        targets = {"dynamodb": self.things, "s3": self.things}
        eraser = EraseUnitDependencies(self.requests, self.tasks, targets, self.things, holds=self.holds)
        deadline = Deadline(1e9 if steps is None else steps, lambda: self.things.clock)
        erase_unit(event["job_id"], event["unit"], f"slice-{self.slices}", deadline, eraser, event.get("level", 0))
        use = VerifyUnitDependencies(self.requests, self.tasks, targets, reader=self.things, holds=self.holds)
        step = verify_unit(event["job_id"], event["unit"], Deadline(1e9), use, event.get("level", 0))
        answer = {**event, "again": step.again}
        if "erasers" in event:
            answer |= {"level": step.level, "eraser": event["erasers"][step.level]}
        self.events.append(answer)
        return answer

    def start(self, job_id: str, units: Sequence[Unit]) -> list[dict[str, Any]]:
        return [
            {"job_id": job_id, "unit": unit.name, "eraser": unit.kind}
            | ({"level": 0, "erasers": list(unit.kinds)} if len(unit.kinds) > 1 else {})
            for unit in units
        ]

    def follow(self, event: Mapping[str, Any]) -> None:
        """Pass after pass until the verifier wants no more."""
        answer = dict(event) | {"again": True}
        for _ in range(JOB_SLICES):
            if not answer["again"]:
                return
            answer = self.erase_and_verify(answer)
        raise AssertionError("the unit comes to no end")

    def run(self, request: ErasureRequest, attempt: int = 1) -> ClosedJob:
        job_id = job_id_for(request.request_id, attempt)
        for event in self.start(job_id, self.plan(job_id, request.request_id, attempt=attempt)):
            self.follow(event)
        return self.close(job_id, request.request_id)

    def all_parts(self, job_id: str, request: ErasureRequest) -> dict[str, Part]:
        return {
            task.spec.name: part
            for task in self.tasks.tasks(job_id)
            for part in task.parts
            if part.request_id == request.request_id
        }


def subject(user_id: str) -> Subject:
    return Subject("acme", user_id)
