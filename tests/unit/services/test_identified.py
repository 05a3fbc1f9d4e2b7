"""Jobs of a map with further ids of its subjects: read before anything goes, noted, and never guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from erasure.domain.holds import alias_digest, marks_of
from erasure.domain.outcome import ALREADY_ABSENT, ERASED
from erasure.domain.outcome import FAILED as OUTCOME_FAILED
from erasure.domain.request import FINISHED, HELD, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, IdentifierRule, KeyRule, TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import Hold, PinnedMap
from erasure.services.start_jobs import job_id_for
from erasure.targets.protocol import SliceResult
from tests.unit.services.world import KEY, MAP, World

MAILS = TargetSpec("mails", "content", DynamoDBRule("app-mails", KeyRule("address", "{email}"), index="by-address"))
EMAIL = IdentifierRule("email", MAP.targets[0], "email")


@pytest.fixture
def world() -> World:
    world = World()
    world.maps.maps = [PinnedMap(1, "digest", (*MAP.targets, MAILS), identifiers=(EMAIL,))]
    for address, count in (("ann@example.com", 2), ("ann@work.example", 3), ("bob@example.com", 7)):
        world.target.put(MAILS, {"tenant_id": "acme", "user_id": "?", "email": address}, count)
    return world


def run(world: World, request: ErasureRequest, attempt: int = 1) -> ErasureRequest:
    job_id = job_id_for(request.request_id, attempt)
    world.loop(job_id, world.plan(job_id, request.request_id, attempt=attempt))
    world.close(job_id, request.request_id)
    return world.requests.records[request.request_id]


def outcome(record: ErasureRequest, target: str = "mails") -> tuple[str, int, str | None]:
    (found,) = [outcome for outcome in record.outcomes if outcome.target == target]
    return found.outcome, found.count, found.reason


def test_every_value_is_erased_and_nothing_else(world: World) -> None:
    """A subject with two addresses loses the mails of both; another's stay."""
    (request,) = world.requests_of("ann")
    world.reader.identifiers["ann"] = {"email": ("ann@example.com", "ann@work.example")}
    record = run(world, request)
    assert (record.state, outcome(record)) == (FINISHED, (ERASED, 5, None))
    assert sum(world.target.things.values()) == 7


def test_ids_are_noted_before_there_is_any_task(world: World) -> None:
    """When the job's tasks exist, so that an eraser may begin, the request knows the ids."""
    (request,) = world.requests_of("ann")
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    create_job, seen = world.tasks.create_job, []

    def spy(*arguments: object) -> None:
        seen.append(world.requests.records[request.request_id].identifiers)
        create_job(*arguments)  # type: ignore[arg-type]

    world.tasks.create_job = spy  # type: ignore[method-assign]
    run(world, request)
    assert seen == [{"email": ("ann@example.com",)}]


def test_missing_value_fails_its_target_alone(world: World) -> None:
    """Without an address nobody knows where the mails are: the target fails, everything else goes."""
    (request,) = world.requests_of("ann")
    record = run(world, request)
    assert (record.state, record.attention) == (STARTED, True)
    assert outcome(record) == (OUTCOME_FAILED, 0, "missing_value")
    assert outcome(record, "notes") == (ERASED, 3, None)


def test_missing_value_may_mean_that_there_is_nothing(world: World) -> None:
    """If the map says so, a subject without an address has no mails."""
    world.maps.maps = [PinnedMap(1, "digest", (*MAP.targets, MAILS), identifiers=(replace(EMAIL, optional=True),))]
    (request,) = world.requests_of("ann")
    record = run(world, request)
    assert (record.state, outcome(record)) == (FINISHED, (ALREADY_ABSENT, 0, None))


def test_retry_knows_what_has_been_read_before(world: World) -> None:
    """The item that held the address is gone when the job is run again: the request still knows it, and what a second
    reading finds comes on top."""
    (request,) = world.requests_of("ann")
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    world.plan(job_id_for(request.request_id, 1), request.request_id)
    world.reader.identifiers["ann"] = {"email": ("ann@work.example",)}
    record = run(world, request, attempt=2)
    assert record.identifiers == {"email": ("ann@example.com", "ann@work.example")}
    assert (record.state, outcome(record)) == (FINISHED, (ERASED, 5, None))


def test_another_request_s_ids_are_not_used(world: World) -> None:
    """What an earlier request of the same subject had read may be somebody else's address by now."""
    first, second = world.requests_of("ann")[0], world.a_request()
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    assert run(world, first).state == FINISHED
    del world.reader.identifiers["ann"]
    assert outcome(run(world, second)) == (OUTCOME_FAILED, 0, "missing_value")


def absent_map(*targets: TargetSpec) -> PinnedMap:
    return PinnedMap(1, "digest", targets, identifiers=(replace(EMAIL, optional=True),))


def test_what_another_request_knows_is_not_absent(world: World) -> None:
    """The map says that without an address there are no mails. But another request had read one and could not erase
    them: nobody may say so, and nothing is erased by that address either."""
    world.maps.maps = [absent_map(*MAP.targets, MAILS)]
    first, second = world.requests_of("ann")[0], world.a_request()
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    world.target.always["mails"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    assert run(world, first).attention
    del world.target.always["mails"]
    world.reader.identifiers["ann"] = {"email": ()}
    record = run(world, second)
    assert (record.attention, outcome(record)) == (True, (OUTCOME_FAILED, 0, "missing_value"))
    assert world.target.things["mails\x00ann@example.com"] == 2


def test_what_another_request_has_erased_is_absent(world: World) -> None:
    """An address that another request knew, and all of whose mails it has erased, casts no doubt."""
    world.maps.maps = [absent_map(*MAP.targets, MAILS)]
    first, second = world.requests_of("ann")[0], world.a_request()
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    assert run(world, first).state == FINISHED
    world.reader.identifiers["ann"] = {"email": ()}
    record = run(world, second)
    assert (record.state, outcome(record)) == (FINISHED, (ALREADY_ABSENT, 0, None))


def test_request_that_erases_the_source_knows_what_stood_in_it(world: World) -> None:
    """A request limited to other categories erases the item with the address: it has to remember it, or a later request
    would take the mails for absent."""
    world.maps.maps = [absent_map(*MAP.targets, replace(MAILS, category="preference"))]
    first, second = world.requests_of("ann")[0], world.a_request()
    limited = replace(first, categories=("content",))
    world.requests.records[first.request_id] = limited
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    record = run(world, limited)
    assert (record.state, record.identifiers) == (FINISHED, {"email": ("ann@example.com",)})
    world.reader.identifiers["ann"] = {"email": ()}
    assert outcome(run(world, second)) == (OUTCOME_FAILED, 0, "missing_value")


def test_unread_ids_stop_the_plan(world: World) -> None:
    """If the sources cannot be read, nothing is planned and nothing erased: the plan is made again."""
    (request,) = world.requests_of("ann")
    world.reader.down = True
    with pytest.raises(UnavailableError):
        world.plan(job_id_for(request.request_id, 1), request.request_id)
    assert world.tasks.records == {}


def test_ids_are_not_read_for_nothing(world: World) -> None:
    """A map whose covered targets need no further id asks nobody."""
    world.maps.maps = [PinnedMap(1, "digest", MAP.targets, identifiers=(EMAIL,))]
    (request,) = world.requests_of("ann")
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    assert run(world, request).state == FINISHED
    assert world.reader.asked == []


def test_request_that_another_job_takes_meanwhile_is_left_out(world: World) -> None:
    """A job that lost the request while it was reading plans nothing for it."""
    (request,) = world.requests_of("ann")
    identify = world.reader.identify

    def overtaken(*arguments: object) -> list[dict[str, tuple[str, ...]]]:
        world.requests.start(request, world.clock(), 1, "another-2", 2)
        return identify(*arguments)  # type: ignore[arg-type]

    world.reader.identify = overtaken  # type: ignore[method-assign,assignment]
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    assert world.plan(job_id_for(request.request_id, 1), request.request_id) == []


def hold(world: World, *aliases: str) -> None:
    marks = marks_of(KEY, Subject("acme", "somebody"), aliases)
    world.holds.holds["acme", marks[0]] = Hold(
        "lh_1", "acme", "user", marks[0], "a lawsuit", "legal", world.clock(), "a-key", None, len(aliases), marks
    )


def test_who_is_held_by_a_further_id_is_left_out(world: World) -> None:
    """One of two addresses is enough. Nothing of theirs is erased, the others of the job are."""
    ann, bob = world.requests_of("ann", "bob")
    world.reader.identifiers["ann"] = {"email": ("ann@example.com", "ann@work.example")}
    world.reader.identifiers["bob"] = {"email": ("bob@example.com",)}
    hold(world, "ann@work.example")
    before = sum(world.target.things.values())
    world.run_many("jb_1-1", [ann, bob])
    assert (world.record(ann).state, world.record(ann).hold_id) == (HELD, "lh_1")
    assert world.record(bob).state == FINISHED
    assert sum(world.target.things.values()) == before - 7 - 3 * len(MAP.targets)


@pytest.mark.parametrize("has_identifiers", [True, False])
def test_further_ids_from_elsewhere_are_looked_for_too(world: World, has_identifiers: bool) -> None:
    """A request that was made with its identifiers, and whose digests nobody has noted, is held by them; also if the
    map names none any more."""
    (request,) = world.requests_of("ann")
    request = replace(request, identifiers={"email": ("ann@example.com",)})
    world.requests.records[request.request_id] = request
    if not has_identifiers:
        world.maps.maps = [PinnedMap(1, "digest", MAP.targets)]
    else:
        world.reader.identifiers["ann"] = {"email": ()}
    hold(world, "ann@example.com")
    before = dict(world.target.things)
    assert run(world, request).state == HELD
    assert world.target.things == before


def test_digests_of_further_ids_are_noted_with_them(world: World) -> None:
    """Who has none has none."""
    ann, bob = world.requests_of("ann", "bob")
    world.reader.identifiers["ann"] = {"email": ("ann@example.com",)}
    world.run_many("jb_1-1", [ann, bob])
    assert world.record(ann).hold_digests == (alias_digest(KEY, "acme", "ann@example.com"),)
    assert world.record(bob).hold_digests == ()
