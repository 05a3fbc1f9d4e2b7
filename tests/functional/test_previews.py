"""Previews and further ids on tables: what is read is what the table has, of nobody else, and the table stays as it is.
On moto."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from erasure.domain.scope import for_all_organizations
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, IdentifierRule, KeyRule, TargetSpec
from erasure.entry import reader
from erasure.targets.protocol import Deadline
from tests.contract.dynamodb_items import strings

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)

ANN = {"tenant_id": "acme", "type": "user", "id": "ann"}


class World:
    """Accounts that an index of keys alone leads to, mails by address, and replies that mails lead to."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.target = engine.target(sleep=lambda _: None)
        accounts = engine.create_table(["id"], indexes={"by-user": ["user"]})
        mails = engine.create_table(["to", "number"])
        replies = engine.create_table(["mail"])
        self.tables = (accounts, mails, replies)
        for user in ("ann", "anna"):
            for number in range(2):
                address = f"{user}{number}@example.com"
                engine.put(accounts, [strings(id=f"{user}-{number}", user=user, email=address, phone="1")])
                numbers = [f"{address}/{mail}" for mail in range(30)]
                engine.put(mails, [strings(to=address, number=name) for name in numbers])
                engine.put(replies, [strings(mail=name) for name in numbers[:10]])
        self.accounts = spec("accounts", DynamoDBRule(accounts, KeyRule("user", "{user_id}"), index="by-user"))
        self.mails = spec("mails", DynamoDBRule(mails, KeyRule("to", "{email}")))
        rule = DynamoDBRule(replies, KeyRule("mail", "{mails.number}"))
        self.replies = replace(spec("replies", rule), for_each=self.mails)
        self.events = spec("events", DynamoDBRule(accounts, KeyRule("phone", "{user_id}"), scan=True))

    def everything(self) -> list[Any]:
        return [self.engine.everything(table) for table in self.tables]

    def ask(self, event: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
        targets = {"dynamodb": self.target, "s3": self.target}
        return reader.answer(event, targets, self.target, Deadline(seconds))

    def rule(self) -> dict[str, Any]:
        rule = IdentifierRule("email", self.accounts, "email")
        return {"name": rule.name, "source": rule.source.to_dict(), "attribute": rule.attribute, "optional": False}


def spec(name: str, rule: DynamoDBRule) -> TargetSpec:
    return TargetSpec(name, "content", rule)


@pytest.fixture
def world(moto_dynamodb: Engine) -> World:
    return World(moto_dynamodb)


def test_further_ids_through_an_index_of_keys(world: World) -> None:
    """The attribute is read from the table, where the index does not have it; each subject's own and nobody else's."""
    asked = {"subjects": [ANN, {**ANN, "id": "anna"}, {**ANN, "id": "nobody"}], "rules": [world.rule()]}
    found = world.ask({"identify": asked})["identified"]
    assert [sorted(one["email"]) for one in found] == [
        ["ann0@example.com", "ann1@example.com"],
        ["anna0@example.com", "anna1@example.com"],
        [],
    ]


def test_what_would_be_found_is_counted_and_stays(world: World) -> None:
    """By key, through an index, by further ids and through the items that lead there; tables stay as they are."""
    before = world.everything()
    specs = [world.accounts, world.mails, world.replies, world.events]
    asked = {
        "subject": ANN,
        "organization_ids": [],
        "targets": [for_all_organizations(one).to_dict() for one in specs],
        "rules": [world.rule()],
    }
    found = world.ask({"preview": asked})["previews"]
    assert [(one["target"], one["count"], one["problem"]) for one in found] == [
        ("accounts", 2, None),
        ("mails", 60, None),
        ("replies", 20, None),
        ("events", None, None),
    ]
    assert world.everything() == before


def test_an_erasure_finds_what_was_counted(world: World) -> None:
    """The count is that of the eraser."""
    subject = Subject("acme", "ann")
    (result,) = world.target.erase(world.accounts, [subject.values()], Deadline(30))
    asked = {"subject": ANN, "organization_ids": [], "targets": [world.accounts.to_dict()], "rules": []}
    assert result.erased == 2
    assert world.ask({"preview": asked})["previews"][0]["count"] == 0


def test_without_time_nothing_is_told(world: World) -> None:
    """An end that has come before the source was read is that of all that needs it."""
    asked = {"subject": ANN, "organization_ids": [], "targets": [world.mails.to_dict()], "rules": [world.rule()]}
    (found,) = world.ask({"preview": asked}, seconds=0)["previews"]
    assert (found["count"], found["problem"]) == (None, "timed_out")


def test_shards_of_a_table(world: World) -> None:
    """A small table is one shard."""
    ((total, first, end),) = world.ask({"shards": {"specs": [world.events.to_dict()]}})["shards"]["events"]
    assert (first, end) == (0, total)
