"""What a preview tells: what was counted to its end, why something was not, and nothing is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from erasure.domain.outcome import NOTHING_KEPT, Kept
from erasure.domain.subject import Subject
from erasure.domain.target_spec import (
    DynamoDBRule,
    IdentifierRule,
    KeyRule,
    RedactRule,
    RetainRule,
    S3Rule,
    TargetSpec,
)
from erasure.ports import Preview
from erasure.services.previews import BOUND, Look, preview
from erasure.targets.protocol import Deadline, VerifyResult
from tests.fake_jobs import FakeTarget, Step
from tests.unit.services.test_identify import EMAIL, Items, emails

ANN = Subject("acme", "ann")
VALUES = ANN.values()
KEY = KeyRule("pk", "{tenant_id}#{user_id}")
DOCUMENTS = TargetSpec("documents", "content", DynamoDBRule("app-documents", KEY))
INVOICES = TargetSpec(
    "invoices",
    "record",
    DynamoDBRule("app-invoices", KEY),
    redact=(RedactRule("name", "remove"),),
    retain=RetainRule("tax law", "10y", "issued_at"),
)
EVENTS = TargetSpec("events", "record", DynamoDBRule("app-events", KEY, scan=True), window_hours=24)
MAILS = TargetSpec("mails", "content", DynamoDBRule("app-mails", KeyRule("to", "{email}"), index="by-to"))
PHOTOS = TargetSpec(
    "photos", "content", s3=S3Rule("app-photos", prefix="{tenant_id}/{documents.id}/"), for_each=DOCUMENTS
)
UNTIL = "2036-01-31T00:00:00.000Z"


class World:
    def __init__(self, items: Items | None = None) -> None:
        self.target = FakeTarget()
        self.items = items or Items()

    def preview(
        self, *specs: TargetSpec, rules: Sequence[IdentifierRule] = (), seconds: float = 9, subject: Subject = ANN
    ) -> list[Preview]:
        look = Look({"dynamodb": self.target, "s3": self.target}, self.items)
        found = preview(subject, (), specs, rules, look, Deadline(seconds))
        assert self.target.erase_calls == []
        return found


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_there_is_counted(world: World) -> None:
    """Each target by its action, in the order asked for."""
    world.target.put(DOCUMENTS, VALUES, 12)
    assert world.preview(INVOICES, DOCUMENTS) == [
        Preview("invoices", "record", "redact", 0),
        Preview("documents", "content", "delete", 12),
    ]


@pytest.mark.parametrize(("there", "count", "more"), [(BOUND, BOUND, False), (BOUND + 1, BOUND, True)])
def test_counting_has_a_bound(world: World, there: int, count: int, more: bool) -> None:
    """Exact up to it, and "more than" beyond."""
    world.target.put(DOCUMENTS, VALUES, there)
    assert world.preview(DOCUMENTS) == [Preview("documents", "content", "delete", count, more)]


def test_what_stays_is_told(world: World) -> None:
    """How many, until when, and by which law; a lock has none."""
    kept = Kept(3, UNTIL)
    for spec in (INVOICES, DOCUMENTS):
        world.target.always[f"{spec.name}:verify"] = VerifyResult(2, complete=True, kept=kept)
    invoices, documents = world.preview(INVOICES, DOCUMENTS)
    assert (invoices.count, invoices.kept, invoices.basis) == (2, kept, "tax law")
    assert (documents.count, documents.kept, documents.basis) == (2, kept, None)


def test_a_table_without_an_index_is_not_counted(world: World) -> None:
    """No count, no problem, and nobody reads it."""
    assert world.preview(EVENTS) == [Preview("events", "record", "delete", None)]
    assert world.target.verify_calls == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (VerifyResult(5, complete=False), "timed_out"),
        (VerifyResult(5, complete=False, problem="throttled"), "throttled"),
        (VerifyResult(0, complete=False, problem="target_missing", permanent=True), "target_missing"),
        (RuntimeError("a bug"), "internal_error"),
    ],
)
def test_a_part_does_not_pass_for_the_whole(world: World, step: Step, problem: str) -> None:
    """What was not looked at to its end has no count, and is no other target's problem."""
    world.target.always["documents:verify"] = step
    documents, invoices = world.preview(DOCUMENTS, INVOICES)
    assert (documents.count, documents.more, documents.problem) == (None, False, problem)
    assert (invoices.count, invoices.problem) == (0, None)


def test_without_time_nothing_is_counted(world: World) -> None:
    """An end that has come before the first look is told."""
    world.target.put(DOCUMENTS, VALUES, 12)
    (found,) = world.preview(DOCUMENTS, seconds=0)
    assert (found.count, found.problem) == (None, "timed_out")


class TestFurtherIds:
    def test_all_values_are_counted(self) -> None:
        """What is under each address, together."""
        world = World(Items(acme_ann=[emails({"SS": ["a@x", "b@x"]})]))
        for address, count in (("a@x", 2), ("b@x", 3), ("c@x", 7)):
            world.target.put(MAILS, {"email": address}, count)
        assert world.preview(MAILS, rules=[EMAIL]) == [Preview("mails", "content", "delete", 5)]

    def test_without_a_value(self, world: World) -> None:
        """The target would fail; unless the map says that whoever has no value has nothing there."""
        assert world.preview(MAILS, rules=[EMAIL])[0].problem == "missing_value"
        (absent,) = world.preview(MAILS, rules=[replace(EMAIL, optional=True)])
        assert (absent.count, absent.problem) == (0, None)

    def test_what_could_not_be_read(self) -> None:
        """Not missing, also if it is no fault to have none: the source's problem is told."""
        world = World(Items(acme_ann=[emails({"M": {}})]))
        (found,) = world.preview(MAILS, rules=[replace(EMAIL, optional=True)])
        assert (found.count, found.problem) == (None, "map_mismatch")

    @pytest.mark.parametrize("address", ["bob#drafts", "bob\x00"])
    def test_a_value_that_is_also_somebody_elses(self, address: str) -> None:
        """It is refused as an erasure would be, and nothing is counted for it."""
        drafts = TargetSpec(
            "drafts", "content", DynamoDBRule("app-mails", KeyRule("to", "{email}#drafts"), index="by-to")
        )
        mails = replace(MAILS, beside=(drafts,))
        world = World(Items(acme_ann=[emails({"S": address})]))
        (found,) = world.preview(mails, rules=[EMAIL])
        assert (found.count, found.problem) == (None, "ambiguous_identifier")
        assert world.target.verify_calls == []


class TestChildren:
    @pytest.fixture
    def world(self) -> World:
        world = World(Items(acme_ann=[[{"id": {"S": "1"}}, {"id": {"S": "2"}}], [{"id": {"S": "1"}}, {}]]))
        for number, count in (("1", 2), ("2", 3), ("3", 7)):
            world.target.put(PHOTOS, {"tenant_id": "acme", "documents.id": number, "user_id": "ann"}, count)
        return world

    def test_they_are_counted_through_the_items_that_lead_to_them(self, world: World) -> None:
        """Each once, however many items lead to it."""
        assert world.preview(PHOTOS) == [Preview("photos", "content", "delete", 5)]

    def test_one_that_is_also_somebody_elses(self, world: World) -> None:
        """Nothing is told that would not be erased."""
        world.items.pages["acme_ann"] = [[{"id": {"S": "1/2"}}]]
        (found,) = world.preview(PHOTOS)
        assert (found.count, found.problem) == (None, "ambiguous_identifier")

    def test_items_that_cannot_be_read(self, world: World) -> None:
        """The parent's problem is the child's."""
        world.items.pages["acme_ann"] = [[{"id": {"BOOL": True}}]]
        assert world.preview(PHOTOS)[0].problem == "map_mismatch"

    def test_more_than_can_be_counted(self, world: World) -> None:
        """Counting ends at the bound, and says so."""
        world.items.pages["acme_ann"] = [[{"id": {"S": str(number)}} for number in range(BOUND + 2)]]
        world.target.always["photos:verify"] = VerifyResult(1, complete=True, kept=Kept(1, UNTIL))
        (found,) = world.preview(PHOTOS)
        assert (found.count, found.more) == (BOUND, True)
        assert (found.kept.until, found.kept.more) == (None, True)
        assert found.kept != NOTHING_KEPT
