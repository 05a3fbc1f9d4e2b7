"""What the task store promises: the fake and DynamoDB (moto, MiniStack, DynamoDB Local) keep to one suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.adapters.task_store import item_to_task, parts_to_text, task_to_item, text_to_parts
from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import Kept
from erasure.domain.plan import ERASED_UNVERIFIED, FAILED, PENDING, TASK_PARTS, VERIFIED, Part, Shard, Task
from erasure.errors import SliceLostError, UnavailableError
from erasure.ports import PinnedJob, PinnedMap
from tests.contract.dynamodb_hooks import HookedClient
from tests.contract.stores import ENGINES, Stores, a_data_map, make_stores, stores_on
from tests.contract.test_stores_contract import at_once

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)

TARGETS = a_data_map("notes", "files").targets
ONE, TWO = "er_01K0000000000000000000000A", "er_01K0000000000000000000000B"
MAP = PinnedMap(1, "digest", ())
STATUSES = [PENDING, ERASED_UNVERIFIED, VERIFIED, FAILED]

BOTH = PinnedJob(MAP.version, (ONE, TWO))


@pytest.fixture(params=["fakes", "moto", *ENGINES])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


@pytest.fixture(params=["fakes", *ENGINES])
def shared_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Without moto, which does not serve several threads."""
    yield from stores_on(request)


def _tasks(job_id: str = "job-1", count: int = 3, unit: str = "dynamodb-00") -> list[Task]:
    parts = (Part(ONE), Part(TWO))
    return [Task(job_id, unit, number, TARGETS[number % 2], parts) for number in range(count)]


def _one(stores: Stores, *parts: Part) -> Task:
    (task,) = _tasks(count=1)
    stores.tasks.create_job("job-1", BOTH, MAP, [replace(task, parts=parts or task.parts)])
    return _get(stores)


def _get(stores: Stores) -> Task:
    (task,) = stores.tasks.tasks("job-1")
    assert isinstance(task, Task)
    return task


def _with(task: Task, **changes: Any) -> tuple[Part, ...]:
    """The task's parts, the first of them changed."""
    return (replace(task.parts[0], **changes), *task.parts[1:])


def test_job_is_read_back(stores: Stores) -> None:
    """Tasks come back as they were written, in order; a unit's name selects its own only."""
    first, second = _tasks(count=25), _tasks(count=12, unit="s3-00")
    assert stores.tasks.pinned("job-1") is None
    stores.tasks.create_job(
        "job-1", PinnedJob(7, (TWO, ONE)), PinnedMap(7, "digest", tuple(TARGETS)), [*first, *second]
    )
    stores.tasks.create_job("job-11", PinnedJob(8, (ONE,)), PinnedMap(8, "digest", ()), _tasks("job-11", 1))
    assert stores.tasks.pinned("job-1") == PinnedJob(7, (TWO, ONE))
    assert stores.tasks.tasks("job-1") == [*first, *second]
    assert stores.tasks.tasks("job-1", "s3-00") == second
    assert stores.tasks.tasks("job-1", "s3-0") == []
    assert stores.tasks.tasks("job-2") == []


def test_job_of_a_window_without_a_scan_is_read_back(stores: Stores) -> None:
    """Whose window a job ends is known, also if its map has nothing to scan."""
    job = PinnedJob(MAP.version, (ONE, TWO), {}, (TWO,))
    for _ in range(2):
        stores.tasks.create_job("job-1", job, MAP, [])
        assert stores.tasks.pinned("job-1") == job


def test_scanning_job_is_read_back(stores: Stores) -> None:
    """The shards of a scan are the job's and its tasks' alike, and how far a slice or the verifier got."""
    spec = replace(TARGETS[0], name="archive")
    shards = (Shard(1000, 0, 500), Shard(1000, 500, 1000))
    job = PinnedJob(MAP.version, (ONE, TWO), {"archive": shards}, (TWO,))
    tasks = [
        Task("job-1", f"scan-0{number}", 0, spec, (Part(TWO),), shard=shard, level=number)
        for number, shard in enumerate(shards)
    ]
    stores.tasks.create_job("job-1", job, MAP, tasks)
    assert stores.tasks.pinned("job-1") == job
    assert stores.tasks.tasks("job-1") == tasks
    begun = stores.tasks.begin_slice(tasks[0], "slice")
    stores.tasks.end_slice(begun, "slice", begun.parts, 12)
    (first,) = stores.tasks.tasks("job-1", "scan-00")
    assert first.cursor == 12
    stores.tasks.set_verified(first, [replace(first.parts[0], kept=Kept(3, "2030-01-01T00:00:00Z", more=True))], 13)
    (first,) = stores.tasks.tasks("job-1", "scan-00")
    assert (first.cursor, first.parts[0].kept) == (13, Kept(3, "2030-01-01T00:00:00Z", more=True))
    with pytest.raises(UnavailableError):
        stores.tasks.create_job("job-1", replace(job, scans={"archive": shards[:1]}), MAP, tasks[:1])


def test_large_tasks_are_read_back(stores: Stores) -> None:
    """A job with so many parts that its tasks do not fit into one answer of the engine comes back whole."""
    spec = replace(TARGETS[0], name="n" * 60)
    parts = tuple(Part(new_request_id(), FAILED, 10**9, True, 3, 9, "reason" * 40) for _ in range(TASK_PARTS))
    tasks = [Task("job-1", f"s3-{number // 25:02d}", number % 25, spec, parts) for number in range(50)]
    stores.tasks.create_job("job-1", PinnedJob(1, tuple(part.request_id for part in parts)), MAP, tasks)
    assert stores.tasks.tasks("job-1") == tasks


def test_refused_part_keeps_its_reason(stores: Stores) -> None:
    """A part that failed at planning is read back with its reason, next to one that did not."""
    parts = (Part(ONE, FAILED, reason="missing_value"), Part(TWO))
    assert _one(stores, *parts).parts == parts


def test_planning_again_resets_nothing(stores: Stores) -> None:
    """Creating a job again adds what is missing and leaves what has been worked on."""
    tasks = _tasks(count=3)
    stores.tasks.create_job("job-1", BOTH, MAP, tasks[:2])
    task = stores.tasks.begin_slice(stores.tasks.tasks("job-1")[0], "slice")
    parts = _with(task, erased=5, status=ERASED_UNVERIFIED)
    stores.tasks.end_slice(task, "slice", parts)
    stores.tasks.create_job("job-1", BOTH, MAP, tasks)
    first, *others = stores.tasks.tasks("job-1")
    assert (first.parts, first.running) == (parts, None)
    assert others == tasks[1:]


@pytest.mark.parametrize(
    ("request_ids", "data_map"), [([ONE, TWO], PinnedMap(2, "digest", ())), ([ONE], MAP), ([TWO, ONE], MAP)]
)
def test_job_stays_with_what_it_was_planned_with(stores: Stores, request_ids: list[str], data_map: PinnedMap) -> None:
    """A job cannot be planned with another version of the map, or for other requests: its tasks would not fit."""
    stores.tasks.create_job("job-1", BOTH, MAP, _tasks(count=1))
    with pytest.raises(UnavailableError):
        stores.tasks.create_job("job-1", PinnedJob(data_map.version, tuple(request_ids)), data_map, _tasks(count=3))
    assert stores.tasks.pinned("job-1") == PinnedJob(1, (ONE, TWO))
    assert len(stores.tasks.tasks("job-1")) == 1


def test_slices_write_down_what_they_did(stores: Stores) -> None:
    """What a slice writes on the way and at its end is what the next one begins with, and is no estimate."""
    task = _one(stores)
    for number, slice_id in enumerate(("a", "b"), 1):
        working = stores.tasks.begin_slice(_get(stores), slice_id)
        assert _get(stores) == working
        on_the_way = _with(working, erased=5 * number)
        stores.tasks.note_progress(working, slice_id, on_the_way)
        assert (_get(stores).parts, _get(stores).running) == (on_the_way, slice_id)
        stores.tasks.end_slice(working, slice_id, _with(working, erased=7 * number, stalls=1, reason="throttled"))
    assert _get(stores).parts == _with(task, erased=14, stalls=1, reason="throttled")
    assert _get(stores).running is None


def test_dead_slice_makes_at_least(stores: Stores) -> None:
    """A mark that a slice left behind lets the next one take over: "at least" from then on for good, for the parts
    that were still open and for no others."""
    task = _one(stores, *(Part(f"er_{number}", status, 2) for number, status in enumerate(STATUSES)))
    dead = stores.tasks.begin_slice(task, "dead")
    assert not any(part.at_least for part in dead.parts)
    stores.tasks.note_progress(dead, "dead", _with(dead, erased=3))
    taken = stores.tasks.begin_slice(_get(stores), "alive")
    assert taken.running == "alive"
    assert [(part.erased, part.at_least) for part in taken.parts] == [(3, True), (2, False), (2, False), (2, False)]
    assert _get(stores) == taken
    stores.tasks.end_slice(taken, "alive", _with(taken, erased=4))
    again = stores.tasks.begin_slice(_get(stores), "third")
    assert (again.parts[0].at_least, again.parts[0].erased) == (True, 4)
    assert not any(part.at_least for part in again.parts[1:])


def test_overtaken_slice_counts_no_more(stores: Stores) -> None:
    """A slice that was thought dead is told so by whatever it writes, and changes nothing."""
    first = stores.tasks.begin_slice(_one(stores), "first")
    stores.tasks.begin_slice(_get(stores), "second")
    before = _get(stores)
    writes: list[Callable[[], None]] = [
        lambda: stores.tasks.note_progress(first, "first", _with(first, erased=9)),
        lambda: stores.tasks.end_slice(first, "first", _with(first, erased=9, status=ERASED_UNVERIFIED)),
        lambda: stores.tasks.begin_slice(first, "first"),
    ]
    for write in writes:
        with pytest.raises(SliceLostError):
            write()
    assert _get(stores) == before


def test_a_slice_ends_once(stores: Stores) -> None:
    """An ended slice cannot write or end again."""
    task = stores.tasks.begin_slice(_one(stores), "a")
    stores.tasks.end_slice(task, "a", _with(task, erased=2))
    before = _get(stores)
    writes: list[Callable[[], None]] = [
        lambda: stores.tasks.note_progress(task, "a", _with(task, erased=1)),
        lambda: stores.tasks.end_slice(task, "a", _with(task, erased=2)),
    ]
    for write in writes:
        with pytest.raises(SliceLostError):
            write()
    assert _get(stores) == before


@pytest.mark.parametrize("status", STATUSES)
def test_what_has_changed_is_not_begun(stores: Stores, status: str) -> None:
    """A slice that read the task before others wrote to it does not get it, whatever they wrote."""
    read_early = _one(stores)
    task = stores.tasks.begin_slice(read_early, "a")
    stores.tasks.end_slice(task, "a", _with(task, erased=2, status=ERASED_UNVERIFIED))
    if status != ERASED_UNVERIFIED:
        stores.tasks.set_verified(_get(stores), _with(_get(stores), status=status))
    before = _get(stores)
    with pytest.raises(SliceLostError):
        stores.tasks.begin_slice(read_early, "late")
    assert _get(stores) == before


@pytest.mark.parametrize("left_behind", [False, True])
def test_one_of_many_slices_begins(shared_stores: Stores, left_behind: bool) -> None:
    """Slices that begin at the same moment on what they read: exactly one gets the task."""
    task = _one(shared_stores)
    if left_behind:
        task = shared_stores.tasks.begin_slice(task, "dead")
    results = at_once(4, lambda position: shared_stores.tasks.begin_slice(task, f"slice-{position}"))
    winners = [result for result in results if isinstance(result, Task)]
    assert len(winners) == 1
    assert [type(result) for result in results if not isinstance(result, Task)] == [SliceLostError] * 3
    assert _get(shared_stores) == winners[0]


def test_verification_is_written(stores: Stores) -> None:
    """What verification found is written on a task that nobody works on and that is as it was read."""
    task = stores.tasks.begin_slice(_one(stores), "a")
    stores.tasks.end_slice(task, "a", _with(task, erased=2, status=ERASED_UNVERIFIED))
    erased = _get(stores)
    verified = _with(erased, status=VERIFIED, rounds=1, stalls=2)
    stores.tasks.set_verified(erased, verified)
    assert (_get(stores).parts, _get(stores).running) == (verified, None)


@pytest.mark.parametrize("case", ["running", "erased again", "verified"])
def test_verification_of_what_has_changed_is_lost(stores: Stores, case: str) -> None:
    """Verification never overrules an eraser that is or was at work since the task was read, nor another verdict."""
    read = _one(stores)
    if case == "verified":
        stores.tasks.set_verified(read, _with(read, status=FAILED))
    else:
        begun = stores.tasks.begin_slice(read, "a")
        if case == "erased again":
            stores.tasks.end_slice(begun, "a", read.parts)
    before = _get(stores)
    with pytest.raises(SliceLostError):
        stores.tasks.set_verified(read, _with(read, status=VERIFIED))
    assert _get(stores) == before


def test_verification_waits_for_a_slice_that_it_knows_of(stores: Stores) -> None:
    """Nor is anything written for a task that was read while a slice was at work, dead or alive."""
    running = stores.tasks.begin_slice(_one(stores), "a")
    with pytest.raises(SliceLostError):
        stores.tasks.set_verified(running, _with(running, status=VERIFIED))
    assert _get(stores) == running


def test_a_lost_answer_is_no_lost_slice(moto_dynamodb: Any) -> None:
    """The client repeats an update whose answer it did not get: beginning stays begun, and what is written on the way
    counts once."""

    def twice(call: Callable[..., Any], **arguments: Any) -> Any:
        call(**arguments)
        return call(**arguments)

    stores = make_stores(moto_dynamodb, HookedClient(moto_dynamodb.client, update_item=twice))
    task = stores.tasks.begin_slice(_one(stores), "a")
    assert _get(stores) == task
    stores.tasks.note_progress(task, "a", _with(task, erased=5))
    assert _get(stores).parts == _with(task, erased=5)
    assert not any(part.at_least for part in _get(stores).parts)


def test_unwritten_tasks_are_written_again(moto_dynamodb: Any) -> None:
    """Tasks that the engine hands back for being busy are sent again."""
    refused: list[int] = []

    def busy(call: Callable[..., Any], **arguments: Any) -> Any:
        ((table, puts),) = arguments["RequestItems"].items()
        if len(refused) < 2:
            refused.append(len(puts))
            call(RequestItems={table: puts[:1]})
            return {"UnprocessedItems": {table: puts[1:]}}
        return call(**arguments)

    stores = make_stores(moto_dynamodb, HookedClient(moto_dynamodb.client, batch_write_item=busy))
    tasks = _tasks(count=5)
    stores.tasks.create_job("job-1", BOTH, MAP, tasks)
    assert refused == [5, 4]
    assert stores.tasks.tasks("job-1") == tasks


PARTS = st.builds(
    Part,
    request_id=st.sampled_from([ONE, TWO]),
    status=st.sampled_from(STATUSES),
    erased=st.integers(0, 10**12),
    at_least=st.booleans(),
    rounds=st.integers(0, 3),
    stalls=st.integers(0, 10),
    reason=st.none() | st.sampled_from(["throttled", "internal_error"]),
)


@given(st.lists(PARTS, max_size=6))
def test_parts_survive_their_text(parts: list[Part]) -> None:
    """Whatever a part says is read back from its short form."""
    assert text_to_parts(parts_to_text(parts)) == tuple(parts)
    task = replace(_tasks(count=1)[0], parts=tuple(parts))
    assert item_to_task(task_to_item(task)) == task


def test_a_full_task_is_a_small_item() -> None:
    """Every write costs by the item's size: with 100 parts at work it stays below 5 KB, new it is below 4 KB."""
    new = tuple(Part(new_request_id()) for _ in range(TASK_PARTS))
    assert len(parts_to_text(new)) < 4_000
    assert len(parts_to_text(replace(part, status=VERIFIED, erased=1234) for part in new)) < 5_000
