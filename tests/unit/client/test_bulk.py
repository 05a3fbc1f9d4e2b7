"""Any number of subjects: chunk by chunk, each subject once, and nothing twice when it is run again."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_client._bulk import refusal_of
from erasure_client._subjects import Subject
from erasure_client._wire import Answer, Call
from erasure_client.errors import BrokenRule, ConfigurationError, InvalidRequestError, NoAnswerError
from tests.unit.client import bodies
from tests.unit.client.carriers import LOST, answer, body_of
from tests.unit.client.faces import Asked, Hand

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
LONGEST_BODY = int(3.5 * 1024 * 1024)
UNNAMEABLE = "holds a character that separates ids where this service's data is kept"


class Register:
    """The service, as far as a bulk sees it: what is accepted under a key stays; a subject without ``/`` in its id is
    accepted, and one call with another type than a user, or a single refused one, is refused whole."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self.known: dict[str, tuple[Any, Answer]] = {}
        self.lost: set[int] = set()
        self.calls = 0

    def __call__(self, call: Call) -> Answer:
        self.calls += 1
        reply = self._reply(call)
        if self.calls in self.lost:
            raise LOST
        return reply

    def _reply(self, call: Call) -> Answer:
        body = body_of(call)
        assert call.idempotency_key is not None
        if call.idempotency_key in self.known:
            meant, reply = self.known[call.idempotency_key]
            return reply if meant == body else answer(409, {"code": "conflict", "message": "another body"})
        if (wrong := self._wrong(body["subjects"])) is not None:
            return answer(400, {"code": "invalid_request", "message": "x", "errors": [wrong]})
        reply = answer(202, {"batch_id": "b", "requests": [self._accept(each) for each in body["subjects"]]})
        self.known[call.idempotency_key] = (body, reply)
        return reply

    def _wrong(self, subjects: list[Mapping[str, str]]) -> dict[str, str] | None:
        for position, subject in enumerate(subjects):
            if subject["type"] not in ("user", "group"):
                return {"field": f"subjects[{position}].type", "rule": "must be one of user, group, organization"}
        if len(subjects) == 1 and "/" in subjects[0]["id"]:
            return {"field": "subjects[0].id", "rule": UNNAMEABLE, "reason": "ambiguous_identifier"}
        return None

    def _accept(self, subject: Mapping[str, str]) -> dict[str, Any]:
        if "/" in subject["id"]:
            return {"subject": subject, "status": "refused", "reason": "ambiguous_identifier"}
        request_id = f"er_{len(self.made)}"
        self.made[request_id] = f"{subject['type']}:{subject['id']}"
        request = {**bodies.request(subject["id"], subject["type"]), "id": request_id}
        return {"subject": subject, "status": "accepted", "request": request}


@pytest.fixture
def register() -> Register:
    return Register()


def hand(register: Callable[[Call], Answer], is_async: bool, retries: int = 2) -> Hand:
    return Hand(Asked(register), is_async=is_async, retries=retries)


def told(results: Any) -> list[tuple[int, str, str | None]]:
    return [(each.position, each.status, each.reason) for each in results]


def keys(hand: Hand) -> list[str | None]:
    return [call.idempotency_key for call in hand.service.calls]


class TestResults:
    @both
    def test_one_for_each(self, is_async: bool, register: Register) -> None:
        """In their order, whatever became of them, with the request of those who are accepted."""
        at = hand(register, is_async)
        group = Subject.group("ann")
        results = at.of(at.bulk(["ann", "a/b", group, "ann", "", "ben", "ben"], chunk_size=3))
        assert told(results) == [
            (0, "accepted", None),
            (1, "refused", "ambiguous_identifier"),
            (2, "accepted", None),
            (3, "duplicate", None),
            (4, "refused", "invalid_identifier"),
            (5, "accepted", None),
            (6, "duplicate", None),
        ]
        assert [each.chunk for each in results] == [0, 0, 0, None, None, 1, None]
        assert [register.made[each.request_id] for each in results if each.is_accepted] == [
            "user:ann",
            "group:ann",
            "user:ben",
        ]

    @both
    @pytest.mark.parametrize("given", ["ann", Subject.user("ann")], ids=repr)
    def test_a_text_is_one_user(self, is_async: bool, register: Register, given: Any) -> None:
        """Never its letters."""
        at = hand(register, is_async)
        at.of(at.bulk(given))
        assert list(register.made.values()) == ["user:ann"]

    @both
    def test_nobody(self, is_async: bool, register: Register) -> None:
        """No subjects, or only unusable ones: no call."""
        at = hand(register, is_async)
        assert at.of(at.bulk([])) == []
        assert told(at.of(at.bulk(["", " ", "x" * 257, "a\x00", "\ud800", Subject("user", None)]))) == [
            (position, "refused", "invalid_identifier") for position in range(6)
        ]
        assert register.calls == 0

    @both
    def test_those_for_whom_a_call_is_refused(self, is_async: bool, register: Register) -> None:
        """They are told, and the others are sent without them, down to a single refused one."""
        at = hand(register, is_async)
        robots = [Subject("robot", "r1"), Subject("robot", "r2")]
        assert told(at.of(at.bulk([robots[0], "a/b", robots[1]]))) == [
            (0, "refused", "invalid_type"),
            (1, "refused", "ambiguous_identifier"),
            (2, "refused", "invalid_type"),
        ]
        assert len(set(keys(at))) == 3

    @both
    def test_a_call_that_is_refused_for_all(self, is_async: bool) -> None:
        """It is an error, and nobody's refusal: also if it names a subject that was not in the call."""
        for errors in ([], [{"field": "categories", "rule": "x"}], [{"field": "subjects[7].id", "rule": "x"}]):
            at = hand(lambda _, told=errors: answer(400, {"code": "x", "message": "x", "errors": told}), is_async)  # type: ignore[misc]
            with pytest.raises(InvalidRequestError):
                at.of(at.bulk(["ann", "ben"]))
            assert len(at.service.calls) == 1

    @both
    @pytest.mark.parametrize("given", [None, b"ann", 7, {"ann": 1}], ids=repr)
    def test_what_is_no_subjects(self, is_async: bool, register: Register, given: Any) -> None:
        """Told at once."""
        with pytest.raises(ConfigurationError):
            hand(register, is_async).bulk(given)

    @both
    @pytest.mark.parametrize("wrong", [None, b"ann", 7, ["ann"], Subject(None, "ann")], ids=repr)  # type: ignore[arg-type]
    def test_what_is_no_subject(self, is_async: bool, register: Register, wrong: Any) -> None:
        """Told with its position, without its value; the chunk that it stands in is not sent."""
        at = hand(register, is_async)
        with pytest.raises(ConfigurationError, match="position 1") as refused:
            at.of(at.bulk(["ann", wrong]))
        assert "ann" not in str(refused.value)
        assert register.calls == 0

    @both
    @pytest.mark.parametrize(
        "wrong",
        [
            {"chunk_size": 0},
            {"chunk_size": 1001},
            {"categories": "content"},
            {"not_before": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is the case
        ],
        ids=repr,
    )
    def test_terms_that_cannot_be(self, is_async: bool, register: Register, wrong: dict[str, Any]) -> None:
        """Told at once, before a subject is taken."""
        with pytest.raises(ConfigurationError):
            hand(register, is_async).bulk(iter(["ann"]), **wrong)


class TestLaziness:
    @both
    def test_without_an_end(self, is_async: bool, register: Register) -> None:
        """No subject is taken, and no call made, before its result is wanted."""
        at, taken = hand(register, is_async), itertools.count()
        subjects = (f"user-{number}" for number in taken)
        results = at.bulk(subjects, chunk_size=3)
        assert register.calls == 0
        assert len(at.of(results, 4)) == 4
        assert register.calls == 2
        assert next(taken) == 6

    @both
    def test_asynchronous_subjects(self, is_async: bool, register: Register) -> None:
        """The asynchronous client takes them as they come; the other cannot."""

        async def subjects() -> AsyncIterator[str]:
            for subject in ("ann", "ben", "ann"):
                yield subject

        at = hand(register, is_async)
        if is_async:
            assert told(at.of(at.bulk(subjects(), chunk_size=2)))[-1] == (2, "duplicate", None)
            assert len(register.made) == 2
        else:
            with pytest.raises(ConfigurationError):
                at.bulk(subjects())

    @both
    def test_an_end_with_an_error(self, is_async: bool, register: Register) -> None:
        """What was told until then is done, and the key of the call in doubt is the one that it is repeated with."""
        register.lost = {2, 3, 4}
        at = hand(register, is_async)
        results, error = at.until_refused(at.bulk(["ann", "ben"], chunk_size=1))
        assert told(results) == [(0, "accepted", None)]
        assert isinstance(error, NoAnswerError)
        assert keys(at)[1:] == [keys(at)[1]] * 3


class TestAgain:
    @both
    def test_the_same_run(self, is_async: bool, register: Register) -> None:
        """The same results, and nothing twice, wherever the first one ended."""
        given = ["ann", "a/b", Subject("robot", "r"), "ann", "ben", "cleo", "", "dora"]
        first = hand(register, is_async)
        whole = first.of(first.bulk(given, chunk_size=2, run_id="run"))
        made, sent = dict(register.made), keys(first)
        for lost in range(1, len(sent) + 1):
            register.made.clear()
            register.known.clear()
            register.calls, register.lost = 0, {lost}
            broken = hand(register, is_async, retries=0)
            with pytest.raises(NoAnswerError):
                broken.of(broken.bulk(given, chunk_size=2, run_id="run"))
            again = hand(register, is_async)
            assert again.of(again.bulk(iter(given), chunk_size=2, run_id="run")) == whole
            assert register.made == made
            assert keys(again) == sent

    @both
    @pytest.mark.parametrize(
        "other",
        [
            {"run_id": "another"},
            {"categories": ["content"]},
            {"organization_ids": ["org_1"]},
            {"not_before": datetime.now(UTC) + timedelta(days=1)},
            {"chunk_size": 1},
            {"subjects": ["ben", "ann"]},
            {"subjects": ["ann", Subject.group("ben")]},
            {"subjects": ["annben"]},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_another_run(self, is_async: bool, register: Register, other: dict[str, Any]) -> None:
        """Another name, other subjects or other terms never meet its keys."""
        at = hand(register, is_async)
        at.of(at.bulk(["ann", "ben"], run_id="run"))
        first = set(keys(at))
        options = {"subjects": ["ann", "ben"], "run_id": "run", **other}
        at.of(at.bulk(options.pop("subjects"), **options))
        assert not first & set(keys(at)[1:])
        assert all(key is not None and len(key) <= 256 and "ann" not in key for key in keys(at))

    @both
    def test_every_call_of_a_run(self, is_async: bool) -> None:
        """Each has a key of its own, also the one that is sent again without somebody who was refused."""
        at = hand(Register(), is_async)
        at.of(at.bulk([Subject("robot", "r"), "ann", Subject("robot", "r2"), "ben"], chunk_size=2, run_id="run"))
        assert len(set(keys(at))) == len(keys(at)) == 4

    @both
    def test_without_a_name(self, is_async: bool, register: Register) -> None:
        """Two bulks are two bulks."""
        at = hand(register, is_async)
        at.of(at.bulk(["ann"]))
        at.of(at.bulk(["ann"]))
        assert len(register.made) == 2


class TestSizes:
    @both
    def test_the_longest_ids(self, is_async: bool, register: Register) -> None:
        """1,000 subjects whose ids are as long as they may be fit into the 4 MiB of a body."""
        at = hand(register, is_async)
        at.of(at.bulk((f"{number:04}" + "🧑" * 252 for number in range(1000)), chunk_size=1000))
        (call,) = at.service.calls
        assert len(body_of(call)["subjects"]) == 1000
        assert len(json.dumps(call.body)) < LONGEST_BODY

    @both
    def test_many_organizations(self, is_async: bool, register: Register) -> None:
        """Every request keeps them: a call has fewer subjects, so that they come to 2 MiB at most."""
        organization_ids = [f"{number:03}".ljust(250, "o") for number in range(100)]
        at = hand(register, is_async)
        at.of(at.bulk((str(number) for number in range(300)), organization_ids=organization_ids))
        sizes = [len(body_of(call)["subjects"]) for call in at.service.calls]
        assert sum(sizes) == 300
        assert max(sizes) * 25_000 <= 2 * 1024 * 1024 < (max(sizes) + 1) * 25_000


@given(
    subjects=st.lists(st.sampled_from(["a", "b", "c/", "", Subject.group("a"), Subject("robot", "a")]), max_size=12),
    chunk_size=st.integers(1, 5),
)
def test_any_bulk(subjects: list[Any], chunk_size: int) -> None:
    """One result for each subject, in order; each different one that can be is accepted exactly once."""
    register = Register()
    at = hand(register, is_async=False)
    results = at.of(at.bulk(iter(subjects), chunk_size=chunk_size))
    assert [each.position for each in results] == list(range(len(subjects)))
    meant = {each if isinstance(each, Subject) else Subject.user(each) for each in subjects}
    good = {f"{each.type}:{each.id}" for each in meant if each.id in ("a", "b") and each.type != "robot"}
    assert sorted(register.made.values()) == sorted(good)
    assert {each.request_id for each in results if each.request_id} == set(register.made)


@pytest.mark.parametrize(
    ("errors", "refusal"),
    [
        ([("subjects[0].id", UNNAMEABLE, "ambiguous_identifier")], (0, "ambiguous_identifier")),
        ([("subjects[0].id", "is covered by no target", "not_covered")], (0, "not_covered")),
        ([("subjects[0].id", "breaks a rule of a later version", "new_reason")], (0, "new_reason")),
        ([("subjects[12].id", "must have 1 to 256 characters")], (12, "invalid_identifier")),
        ([("subjects[3].type", "must be one of user")], (3, "invalid_type")),
        ([("subjects", "must not name more than 1000 different ones")], None),
        ([("organization id", UNNAMEABLE)], None),
        ([("tenant id", UNNAMEABLE)], None),
        ([("scope", "cannot limit the erasure of an organization")], None),
        ([], None),
    ],
    ids=str,
)
def test_whose_refusal_it_is(errors: list[tuple[str, ...]], refusal: tuple[int, str] | None) -> None:
    """Only what is said of one subject is one subject's."""
    error = InvalidRequestError("x", status=400, code="x", errors=[BrokenRule(*each) for each in errors])
    assert refusal_of(error) == refusal
