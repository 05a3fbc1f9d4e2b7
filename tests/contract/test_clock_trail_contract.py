"""Changes by the clock go together with their entries, and wait for others, on the fakes and on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from erasure.domain.audit import AuditEntry, broken_at, next_entry
from erasure.domain.request import ErasureRequest
from erasure.errors import UnavailableError
from erasure.ports import Standing
from tests.contract.clock_calls import HOUR, LATER, closed, entry_for, held, record_of
from tests.contract.dynamodb_hooks import HookedClient, client_error
from tests.contract.stores import ENGINES, NOW, Stores, a_request, make_stores, stores_on

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["fakes", "moto", *ENGINES])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


@pytest.fixture(params=["fakes", *ENGINES])
def shared_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Without moto, which does not serve several threads."""
    yield from stores_on(request)


# The trail


CHANGES: dict[str, tuple[Callable[[Stores], ErasureRequest], Callable[[Stores, ErasureRequest, AuditEntry], Any]]] = {
    "raise_level": (
        lambda stores: stores.accepted(a_request()),
        lambda stores, request, entry: stores.clock.raise_level(request, 50, [entry]),
    ),
    "hold": (
        lambda stores: stores.accepted(a_request(not_before=LATER)),
        lambda stores, request, entry: stores.clock.hold(request, "lh_1", NOW, entry),
    ),
    "resume": (
        lambda stores: held(stores, not_before=LATER),
        lambda stores, request, entry: stores.clock.resume(request, NOW + HOUR, LATER, entry),
    ),
    "expedite": (
        lambda stores: stores.accepted(a_request(not_before=LATER, leaves_tombstone=True)),
        lambda stores, request, entry: stores.clock.expedite(request, NOW, replace(request, not_before=NOW), entry),
    ),
    "purge": (
        lambda stores: closed(stores, follow_up_at=LATER),
        lambda stores, request, entry: stores.clock.purge(request, LATER, entry),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_and_its_entry_are_both_or_neither(stores: Stores, change: str) -> None:
    """If the entry's place in the trail is taken, that is told, and nothing is changed; with the next place it is."""
    prepare, do = CHANGES[change]
    request = prepare(stores)
    late = entry_for(stores, request)
    stores.audit.append(request.request_id, "kept", NOW, {})
    before, listed = record_of(stores, request), stores.requests.due(LATER, 5)
    with pytest.raises(UnavailableError):
        do(stores, request, late)
    assert record_of(stores, request) == before
    assert stores.requests.due(LATER, 5) == listed
    assert stores.registry.standing(request.subject_digest) == Standing()
    assert do(stores, request, entry_for(stores, request)) is True
    assert broken_at(stores.audit.entries(request.request_id)) is None


@pytest.mark.parametrize("change", CHANGES)
def test_unknown_requests_are_not_changed(stores: Stores, change: str) -> None:
    """What was never accepted is not there afterwards either, nor its trail."""
    do = CHANGES[change][1]
    request = a_request(not_before=LATER, held_at=NOW if change == "resume" else None)
    assert not do(stores, request, next_entry(request.request_id, None, "changed", NOW, {}))
    assert stores.requests.get(request.request_id) is None
    assert stores.audit.entries(request.request_id) == []


# Somebody else at the same items


def in_conflict(times: int) -> Callable[..., Any]:
    """A hook by which somebody else's transaction is at the items so many times."""
    left = [times]

    def hook(call: Callable[..., Any], **arguments: Any) -> Any:
        if left[0] == 0:
            return call(**arguments)
        left[0] -= 1
        if "TransactItems" not in arguments:
            raise client_error("TransactionConflictException")
        error = client_error("TransactionCanceledException")
        error.response["CancellationReasons"] = [{"Code": "TransactionConflict"}, {"Code": "None"}]
        raise error

    return hook


@pytest.mark.parametrize(("times", "is_done"), [(2, True), (50, False)])
@pytest.mark.parametrize("change", [*CHANGES, "look_again"])
def test_somebody_elses_transaction_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, moto_dynamodb: Any, change: str, times: int, is_done: bool
) -> None:
    """A change that met another one is tried again; if it always does, that is told, and nothing is changed."""
    monkeypatch.setattr("erasure.adapters.request_transactions.pause", lambda _attempt: None)
    plain = make_stores(moto_dynamodb)
    prepare = CHANGES[change][0] if change in CHANGES else lambda stores: stores.accepted(a_request())
    request = prepare(plain)
    hook = in_conflict(times)
    client = HookedClient(moto_dynamodb.client, transact_write_items=hook, update_item=hook)
    clock = type(plain.clock)(lambda: client, *moto_dynamodb.tables[:3])
    stores = replace(plain, clock=clock)
    entry = entry_for(stores, request)
    before = record_of(stores, request)

    def do() -> Any:
        return (
            stores.clock.look_again(request, LATER)
            if change == "look_again"
            else CHANGES[change][1](stores, request, entry)
        )

    if is_done:
        assert do() is True
        assert record_of(stores, request) != before
    else:
        with pytest.raises(UnavailableError):
            do()
        assert record_of(stores, request) == before
