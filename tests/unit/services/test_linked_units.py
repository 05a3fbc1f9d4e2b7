"""Targets that lead to each other: nothing is left behind that nobody would find any more."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from erasure.domain.outcome import TargetOutcome
from erasure.domain.plan import FAILED, PENDING, TASK_PARTS, VERIFIED, Part, plan_units
from erasure.domain.request import FINISHED, STARTED, ErasureRequest
from erasure.domain.target_spec import S3Rule, TargetSpec
from erasure.services.linked_targets import CHUNK, LinkedTarget, values_through
from erasure.services.start_jobs import job_id_for
from erasure.targets.protocol import CHILDREN_LEFT, Deadline
from tests.unit.services.linked_world import DOCS, FILES, HOMES, IMAGES, PAGES, TREE, Killed, LinkedWorld, subject

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LISTED = TargetSpec("files", "content", s3=S3Rule("files", key="{docs.file}"), for_each=DOCS)


def a_world(documents: int = 3, pages: int = 2) -> LinkedWorld:
    world = LinkedWorld()
    for number in range(documents):
        world.things.add_document("ann", f"doc{number:05}", pages)
    world.things.add_document("bob", "other", 1)
    return world


BOBS = {"other", "other.pdf", "other-page0", "other-image0/small.png", "other-image0/large.png"}


def test_a_whole_tree_goes() -> None:
    """Three levels go, every kind with its count, and nothing of another person's."""
    world = a_world()
    request = world.a_request()
    assert world.run(request).attention == ()
    assert world.things.everything() == BOBS
    assert {name: (outcome.outcome, outcome.count) for name, outcome in world.outcomes(request).items()} == {
        "docs": ("erased", 3),
        "files": ("erased", 3),
        "pages": ("erased", 6),
        "images": ("erased", 12),
    }


def test_several_requests_share_a_unit() -> None:
    """Two people's trees are erased by one unit, each with its own counts; a third one's stays."""
    world = a_world()
    for number in range(5):
        world.things.add_document("cia", f"cia{number}", 1)
    requests = [world.a_request(), world.a_request(subject("cia"))]
    units = world.plan("job", *(request.request_id for request in requests))
    assert [unit.name for unit in units] == ["linked-00"]
    for event in world.start("job", units):
        world.follow(event)
    world.close("job", *(request.request_id for request in requests))
    assert world.things.everything() == BOBS
    assert [world.outcomes(request)["pages"].count for request in requests] == [6, 5]


def test_each_step_may_be_the_last() -> None:
    """Killed at each of its steps in turn, a job leaves nothing that no item leads to; going on, it erases all, and
    what was erased before it died is not called absent."""
    whole = a_world(2, 1)
    whole.run(whole.a_request())
    deaths = 0
    for last in range(1, whole.things.steps + 1):
        world = a_world(2, 1)
        request = world.a_request()
        (event,) = world.start("job", world.plan("job", request.request_id))
        before = world.things.steps

        def die(number: int, at: int = before + last) -> None:
            if number == at:
                raise Killed

        world.things.on_step = die
        answer = dict(event) | {"again": True}
        while answer["again"]:
            try:
                answer = world.erase_and_verify(answer)
            except Killed:
                deaths += 1
                world.things.on_step = lambda _: None
            assert world.things.orphans() == set()
        world.close("job", request.request_id)
        assert world.record(request).state == FINISHED
        assert world.things.everything() == BOBS
        assert {outcome.outcome for outcome in world.outcomes(request).values()} == {"erased"}
    assert deaths > 40


def test_what_comes_meanwhile_goes_too() -> None:
    """Documents with all that they lead to, added between the steps, are erased with the rest; none is left behind."""
    world = a_world()
    request = world.a_request()

    def write(number: int) -> None:
        if number % 7 == 0 and number < 200:
            world.things.add_document("ann", f"new{number:05}", 1)

    world.things.on_step = write
    assert world.run(request).attention == ()
    assert world.things.everything() == BOBS
    assert world.outcomes(request)["docs"].count > 3


def test_a_child_that_comes_late_sends_the_unit_back() -> None:
    """A file that appears after all files were seen gone keeps its document until it has gone as well."""
    world = a_world(1, 0)
    request = world.a_request()
    job_id = job_id_for(request.request_id, 1)
    added: list[str] = []

    def add_late(_: int) -> None:
        parts = {task.spec.name: part for task in world.tasks.tasks(job_id) for part in task.parts}
        if not added and parts.get("files", Part("")).status == VERIFIED:
            added.append("doc00000.pdf")
            world.things.buckets["files"].add("doc00000.pdf")

    world.things.on_step = add_late
    assert world.run(request).attention == ()
    assert added
    assert world.things.everything() == BOBS
    assert world.outcomes(request)["files"].count == 2
    assert [event["level"] for event in world.events][-3:] != [3, 3, 3]
    assert world.all_parts(job_id, request)["files"].rounds == 1


def test_what_keeps_coming_fails_in_the_end() -> None:
    """A file that comes back after each round is told as still present, and its document is there to lead to it."""
    world = a_world(1, 0)
    request = world.a_request()

    def look_again() -> None:
        world.things.buckets["files"].add("doc00000.pdf")

    parts = world.all_parts

    def come_back(_: int) -> None:
        known = parts(job_id_for(request.request_id, 1), request)
        if "files" in known and known["files"].status == VERIFIED:
            look_again()

    world.things.on_step = come_back
    world.run(request)
    outcomes = world.outcomes(request)
    assert (outcomes["files"].outcome, outcomes["files"].reason) == ("failed", "still_present")
    assert (outcomes["docs"].outcome, outcomes["docs"].reason) == ("failed", "children_failed")
    assert "doc00000" in world.things.tables["docs"]
    assert world.record(request).attention


def test_a_child_that_cannot_go_keeps_its_parents() -> None:
    """One file that cannot be erased fails its target and the documents; everything else goes; a retry heals."""
    world = a_world()
    world.things.refused.add("doc00001.pdf")
    request = world.a_request()
    world.run(request)
    outcomes = world.outcomes(request)
    assert (outcomes["files"].outcome, outcomes["files"].reason, outcomes["files"].count) == ("failed", "rejected", 2)
    assert (outcomes["docs"].outcome, outcomes["docs"].reason) == ("failed", "children_failed")
    assert outcomes["images"].outcome == "erased"
    assert world.things.orphans() == set()
    assert "doc00001" in world.things.tables["docs"]
    world.things.refused.clear()
    world.run(world.record(request), attempt=2)
    assert world.record(request).state == FINISHED
    assert world.things.everything() == BOBS


def test_a_grandchild_that_cannot_go_keeps_the_whole_path() -> None:
    """An image that cannot be erased keeps its page, and through it the document; nothing loses its way."""
    world = a_world()
    world.things.refused.add("doc00001-image0/small.png")
    request = world.a_request()
    world.run(request)
    reasons = {name: outcome.reason for name, outcome in world.outcomes(request).items()}
    assert reasons == {"images": "rejected", "pages": "children_failed", "docs": "children_failed", "files": None}
    assert {"doc00001", "doc00001-page0", "doc00001-image0/small.png"} <= world.things.everything()


def test_an_item_that_changes_under_the_hands_is_followed() -> None:
    """A document that is given another file after its own was seen gone stays until that one has gone, too."""
    world = a_world(2, 0)
    request = world.a_request()
    changed: list[str] = []

    def change() -> None:
        if not changed and "doc00000" in world.things.tables["docs"]:
            changed.append("another.pdf")
            world.things.buckets["files"].add("another.pdf")
            world.things.put("docs", "doc00000", owner="acme#ann", file="another.pdf")

    world.things.after_look = change
    assert world.run(request).attention == ()
    assert changed
    assert world.things.everything() == BOBS
    assert world.outcomes(request)["files"].count == 3


@pytest.mark.parametrize("file", ["acme/bob/secret.pdf", "globex/ann/secret.pdf"])
def test_a_value_that_leads_to_others_is_refused(file: str) -> None:
    """A document that names a file in somebody else's folder: that file is not touched, the document stays as it is,
    and the outcome says why; the other files have gone."""
    world = LinkedWorld((HOMES, DOCS, FILES))
    world.things.buckets["files"] |= {file, "acme/ann/own.pdf", "plain.pdf"}
    world.things.put("docs", "a", owner="acme#ann", file="plain.pdf")
    world.things.put("docs", "b", owner="acme#ann", file=file)
    request = world.a_request()
    world.run(request)
    outcomes = world.outcomes(request)
    assert outcomes["files"] == TargetOutcome("files", "content", "failed", 1, reason="ambiguous_identifier")
    assert outcomes["docs"].reason == "children_failed"
    assert world.things.buckets["files"] == {file}
    assert "b" in world.things.tables["docs"]


@pytest.mark.parametrize("users", [("ann", "bob", "cia"), ("cia", "bob", "ann")])
def test_what_is_refused_is_told_so_whoever_else_is_in_the_job(users: tuple[str, ...]) -> None:
    """The bucket is missing. Whoever's documents lead into it is told that; whoever's only document was refused is
    told of the refusal, as if nobody else had been asked for; whoever has both, that the bucket is missing."""
    things = LinkedWorld((HOMES, DOCS, FILES)).things
    things.missing.add("files")
    things.put("docs", "a", owner="acme#ann", file="plain.pdf")
    things.put("docs", "b", owner="acme#bob", file="acme/dan/secret.pdf")
    things.put("docs", "c", owner="acme#cia", file="acme/dan/secret.pdf")
    things.put("docs", "d", owner="acme#cia", file="plain.pdf")
    target, subjects = LinkedTarget(things, things), [{"tenant_id": "acme", "user_id": user} for user in users]
    erased, verified = target.erase(FILES, subjects, Deadline(1e9)), target.verify(FILES, subjects, Deadline(1e9))
    assert not any(result.done for result in erased)
    assert not any(result.complete for result in verified)
    assert all(result.permanent for result in erased)
    assert all(result.permanent for result in verified)
    expected = {"ann": "target_missing", "bob": "ambiguous_identifier", "cia": "target_missing"}
    assert dict(zip(users, (result.problem for result in erased), strict=True)) == expected
    assert dict(zip(users, (result.problem for result in verified), strict=True)) == expected


def test_ones_own_folder_is_ones_own() -> None:
    """A document may name a file in its owner's own folder."""
    world = LinkedWorld((HOMES, DOCS, FILES))
    world.things.buckets["files"].add("acme/ann/own.pdf")
    world.things.put("docs", "a", owner="acme#ann", file="acme/ann/own.pdf")
    assert world.run(world.a_request()).attention == ()
    assert world.things.everything() == set()


@pytest.mark.parametrize(
    ("attribute", "files"),
    [
        ({"S": "one"}, {"one"}),
        ({"N": "12"}, {"12"}),
        ({"SS": ["one", "two"]}, {"one", "two"}),
        ({"NS": ["1", "2"]}, {"1", "2"}),
        ({"L": [{"S": "one"}, {"N": "2"}, {"S": "one"}, {"NULL": True}]}, {"one", "2"}),
        ({"S": ""}, set()),
        ({"L": []}, set()),
        ({"NULL": True}, set()),
    ],
)
def test_one_item_may_lead_to_several(attribute: dict[str, object], files: set[str]) -> None:
    """Each value of a set or a list leads to its own file; an attribute without a value leads nowhere."""
    world = LinkedWorld((DOCS, LISTED))
    world.things.buckets["files"] |= files | {"stays"}
    world.things.put("docs", "a", owner="acme#ann", file=attribute)
    world.things.put("docs", "b", owner="acme#ann")
    request = world.a_request()
    assert world.run(request).attention == ()
    assert world.things.everything() == {"stays"}
    assert world.outcomes(request)["files"].count == len(files)


@pytest.mark.parametrize("attribute", [{"M": {"key": {"S": "one"}}}, {"BOOL": True}, {"L": [{"M": {}}]}])
def test_an_attribute_that_is_no_text_fails(attribute: dict[str, object]) -> None:
    """What an attribute of another type leads to nobody can tell: the item stays, and the outcome says so."""
    world = LinkedWorld((DOCS, LISTED))
    world.things.put("docs", "a", owner="acme#ann", file=attribute)
    request = world.a_request()
    world.run(request)
    assert world.outcomes(request)["files"].reason == "map_mismatch"
    assert world.outcomes(request)["docs"].reason == "children_failed"
    assert "a" in world.things.tables["docs"]


@pytest.mark.parametrize("until", ["2030-01-01T00:00:00Z", None])
def test_what_a_lock_holds_keeps_its_way(until: str | None) -> None:
    """A file under a lock stays, and so does its document, which alone leads to it: both are told as blocked, with
    the date; the rest goes."""
    world = a_world(3, 0)
    world.things.locked["doc00001.pdf"] = until
    request = world.a_request()
    assert world.run(request).attention == ()
    outcomes = world.outcomes(request)
    told = [(outcomes[name].outcome, outcomes[name].kept, outcomes[name].until) for name in ("files", "docs")]
    assert told == [("blocked", 1, until)] * 2
    assert (outcomes["docs"].count, outcomes["files"].count) == (2, 2)
    assert world.things.everything() == BOBS | {"doc00001", "doc00001.pdf"}


@pytest.mark.parametrize("until", ["2030-01-01T00:00:00Z", None])
def test_what_a_lock_holds_keeps_its_way_however_long(until: str | None) -> None:
    """An image under a lock stays, and so do the page that leads to it and the document that leads to the page: all
    three are told as blocked, with the date; the rest goes."""
    world = a_world(3, 2)
    world.things.locked["doc00001-image1/small.png"] = until
    request = world.a_request()
    assert world.run(request).attention == ()
    outcomes = world.outcomes(request)
    told = [(outcomes[name].outcome, outcomes[name].kept, outcomes[name].until) for name in ("images", "pages", "docs")]
    assert told == [("blocked", 1, until)] * 3
    left = {"doc00001", "doc00001-page1", "doc00001-image1/small.png"}
    assert world.things.everything() == BOBS | left
    assert [outcomes[name].count for name in ("images", "pages", "docs")] == [11, 5, 2]


def test_a_document_beside_locked_ones_is_not_excused() -> None:
    """What a lock keeps excuses the documents that lead to it, and no other one that comes meanwhile."""
    world = a_world(2, 0)
    world.things.locked["doc00001.pdf"] = None
    request = world.a_request()
    job_id = job_id_for(request.request_id, 1)

    def add_late(_: int) -> None:
        known = world.all_parts(job_id, request)
        if "docs" in known and known["docs"].status == "erased" and "late" not in world.things.tables["docs"]:
            world.things.put("docs", "late", owner="acme#ann")

    world.things.on_step = add_late
    world.run(request)
    assert world.outcomes(request)["docs"].outcome == "failed"
    assert world.outcomes(request)["docs"].reason == "still_present"


def test_large_families_go_bit_by_bit() -> None:
    """When no slice has time for all, what is gone lets its parents go: each slice finds less, and the number of
    slices grows with the number of documents, not with its square."""

    def passes(documents: int) -> int:
        world = LinkedWorld((DOCS, LISTED))
        for number in range(documents):
            world.things.put("docs", f"doc{number:05}", owner="acme#ann", file=f"doc{number:05}.pdf")
            world.things.buckets["files"].add(f"doc{number:05}.pdf")
        request = world.a_request()
        (event,) = world.start("job", world.plan("job", request.request_id))
        answer, sizes = dict(event) | {"again": True}, []
        while answer["again"]:
            answer = world.erase_and_verify(answer, 150)
            assert world.things.orphans() == set()
            sizes.append(len(world.things.tables["docs"]))
        world.close("job", request.request_id)
        assert world.record(request).state == FINISHED
        assert sizes == sorted(sizes, reverse=True)
        assert 0 < sizes[len(sizes) // 2] < documents
        return len(sizes)

    assert passes(2_000) < 2.5 * passes(1_000)


def test_memory_does_not_grow_with_the_family() -> None:
    """Ten thousand documents take hardly more memory than one thousand, far less than a list of their names would."""

    def peak(documents: int) -> int:
        world = LinkedWorld((DOCS, LISTED))
        for number in range(documents):
            world.things.put("docs", f"doc{number:05}", owner="acme#ann", file=f"doc{number:05}.pdf")
            world.things.buckets["files"].add(f"doc{number:05}.pdf")
        request = world.a_request()
        units = world.plan("job", request.request_id)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for event in world.start("job", units):
            world.follow(event)
        highest = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert world.things.everything() == set()
        assert world.things.largest == CHUNK
        return highest

    assert peak(10_000) - peak(1_000) < 9_000 * 50


def test_a_parent_that_waits_is_not_given_up() -> None:
    """Documents wait for a file that takes many slices as long as it takes: only their children count."""
    world = LinkedWorld((DOCS, LISTED))
    world.things.buckets["files"] |= {"slow"}
    world.things.put("docs", "a", owner="acme#ann", file="slow")
    request = world.a_request()
    (event,) = world.start("job", world.plan("job", request.request_id))
    answer = dict(event)
    for _ in range(30):
        answer = world.erase_and_verify(answer, 0.5)
        part = world.all_parts("job", request)["docs"]
        assert part.status == PENDING
    assert part.reason in (None, CHILDREN_LEFT)
    world.follow(answer | {"again": True})
    assert world.things.everything() == set()


def test_values_of_another_attribute_are_not_mixed() -> None:
    """A rule with two attributes is rendered for each pair of one item's values, never with another item's."""
    rule = TargetSpec("files", "content", s3=S3Rule("files", key="{docs.folder}/{docs.file}"), for_each=DOCS)
    item = {"folder": {"SS": ["x", "y"]}, "file": {"S": "1"}}
    values = [dict(each) for each in values_through(rule, {"tenant_id": "acme", "user_id": "ann"}, item)]
    assert [(each["docs.folder"], each["docs.file"]) for each in values] == [("x", "1"), ("y", "1")]
    assert list(values_through(rule, {"user_id": "ann"}, {"folder": {"S": "x"}})) == []


def test_an_attribute_further_up_is_not_carried_along() -> None:
    """A grandchild's values are its parent's attributes and the subject's own ids, nothing of the items above."""
    (values,) = values_through(
        TREE[-1], {"user_id": "ann", "docs.id": "a", "organization_id": "o"}, {"image": {"S": "i"}}
    )
    assert values == {"user_id": "ann", "pages.image": "i"}


def test_failed_parts_fail_what_leads_to_them_only() -> None:
    """Of two people in one unit, only the one whose file cannot go keeps his documents."""
    world = a_world(2, 1)
    world.things.add_document("cia", "cia0", 1)
    world.things.refused.add("doc00000.pdf")
    requests = [world.a_request(), world.a_request(subject("cia"))]
    units = world.plan("job", *(request.request_id for request in requests))
    for event in world.start("job", units):
        world.follow(event)
    world.close("job", *(request.request_id for request in requests))
    assert [world.record(request).state for request in requests] == [STARTED, FINISHED]
    assert [world.all_parts("job", request)["docs"].status for request in requests] == [FAILED, VERIFIED]
    assert "cia0" not in world.things.everything()


def test_a_stopped_request_keeps_its_tree() -> None:
    """Once a request is held, no level of its tree loses another thing."""
    world = a_world()
    request = world.a_request()
    (event,) = world.start("job", world.plan("job", request.request_id))
    answer = world.erase_and_verify(event)
    before = world.things.everything()
    world.requests.records[request.request_id] = replace(world.record(request), state="held")
    assert world.erase_and_verify(answer)["again"] is False
    assert world.things.everything() == before


def test_levels_come_in_turn() -> None:
    """Children first, one kind at a time, each level with the function that may erase it."""
    world = a_world(1, 1)
    world.run(world.a_request())
    first = world.start("job", world.plan("job", world.a_request().request_id))[0]
    assert first["erasers"] == ["s3", "dynamodb", "s3", "dynamodb"]
    assert [(event["level"], event["eraser"]) for event in world.events] == [
        (1, "dynamodb"),
        (2, "s3"),
        (3, "dynamodb"),
        (3, "dynamodb"),
    ]


def test_levels_have_no_gaps() -> None:
    """A unit in which limited requests have only some of the targets counts its levels from 0 without a gap, so that
    each has its function."""
    files = replace(LISTED, s3=S3Rule("files", prefix="{docs.file}/{organization_id}/"))
    requests = [
        ErasureRequest(
            f"er_{number:03}", subject(f"u{number}"), "digest", "native", NOW, NOW, NOW, organization_ids=organizations
        )
        for number, organizations in enumerate([*[()] * TASK_PARTS, ("org",)])
    ]
    units = plan_units("job", requests, [DOCS, PAGES, files, IMAGES])
    assert [(unit.kinds, [task.level for task in unit.tasks]) for unit in units] == [
        (("s3", "dynamodb", "s3", "dynamodb"), [3, 1, 2, 0]),
        (("s3",), [0]),
    ]
