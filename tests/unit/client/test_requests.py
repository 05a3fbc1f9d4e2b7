"""Erasure requests: what is sent for what a caller says, and what is taken for an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from erasure_client._requests import AsyncRequests, Requests
from erasure_client._subjects import Subject
from erasure_client.errors import ConfigurationError, NoAnswerError, UnexpectedAnswerError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, Service, answer, body_of, problem
from tests.unit.client.faces import Hand

ANN = [{"type": "user", "id": "ann"}]
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def hand(is_async: bool, *replies: Any) -> Hand:
    return Hand(Service.of(*replies), is_async=is_async)


def requests(hand: Hand) -> Any:
    return hand.face(Requests, AsyncRequests)


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


class TestWhoIsMeant:
    @both
    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            ("ann", ANN),
            (Subject.user("ann"), ANN),
            (["ann"], ANN),
            ({"ann": 1}.keys(), ANN),
            ({"ann"}, ANN),
            ("*", [{"type": "user", "id": "*"}]),
            (Subject.group("g"), [{"type": "group", "id": "g"}]),
            (("ann", Subject.organization("o")), [*ANN, {"type": "organization", "id": "o"}]),
            (["ann", "ann"], [*ANN, *ANN]),
            ([], []),
        ],
        ids=repr,
    )
    def test_a_text_is_a_user(self, is_async: bool, given: Any, sent: Any) -> None:
        """One user, never its letters; whoever else is meant says so."""
        if not isinstance(given, str | Subject | list | tuple | set):
            given = ["ann"]  # an iterator serves one case only
        named = [Subject.of(each) for each in sent]
        told = [{"subject": each.to_body(), "status": "refused"} for each in dict.fromkeys(named)]
        at = hand(is_async, answer(202, {"batch_id": "b", "requests": told}))
        at.of(requests(at).create(given))
        assert body_of(at.service.calls[0]) == {"subjects": sent}

    @both
    @pytest.mark.parametrize(
        "given",
        [
            "",
            None,
            b"ann",
            7,
            {"ann": 1},
            [None],
            [b"ann"],
            [7],
            [["ann"]],
            ["ann", ""],
            "\ud800",
            ["\ud800"],
            Subject("user", None),
            Subject("user", ""),
            Subject(None, "ann"),  # type: ignore[arg-type]
            Subject("group", "\udfff"),
        ],
        ids=ascii,
    )
    def test_what_names_nobody(self, is_async: bool, given: Any) -> None:
        """It is refused before anything is sent, and not shown."""
        at = hand(is_async, LOST)
        for method in ("create", "dry_run"):
            with pytest.raises(ConfigurationError) as refused:
                at.of(getattr(requests(at), method)(given))
            assert "ann" not in str(refused.value)
            assert refused.value.__cause__ is None
        assert at.service.calls == []

    @both
    @pytest.mark.parametrize("request_id", ["", None, 7, "\ud800"], ids=ascii)
    def test_no_request_id(self, is_async: bool, request_id: Any) -> None:
        """An empty id would be the path of the list."""
        at = hand(is_async, LOST)
        for method in ("get", "wait", "cancel", "retry", "expedite", "audit"):
            with pytest.raises(ConfigurationError):
                at.of(getattr(requests(at), method)(request_id))
        assert at.service.calls == []


class TestWhatIsAsked:
    @both
    def test_all_terms(self, is_async: bool) -> None:
        """Each in its place, times in UTC."""
        at = hand(is_async, answer(202, bodies.accepted("ann")))
        elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=53, seconds=28)))
        terms = {"categories": ("content",), "organization_ids": iter(["org_1"]), "plan_hash": bodies.DIGEST}
        at.of(requests(at).create("ann", not_before=elsewhere, **terms))
        assert body_of(at.service.calls[0]) == {
            "subjects": ANN,
            "categories": ["content"],
            "scope": {"organization_ids": ["org_1"]},
            "not_before": "2030-01-31T12:00:00+00:00",
            "plan_hash": bodies.DIGEST,
        }

    @both
    def test_empty_lists_are_sent(self, is_async: bool) -> None:
        """Left out, they would mean everything; the service refuses them."""
        at = hand(is_async, answer(202, bodies.accepted("ann")))
        at.of(requests(at).create("ann", categories=[], organization_ids=[]))
        assert body_of(at.service.calls[0])["categories"] == []
        assert body_of(at.service.calls[0])["scope"] == {"organization_ids": []}

    @both
    @pytest.mark.parametrize(
        "terms",
        [
            {"not_before": datetime(2030, 1, 31, 12)},  # noqa: DTZ001 - that is the case
            {"not_before": "2030-01-31"},
            {"not_before": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))},
            {"categories": "content"},
            {"categories": [None]},
            {"organization_ids": "org_1"},
            {"organization_ids": b"org_1"},
            {"organization_ids": [""]},
            {"organization_ids": {"org_1": 1}},
        ],
        ids=repr,
    )
    def test_what_would_be_misunderstood(self, is_async: bool, terms: dict[str, Any]) -> None:
        """A time of nobody knows where, or a text instead of a list: nothing is sent."""
        at = hand(is_async, LOST)
        for method in ("create", "dry_run"):
            with pytest.raises(ConfigurationError) as refused:
                at.of(getattr(requests(at), method)("ann", **terms))
            assert "org_1" not in str(refused.value)
        assert at.service.calls == []

    @both
    def test_keys(self, is_async: bool) -> None:
        """Whatever changes something has a key, the caller's or one of its own that stays for all repetitions."""
        for method, given in [("create", "ann"), *((each, bodies.REQUEST_ID) for each in ("cancel", "expedite"))]:
            body = bodies.accepted("ann") if method == "create" else bodies.request()
            at = hand(is_async, LOST, problem(500, "internal_error"), answer(202, body))
            at.of(getattr(requests(at), method)(given))
            at.of(getattr(requests(at), method)(given, idempotency_key="mine"))
            first, second, third, fourth = [call.idempotency_key for call in at.service.calls]
            assert first == second == third not in (None, "mine")
            assert fourth == "mine"

    @both
    def test_a_retry_is_one_attempt(self, is_async: bool) -> None:
        """Repeated by its key, it is the same attempt."""
        at = hand(is_async, LOST, answer(202, {"id": bodies.REQUEST_ID, "attempt": 2}))
        assert at.of(requests(at).retry(bodies.REQUEST_ID)).attempt == 2
        assert len({call.idempotency_key for call in at.service.calls}) == 1

    @both
    def test_a_dry_run_is_one(self, is_async: bool) -> None:
        """The service is told so, whatever else is asked for."""
        at = hand(is_async, answer(200, {"dry_run": True, "plans": [bodies.DRY_RUN]}))
        (run,) = at.of(requests(at).dry_run("ann", categories=["content"]))
        assert body_of(at.service.calls[0]) == {"subjects": ANN, "categories": ["content"], "dry_run": True}
        assert (run.targets[0].reason, run.out_of_scope) == ("not_ready", ("accounts", "documents"))


class TestWhatIsAnswered:
    @both
    @pytest.mark.parametrize(
        "told",
        [
            bodies.accepted("ben"),
            bodies.accepted("ann", "ben"),
            bodies.accepted(),
            bodies.accepted("ann", "ann"),
            {"batch_id": "b", "requests": [{"subject": {"type": "group", "id": "ann"}, "status": "accepted"}]},
        ],
        ids=["another", "one more", "nobody", "twice", "another type"],
    )
    def test_about_others(self, is_async: bool, told: Any) -> None:
        """An answer about anybody else is not taken for one about the subject."""
        at = hand(is_async, answer(202, told))
        with pytest.raises(UnexpectedAnswerError) as unexpected:
            at.of(requests(at).create("ann"))
        assert "ann" not in str(unexpected.value)

    @both
    def test_an_erasure_in_the_place_of_a_dry_run(self, is_async: bool) -> None:
        """It is no plan."""
        at = hand(is_async, answer(202, bodies.accepted("ann")))
        with pytest.raises(UnexpectedAnswerError):
            at.of(requests(at).dry_run("ann"))

    @both
    def test_about_another_request(self, is_async: bool) -> None:
        """Whatever it says, it is not how far this one is."""
        other = bodies.REQUEST_ID.replace("0", "1")
        told = {**bodies.request(state="finished", targets=[bodies.target()]), "whole": True, "entries": []}
        for method in ("get", "wait", "cancel", "retry", "expedite", "audit"):
            at = hand(is_async, answer(200, {**told, "attempt": 2}))
            with pytest.raises(UnexpectedAnswerError):
                at.of(getattr(requests(at), method)(other))

    @both
    def test_a_lost_answer(self, is_async: bool) -> None:
        """The key with which to ask again is told."""
        at = hand(is_async, NoAnswerError("The connection broke.", idempotency_key="mine"))
        with pytest.raises(NoAnswerError) as lost:
            at.of(requests(at).create("ann", idempotency_key="mine"))
        assert lost.value.idempotency_key == "mine"
        assert len(at.service.calls) == 3

    @both
    def test_waiting(self, is_async: bool) -> None:
        """It is told of what is new, and gives what is finished."""
        finished = bodies.request(state="finished", targets=[bodies.target()])
        at = hand(is_async, *[answer(200, body) for body in (bodies.request(), bodies.request(), finished)])
        seen: list[str] = []
        done = at.of(requests(at).wait(bodies.REQUEST_ID, on_progress=lambda request: seen.append(request.state)))
        assert (done.is_complete, seen) == (True, ["requested", "finished"])
