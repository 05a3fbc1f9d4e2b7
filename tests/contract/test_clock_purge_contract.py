"""The second look and the purge, each once and only where it may be, on the fakes and on DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from erasure.domain.request import CANCELLED, FINISHED, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.errors import AlreadyOpenError
from tests.contract.clock_calls import (
    GONE,
    HOUR,
    LATER,
    cancelled,
    closed,
    entry_for,
    held,
    hold,
    purge,
    raise_level,
    record_of,
)
from tests.contract.stores import ENGINES, NOW, Stores, a_request, an_acceptance, stores_on
from tests.contract.test_stores_contract import at_once

pytest_plugins = ["tests.contract.dynamodb_engines"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["fakes", "moto", *ENGINES])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    yield from stores_on(request)


@pytest.fixture(params=["fakes", *ENGINES])
def shared_stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Without moto, which does not serve several threads."""
    yield from stores_on(request)


# The second look


@pytest.mark.parametrize("followed_by", ["er_next", None])
def test_the_second_look_is_noted_once(stores: Stores, followed_by: str | None) -> None:
    """With what was found, and when the record is purged; another look finds it noted."""
    request = closed(stores, NOW + HOUR)
    assert stores.clock.note_second_look(request, LATER, 3 if followed_by else 0, followed_by)
    record = record_of(stores, request)
    expected = replace(request, clock_at=LATER, late_arrivals=3 if followed_by else 0, followed_by=followed_by)
    assert record == expected
    for read in (request, record):
        assert not stores.clock.note_second_look(read, LATER + HOUR, 9, "er_other")
    assert record_of(stores, request) == expected
    assert stores.clock.ended_due(LATER, 5) == [request.request_id]


def test_only_finished_ones_are_looked_at_once_more(stores: Stores) -> None:
    """Not what is open or cancelled."""
    for request in (stores.started(), cancelled(stores), held(stores)):
        before = record_of(stores, request)
        assert not stores.clock.note_second_look(before, LATER, 0, None)
        assert record_of(stores, request) == before


# Purging


@dataclass(frozen=True)
class Secrets:
    """Everything by which the subject of a request could be told."""

    user_id: str = "ann-of-the-tests"
    organizations: tuple[str, ...] = ("organization-one", "organization-two")
    identifiers: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"email": ("ann@example.com",)})
    marks: tuple[str, ...] = ("mark-of-her-email",)

    def all(self) -> list[str]:
        return [self.user_id, *self.organizations, "ann@example.com", *self.marks]


def known_to_all(stores: Stores) -> ErasureRequest:
    """A started request that holds all that a request may hold of its subject."""
    secrets = Secrets()
    request = stores.accepted(a_request("acme", secrets.user_id, organization_ids=secrets.organizations))
    assert stores.requests.start(request, NOW, 1, "job-1", 1)
    assert stores.requests.note_identifiers(request, "job-1", secrets.identifiers, secrets.marks)
    record = record_of(stores, request)
    assert (record.identifiers, record.hold_digests) == (secrets.identifiers, secrets.marks)
    return record


def finished(stores: Stores, request: ErasureRequest, **more: Any) -> ErasureRequest:
    entry = entry_for(stores, request)
    assert stores.requests.close(request, "job-1", GONE, NOW, entry, finished=True, attention=False, **more)
    return record_of(stores, request)


@pytest.mark.parametrize("state", [REQUESTED, STARTED, FINISHED, CANCELLED])
def test_a_purged_record_tells_nobody_whose_it_was(stores: Stores, state: str) -> None:
    """Nothing in the table holds the subject's id, its identifiers, its organizations or their marks; what became of
    the request stays."""
    secrets = Secrets()
    if state in (STARTED, FINISHED):
        request = known_to_all(stores)
        if state == FINISHED:
            request = finished(stores, request)
    else:
        request = stores.accepted(a_request("acme", secrets.user_id, organization_ids=secrets.organizations))
        if state == CANCELLED:
            assert stores.requests.cancel(request, entry_for(stores, request))
            request = record_of(stores, request)
    present = stores.everything()
    assert secrets.user_id in present
    assert secrets.organizations[0] in present
    assert purge(stores, request)
    assert [secret for secret in secrets.all() if secret in stores.everything()] == []
    assert record_of(stores, request) == replace(
        request,
        subject=Subject("acme", ""),
        identifiers={},
        organization_ids=(),
        hold_digests=(),
        clock_at=None,
        purged_at=LATER,
    )
    assert stores.audit.entries(request.request_id)[-1].event == "purged"
    assert [*stores.clock.open_rows(), *stores.clock.ended_rows()] == []
    assert stores.requests.rows("acme", state)[0].request_id == request.request_id


def test_what_is_purged_is_on_no_list(stores: Stores) -> None:
    """Neither for its time, nor for its scan, nor for its follow-up."""
    waiting = stores.accepted(a_request(not_before=LATER))
    started = stores.started()
    assert stores.requests.wait_for_scan(started, "job-1", LATER)
    ended = closed(stores, follow_up_at=LATER)
    assert len(stores.requests.due(LATER, 5)) == 3
    for request in (waiting, record_of(stores, started), ended):
        assert purge(stores, request)
        assert (record_of(stores, request).scan_at, record_of(stores, request).follow_up_at) == (None, None)
    assert stores.requests.due(LATER, 5) == []
    assert stores.clock.open_due(LATER, 5) == stores.clock.ended_due(LATER, 5) == []


@pytest.mark.parametrize("meanwhile", ["held", "taken over", "finished", "waits for its scan", "purged"])
def test_purging_only_as_read(stores: Stores, meanwhile: str) -> None:
    """What is held, another job's, in another state, or on a list that the reader did not know of, is not purged."""
    request = known_to_all(stores)
    if meanwhile == "held":
        assert hold(stores, request)
    elif meanwhile == "taken over":
        assert stores.requests.start(request, NOW, 1, "job-2", 2)
    elif meanwhile == "finished":
        finished(stores, request)
    elif meanwhile == "waits for its scan":
        assert stores.requests.wait_for_scan(request, "job-1", LATER)
    else:
        assert purge(stores, request)
    before = record_of(stores, request)
    trail = stores.audit.entries(request.request_id)
    assert not purge(stores, request)
    if meanwhile == "held":
        assert not purge(stores, before)
    assert record_of(stores, request) == before
    assert stores.audit.entries(request.request_id) == trail


def test_nothing_comes_back_into_a_purged_record(stores: Stores) -> None:
    """Whoever read it before it was purged can neither work on it nor write anything back into it."""
    request = known_to_all(stores)
    assert purge(stores, request)
    before, entry = record_of(stores, request), entry_for(stores, request)
    trail = stores.audit.entries(request.request_id)
    for read in (request, before):
        assert not stores.requests.start(read, NOW, 1, "job-2", 2)
        assert not stores.requests.note_identifiers(read, "job-1", Secrets().identifiers, Secrets().marks)
        assert not stores.requests.wait_for_scan(read, "job-1", LATER)
        assert not stores.requests.close(read, "job-1", GONE, NOW, entry, finished=True, attention=False)
        assert not stores.clock.look_again(read, LATER)
        assert not raise_level(stores, read, 100)
        assert not hold(stores, read)
        assert not purge(stores, read)
    assert record_of(stores, request) == before
    assert stores.audit.entries(request.request_id) == trail
    assert stores.requests.due(LATER, 5) == []


def test_a_purged_request_keeps_nobody_from_asking_again(stores: Stores) -> None:
    """A request that had to be the only open one, and was parked until it was purged, is in nobody's way."""
    first = stores.accepted(a_request(), only_one_open=True)
    with pytest.raises(AlreadyOpenError):
        stores.accepted(a_request(), only_one_open=True)
    assert purge(stores, first)
    second = stores.accepted(a_request(), only_one_open=True)
    assert record_of(stores, second) == second


def test_one_of_two_purges(shared_stores: Stores) -> None:
    """Of sweeps at the same moment one purges, and the trail says so once."""
    stores, request = shared_stores, closed(shared_stores)
    entry = entry_for(stores, request, "purged")
    results = at_once(3, lambda _: stores.clock.purge(request, LATER, entry))
    assert results.count(True) == 1
    assert [entry.event for entry in stores.audit.entries(request.request_id)].count("purged") == 1


def test_accepting_beside_one_that_is_purged(stores: Stores) -> None:
    """Accepting a purged request again, by a caller that repeats an old call, brings nothing of it back."""
    request = stores.accepted(a_request())
    assert purge(stores, request)
    stores.acceptance.accept(an_acceptance(request), NOW)
    assert record_of(stores, request).subject.id == ""


# Records


def test_what_the_service_has_made_comes_back(stores: Stores) -> None:
    """Why, for which request, to what it is limited, and what it begins with."""
    request = a_request(
        purpose="replay",
        follows="er_first",
        only_targets=("notes", "files"),
        identifiers={"email": ("ann@example.com",)},
        hold_digests=("mark",),
        scan_at=LATER,
    )
    assert record_of(stores, stores.accepted(request)) == request
