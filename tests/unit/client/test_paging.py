"""Lists: page by page, as somebody asks for what is on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from erasure_client._holds import AsyncHolds, Holds
from erasure_client._requests import AsyncRequests, Requests
from erasure_client._subjects import Subject
from erasure_client._suppressions import AsyncSuppressions, Suppressions
from erasure_client._wire import Answer, Call
from erasure_client.errors import ConfigurationError, UnexpectedAnswerError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Service, answer
from tests.unit.client.faces import Asked, Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def pages(total: int | None) -> Callable[[Call], Answer]:
    """A service with so many requests; None: without an end. Cursors are positions."""

    def reply(call: Call) -> Answer:
        first, size = int(call.query.get("cursor", "0")), int(call.query["limit"])
        last = first + size if total is None else min(first + size, total)
        body: dict[str, Any] = {"requests": [bodies.request(f"user-{number}") for number in range(first, last)]}
        if total is None or last < total:
            body["cursor"] = str(last)
        return answer(200, body)

    return reply


def listing(is_async: bool, total: int | None) -> tuple[Hand, Any]:
    hand = Hand(Asked(pages(total)), is_async=is_async)
    return hand, hand.face(Requests, AsyncRequests)


def ids(found: Any) -> list[str]:
    return [each.subject.id for each in found]


@both
@pytest.mark.parametrize("total", [0, 1, 2, 3, 4, 5])
def test_every_entry_once(is_async: bool, total: int) -> None:
    """In the service's order, and no call more than there are pages."""
    hand, requests = listing(is_async, total)
    assert ids(hand.of(requests.list(page_size=2))) == [f"user-{number}" for number in range(total)]
    assert len(hand.service.calls) == max(1, -(-total // 2))


@both
def test_nothing_is_asked_for_ahead(is_async: bool) -> None:
    """Whoever stops, stops the calls: none before the first entry is wanted, none after the last one."""
    hand, requests = listing(is_async, None)
    unused = requests.list(page_size=2)
    assert hand.service.calls == []
    for taken, calls in ((1, 1), (2, 1), (3, 2)):
        hand.service.calls.clear()
        assert len(hand.of(requests.list(page_size=2), taken)) == taken
        assert len(hand.service.calls) == calls
    del unused


@both
@pytest.mark.parametrize(("limit", "sizes"), [(0, []), (1, ["1"]), (2, ["2"]), (5, ["2", "2", "1"])])
def test_a_limit(is_async: bool, limit: int, sizes: list[str]) -> None:
    """At most so many in all, and no longer page than is needed."""
    hand, requests = listing(is_async, None)
    assert len(hand.of(requests.list(limit=limit, page_size=2))) == limit
    assert [call.query["limit"] for call in hand.service.calls] == sizes


@both
def test_what_is_asked_for(is_async: bool) -> None:
    """State, subject and its type go with every page."""
    hand, requests = listing(is_async, 3)
    hand.of(requests.list(state="finished", subject=Subject.group("g"), page_size=2))
    wanted = {"state": "finished", "subject_id": "g", "type": "group", "limit": "2"}
    assert [call.query for call in hand.service.calls] == [wanted, {**wanted, "cursor": "2"}]
    hand.of(requests.list(subject="ann"))
    assert hand.service.calls[-1].query == {"subject_id": "ann", "type": "user", "limit": "100"}


@both
@pytest.mark.parametrize("circle", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]], ids=" ".join)
def test_a_circle(is_async: bool, circle: list[str]) -> None:
    """A list that leads back to where it was has no end: it is refused when it does."""
    replies = [answer(200, {"requests": [bodies.request()], "cursor": cursor}) for cursor in circle]
    hand = Hand(Service.of(*replies), is_async=is_async)
    with pytest.raises(UnexpectedAnswerError, match="circle"):
        hand.of(hand.face(Requests, AsyncRequests).list())
    assert len(hand.service.calls) == len(circle)


@both
def test_an_empty_page_is_not_the_end(is_async: bool) -> None:
    """Only a page without a cursor is."""
    replies = [answer(200, {"requests": [], "cursor": "a"}), answer(200, {"requests": [bodies.request()]})]
    hand = Hand(Service.of(*replies), is_async=is_async)
    assert len(hand.of(hand.face(Requests, AsyncRequests).list())) == 1


@both
def test_a_lost_page_is_asked_for_again(is_async: bool) -> None:
    """With the same cursor: no entry is missed, none told twice."""
    first = answer(200, {"requests": [bodies.request("ann")], "cursor": "a"})
    hand = Hand(Service.of(first, LOST, answer(200, {"requests": [bodies.request("ben")]})), is_async=is_async)
    assert ids(hand.of(hand.face(Requests, AsyncRequests).list())) == ["ann", "ben"]
    assert [call.query.get("cursor") for call in hand.service.calls] == [None, "a", "a"]


@both
@pytest.mark.parametrize("wrong", [{"page_size": 0}, {"page_size": 101}, {"limit": -1}, {"subject": ""}], ids=repr)
def test_what_cannot_be_listed(is_async: bool, wrong: dict[str, Any]) -> None:
    """Told at once, not when the first entry is wanted."""
    hand, requests = listing(is_async, 1)
    with pytest.raises(ConfigurationError):
        requests.list(**wrong)
    assert hand.service.calls == []


@both
def test_other_lists(is_async: bool) -> None:
    """Holds and suppressions are told in the same way."""
    first = {key: value for key, value in bodies.HOLD.items() if key != "held_requests"}
    replies = [answer(200, {"legal_holds": [first], "cursor": "a"}), answer(200, {"legal_holds": [first]})]
    hand = Hand(Service.of(*replies), is_async=is_async)
    assert len(hand.of(hand.face(Holds, AsyncHolds).list(page_size=1))) == 2
    hand = Hand(Service.of(answer(200, {"suppressions": [bodies.SUPPRESSION]})), is_async=is_async)
    (found,) = hand.of(hand.face(Suppressions, AsyncSuppressions).list())
    assert found.subject_digest == bodies.DIGEST
