"""Runs by age on every DynamoDB: conditions, scans and updates mean the same to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import RedactRule
from erasure.targets.protocol import SliceResult, VerifyResult
from tests.functional.aged_items import OLD, YOUNG, AgedItems, in_a_run, reporting

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)


def test_old_items_go(dynamodb: Engine) -> None:
    """By the table's key and by an index's attributes: what is old goes, and nothing else."""
    world = AgedItems(dynamodb)
    for number in range(30):
        world.put(f"user{number % 3}", f"SESSION#{number}", OLD if number % 2 else YOUNG)
    world.put("ann", "SESSION#unclear", None)
    world.put("x", "owned", owner={"S": "acme#ann"})
    spec = in_a_run(world.spec())
    assert world.erase(reporting(spec)) == SliceResult(15, done=True)
    assert world.erase(spec) == SliceResult(15, done=True)
    assert world.verify(spec) == VerifyResult(0, complete=True, kept=Kept(unreadable=1))
    assert world.erase(in_a_run(world.by_owner())) == SliceResult(1, done=True)
    assert len(world.sorts()) == 16


def test_old_items_are_redacted(dynamodb: Engine) -> None:
    """An update rests on all that was read, its age among it."""
    world = AgedItems(dynamodb)
    world.put("ann", "SESSION#1", email={"S": "a@example.org"})
    spec = in_a_run(world.spec(redact=(RedactRule("email", "null"),)))
    assert world.erase(spec) == SliceResult(1, done=True)
    assert world.verify(spec) == VerifyResult(0, complete=True)
    (item,) = dynamodb.everything(world.table)
    assert item["email"] == {"NULL": True}
