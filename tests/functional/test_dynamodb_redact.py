"""Redacting and retaining when things go wrong: throttles, kills, keys that cannot be read. On moto."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from erasure.domain.outcome import Kept
from erasure.domain.target_spec import KeyRule, RedactRule, RetainRule, TargetSpec
from erasure.errors import UnavailableError
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.contract.dynamodb_items import spec, strings, user

if TYPE_CHECKING:
    from tests.contract.dynamodb_engines import Engine, Item

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(60)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
REDACT = (RedactRule("name", "remove"), RedactRule("mail", "digest"))
RETAIN = RetainRule("law", "1y", "at")
THROTTLE = client_error("ProvisionedThroughputExceededException")


class Killed(BaseException):
    """Ends a slice as the end of its process does."""


class Fixture:
    """Sixty items of ann, every third of which the law no longer keeps, and as many of anna."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.table = engine.create_table(["pk", "sk"], indexes={"by-owner": ["owner"]})
        self.mine = [item("ann", number) for number in range(60)]
        self.others = [item("anna", number) for number in range(60)]
        engine.put(self.table, self.mine + self.others)

    def spec(self, kind: str) -> TargetSpec:
        by_key = spec(self.table, KeyRule("pk", "U#{user_id}"))
        by_index = spec(self.table, KeyRule("owner", "{user_id}"), None, "by-owner")
        return replace(by_key if kind == "by_key" else by_index, redact=REDACT, retain=RETAIN)

    def erase(self, rule: TargetSpec, client: Any = None, **options: Any) -> SliceResult:
        options = {"digest_key": lambda: b"key", "now": lambda: NOW, "sleep": lambda _: None} | options
        (result,) = self.engine.target(client, **options).erase(rule, [user("ann")], Deadline(60))
        return result

    def verify(self, rule: TargetSpec) -> VerifyResult:
        (result,) = self.engine.target(now=lambda: NOW).verify(rule, [user("ann")], Deadline(60))
        return result

    def assert_all_done(self, rule: TargetSpec) -> None:
        """What is kept is redacted, the rest is gone, and nothing of anna's is touched."""
        assert self.verify(rule) == VerifyResult(0, complete=True, kept=Kept(40, "2027-01-01T00:00:00.000Z"))
        stored = self.engine.everything(self.table)
        mine = [found for found in stored if found["owner"] == {"S": "ann"}]
        assert {found["sk"]["S"] for found in mine} == {f"{number:03}" for number in range(60) if number % 3}
        assert all("name" not in found and found["mail"]["S"].startswith("erased:") for found in mine)
        self.assert_others_untouched()

    def assert_others_untouched(self) -> None:
        stored = self.engine.everything(self.table)
        assert [found for found in stored if found["owner"] == {"S": "anna"}] == sorted(self.others, key=repr)


def item(who: str, number: int) -> Item:
    at = "2026-01-01" if number % 3 else "2025-01-01"
    return strings(pk=f"U#{who}", sk=f"{number:03}", owner=who, name=who, mail=f"{who}@example.org", at=at)


@pytest.fixture
def fixture(moto_dynamodb: Engine) -> Fixture:
    return Fixture(moto_dynamodb)


KINDS = pytest.mark.parametrize("kind", ["by_key", "by_index"])


def every(number: int, instead: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that does something else every so many times."""
    done = [0]

    def hook(call: Any, **arguments: Any) -> Any:
        done[0] += 1
        return instead(call, **arguments) if done[0] % number == 0 else call(**arguments)

    return hook


def raising(error: BaseException) -> Callable[..., Any]:
    def hook(_: Any, **__: Any) -> Any:
        raise error

    return hook


@KINDS
def test_throttled_writes_are_made_again(fixture: Fixture, kind: str) -> None:
    """A table that refuses every fourth write gets all of it done, each item counted once."""
    rule = fixture.spec(kind)
    hooks = {name: every(4, raising(THROTTLE)) for name in ("update_item", "delete_item")}
    client = HookedClient(fixture.engine.client, **hooks)
    assert fixture.erase(rule, client) == SliceResult(60, done=True)
    fixture.assert_all_done(rule)


@KINDS
def test_writes_whose_answer_is_lost(fixture: Fixture, kind: str) -> None:
    """A write that was made although its answer never came is not made twice, and it is counted."""

    def lost(call: Any, **arguments: Any) -> Any:
        call(**arguments)
        raise EndpointConnectionError(endpoint_url="https://secret")

    rule = fixture.spec(kind)
    hooks = {name: every(4, lost) for name in ("update_item", "delete_item")}
    assert fixture.erase(rule, HookedClient(fixture.engine.client, **hooks)) == SliceResult(60, done=True)
    fixture.assert_all_done(rule)


@KINDS
def test_killed_anywhere_it_is_made_good(fixture: Fixture, kind: str) -> None:
    """Slices that die at their first, second, third ... call leave nothing of others touched, and a retry heals."""
    rule = fixture.spec(kind)
    for calls in range(1, 60, 4):
        left = [calls]

        def dying(call: Any, left: list[int] = left, **arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(**arguments)

        names = ("describe_table", "query", "batch_get_item", "update_item", "delete_item")
        client = HookedClient(fixture.engine.client, **dict.fromkeys(names, dying))
        try:
            fixture.erase(rule, client, workers=1)
        except Killed:
            fixture.assert_others_untouched()
            continue
        break
    assert fixture.erase(rule).done
    fixture.assert_all_done(rule)


@KINDS
def test_what_may_pass_comes_before_what_will_not(fixture: Fixture, kind: str) -> None:
    """While a slice may still help with the rest, an item that nobody can decide over is no end; then it is told."""
    odd = item("ann", 0) | strings(at="long ago")
    fixture.engine.put(fixture.table, [odd])
    rule = fixture.spec(kind)
    client = HookedClient(fixture.engine.client, delete_item=raising(THROTTLE))
    result = fixture.erase(rule, client)
    assert (result.done, result.problem, result.permanent) == (False, "throttled", False)
    result = fixture.erase(rule)
    assert (result.done, result.problem, result.permanent) == (False, "retention_unknown", True)
    stored = fixture.engine.everything(fixture.table)
    assert len([found for found in stored if found["owner"] == {"S": "ann"}]) == 41
    fixture.assert_others_untouched()


@KINDS
def test_item_that_keeps_changing_is_told(fixture: Fixture, kind: str) -> None:
    """A row that another writer changes each time is not forced; another slice may get it."""
    rule = fixture.spec(kind)
    numbers = iter(range(10_000))

    def outrun(call: Any, **arguments: Any) -> Any:
        if arguments["Key"]["sk"] == {"S": "001"}:
            fixture.engine.put(fixture.table, [item("ann", 1) | strings(name=f"ann {next(numbers)}")])
        return call(**arguments)

    result = fixture.erase(rule, HookedClient(fixture.engine.client, update_item=outrun))
    assert (result.done, result.problem, result.permanent) == (False, "unavailable", False)
    assert fixture.erase(rule).done
    fixture.assert_all_done(rule)


@pytest.mark.parametrize(
    "error", [UnavailableError("no"), client_error("AccessDeniedException")], ids=["unavailable", "refused"]
)
def test_key_that_cannot_be_read_is_waited_for(fixture: Fixture, error: Exception) -> None:
    """Without the key of its digests nothing of the target is touched; another slice may have it."""

    def read() -> bytes:
        raise error

    client = HookedClient(fixture.engine.client)
    result = fixture.erase(fixture.spec("by_key"), client, digest_key=read)
    assert result == SliceResult(0, done=False, problem="unavailable")
    assert client.calls == []


def test_no_key_no_digests(fixture: Fixture) -> None:
    """An eraser that was given no key refuses rules with digests, and no others."""
    rule = fixture.spec("by_key")
    refused = SliceResult(0, done=False, problem="map_mismatch", permanent=True)
    assert fixture.erase(rule, digest_key=None) == refused
    assert fixture.erase(replace(rule, redact=REDACT[:1]), digest_key=None) == SliceResult(60, done=True)


def test_progress_is_told(fixture: Fixture) -> None:
    """What was changed and what was deleted add up."""
    told: list[int] = []
    target = fixture.engine.target(digest_key=lambda: b"key", now=lambda: NOW)
    rule = fixture.spec("by_key")
    target.erase(rule, [user("ann")], Deadline(60), lambda _, count: told.append(count))
    assert sum(told) == 60


def test_no_time_no_writes(fixture: Fixture) -> None:
    """A slice whose time is up before it begins changes nothing and is not done."""
    target = fixture.engine.target(digest_key=lambda: b"key", now=lambda: NOW)
    assert target.erase(fixture.spec("by_key"), [user("ann")], Deadline(0)) == [SliceResult(0, done=False)]
    assert fixture.engine.everything(fixture.table) == sorted(fixture.mine + fixture.others, key=repr)
