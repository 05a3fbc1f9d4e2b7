"""Asking the verifier about data: what comes back over the wire is what was asked for, whole, and nobody is logged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from aws_lambda_powertools.logging.logger import Logger

from erasure.adapters.data_reader import SUBJECTS_OF_A_CALL, LambdaDataReader
from erasure.adapters.sessions import SessionName
from erasure.domain.outcome import Kept
from erasure.domain.plan import Shard
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, IdentifierRule, KeyRule, RetainRule, TargetSpec
from erasure.entry.workers import make_verify_target
from erasure.errors import TargetError, UnavailableError
from erasure.ports import PinnedMap, Preview
from erasure.services.verify_unit import VerifyUnitDependencies
from erasure.targets.protocol import Deadline, Item, Values, VerifyResult
from tests import fake_jobs, fakes
from tests.fake_clock_stores import FakeHoldStore

ANN = Subject("acme", "zq9xwv-secret-person")
ACCOUNTS = TargetSpec("accounts", "account", DynamoDBRule("app-accounts", KeyRule("pk", "{tenant_id}#{user_id}")))
INVOICES = TargetSpec(
    "invoices",
    "record",
    DynamoDBRule("app-invoices", KeyRule("pk", "{tenant_id}#{user_id}")),
    retain=RetainRule("tax law", "10y", "issued_at"),
)
EVENTS = TargetSpec(
    "events", "record", DynamoDBRule("app-events", KeyRule("user", "{user_id}"), scan=True), window_hours=24
)
EMAIL = IdentifierRule("email", ACCOUNTS, "email", optional=True)
MAP = PinnedMap(3, "digest", (ACCOUNTS, INVOICES, EVENTS), identifiers=(EMAIL,))
UNTIL = "2036-01-31T00:00:00.000Z"


class Context:
    aws_request_id = "call"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


class Tables:
    """Reads items, and knows shards. ``seconds``: how much time the last question left."""

    def __init__(self) -> None:
        self.problem: TargetError | None = None
        self.seconds = 0.0

    def items(
        self, _spec: TargetSpec, values: Values, _attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[list[Item]]:
        self.seconds = deadline.remaining()
        if self.problem is not None:
            raise self.problem
        yield [{"email": {"S": f"{values['user_id']}@example.com"}}]

    def shards(self, _spec: TargetSpec, _deadline: Deadline) -> tuple[Shard, ...]:
        if self.problem is not None:
            raise self.problem
        return (Shard(8, 0, 4), Shard(8, 4, 8))


class Verifier:
    """The verifier behind a reader; questions and answers go over the wire."""

    def __init__(self) -> None:
        self.target, self.tables = fake_jobs.FakeTarget(), Tables()
        use = VerifyUnitDependencies(
            fakes.FakeRequestStore(fakes.FakeAuditLog()),
            fake_jobs.FakeTaskStore(),
            {"dynamodb": self.target, "s3": self.target},
            reader=self.tables,
            holds=FakeHoldStore(),
        )
        self.handler = make_verify_target(use, 15, SessionName(), Logger(service="data-reader"))
        self.functions = fake_jobs.FakeFunctions({"verify_target": self._answer})
        self.reader = LambdaDataReader(self.functions, 18.0)

    def _answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(self.handler(json.loads(json.dumps(event)), Context())))
        return answer


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


def test_ids_of_many_subjects(verifier: Verifier) -> None:
    """Each subject's own, in their order, in calls of so many that any answer fits."""
    subjects = [Subject("acme", f"user-{number}") for number in range(SUBJECTS_OF_A_CALL + 1)]
    found = verifier.reader.identify(subjects, [EMAIL])
    assert found == [{"email": (f"{subject.id}@example.com",)} for subject in subjects]
    assert len(verifier.functions.calls) == 2


def test_without_rules_nobody_is_asked(verifier: Verifier) -> None:
    """Nothing to find out costs no call."""
    assert verifier.reader.identify([ANN], []) == [{}]
    assert verifier.reader.preview(ANN, (), PinnedMap(1, "digest", ())) == []
    assert verifier.reader.shards([]) == {}
    assert verifier.functions.calls == []


def test_a_preview_arrives_as_it_was_made(verifier: Verifier) -> None:
    """Counts, what is kept and by which law, and what was not counted."""
    verifier.target.put(ACCOUNTS, ANN.values(), 1)
    verifier.target.always["invoices:verify"] = VerifyResult(2, complete=True, more=True, kept=Kept(3, UNTIL, True))
    assert verifier.reader.preview(ANN, (), MAP) == [
        Preview("accounts", "account", "delete", 1),
        Preview("invoices", "record", "delete", 2, True, Kept(3, None, True), "tax law"),
        Preview("events", "record", "delete", None),
    ]


def test_a_preview_is_limited_to_organizations(verifier: Verifier) -> None:
    """The organizations go with the question."""
    rule = DynamoDBRule("app-docs", KeyRule("pk", "{tenant_id}#{user_id}"), KeyRule("sk", "{organization_id}#", True))
    documents = TargetSpec("documents", "content", rule)
    for organization, count in (("o1", 2), ("o2", 3), ("o3", 7)):
        verifier.target.put(documents, {**ANN.values(), "organization_id": organization}, count)
    (found,) = verifier.reader.preview(ANN, ("o1", "o2"), PinnedMap(1, "digest", (documents,)))
    assert found.count == 5


def test_shards_of_tables(verifier: Verifier) -> None:
    """By target."""
    assert verifier.reader.shards([EVENTS]) == {"events": (Shard(8, 0, 4), Shard(8, 4, 8))}


def test_an_unknown_size_is_no_answer(verifier: Verifier) -> None:
    """A table whose size may become known has no shards until then."""
    verifier.tables.problem = TargetError("throttled", permanent=False)
    with pytest.raises(UnavailableError):
        verifier.reader.shards([EVENTS])


def test_a_table_that_is_gone_keeps_nobody_from_being_planned(verifier: Verifier) -> None:
    """It counts as one shard: who scans it tells what is wrong with it, and all other targets go on."""
    verifier.tables.problem = TargetError("target_missing", permanent=True)
    assert verifier.reader.shards([EVENTS]) == {"events": (Shard(1, 0, 1),)}


def test_a_waiting_caller_says_how_long(verifier: Verifier) -> None:
    """The reader takes no longer than its caller waits."""
    verifier.reader.identify([ANN], [EMAIL])
    assert 0 < verifier.tables.seconds <= 18


@pytest.mark.parametrize("answer", [{}, {"identified": []}, {"identified": None}, {"previews": [], "shards": {}}])
def test_an_answer_that_does_not_tell_of_everything_is_none(answer: dict[str, Any]) -> None:
    """What is not told of is neither empty nor absent."""
    reader = LambdaDataReader(fake_jobs.FakeFunctions({"verify_target": lambda _: answer}))
    with pytest.raises(UnavailableError):
        reader.identify([ANN], [EMAIL])
    with pytest.raises(UnavailableError):
        reader.preview(ANN, (), MAP)
    with pytest.raises(UnavailableError):
        reader.shards([EVENTS])


def test_nobody_is_logged(verifier: Verifier, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a subject nor one of its ids, also if something goes wrong."""
    verifier.reader.identify([ANN], [EMAIL])
    verifier.target.always["accounts:verify"] = RuntimeError(ANN.id)
    assert verifier.reader.preview(ANN, (), MAP)[0].problem == "internal_error"
    told = capsys.readouterr()
    assert ANN.id not in told.out + told.err
