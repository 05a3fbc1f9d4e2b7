"""Results: what an answer says, no more and no less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure_client import (
    ApiKey,
    Attempt,
    AuditTrail,
    Batch,
    DataMap,
    DeletionPreview,
    DryRun,
    ErasureRequest,
    Health,
    Hold,
    Plan,
    PutDataMap,
    RetentionRule,
    SelfDeletion,
    SlaFigures,
    Subject,
    Suppression,
    Target,
    User,
)
from erasure_client.errors import UnexpectedAnswerError
from tests.unit.client import bodies

LATER = datetime(2027, 2, 20, 1, 48, 14, 421000, tzinfo=UTC)
OWN_TARGET = bodies.OWN["targets"][0]  # type: ignore[index]

SAMPLES: list[tuple[Callable[[Any], Any], Mapping[str, Any], set[str]]] = [
    (
        ErasureRequest.of,
        bodies.REQUEST,
        {"id", "subject", "state", "attention", "requested_at", "due_at", "purged_by"},
    ),
    (Target.of, bodies.target(kept=1, until=bodies.LATER), {"name", "category", "state", "count"}),
    (Batch.of, bodies.accepted("ann", "ben"), {"batch_id", "requests"}),
    (Batch.of_users, {"batch_id": "b", "results": [{"user_id": "ann", "status": "accepted"}]}, {"batch_id", "results"}),
    (DryRun.of, bodies.DRY_RUN, {"subject", "targets"}),
    (Plan.of, bodies.PLAN, {"subject", "plan_hash", "targets"}),
    (Attempt.of, {"id": bodies.REQUEST_ID, "attempt": 2}, {"id", "attempt"}),
    (
        AuditTrail.of,
        {"id": bodies.REQUEST_ID, "whole": True, "entries": [bodies.ENTRY]},
        {"id", "whole", "entries"},
    ),
    (User.of, {"id": "ann", "status": "disabled", "disabled_at": bodies.AT}, {"id", "status"}),
    (Hold.of, bodies.HOLD, set(bodies.HOLD) - {"until", "held_requests"}),
    (Suppression.of, bodies.SUPPRESSION, set(bodies.SUPPRESSION)),
    (DataMap.of, {"version": 4, "digest": "d", "document": {"version": 1}}, {"version", "digest", "document"}),
    (
        PutDataMap.of,
        {"version": 4, "digest": "d", "warnings": [{"field": "targets[0]", "warning": "w"}]},
        {"version", "digest", "warnings"},
    ),
    (ApiKey.of, bodies.KEY, {"key_id", "mode", "created_at"}),
    (SlaFigures.of, bodies.FIGURES, set(bodies.FIGURES) - {"seconds_to_deadline", "next_due_at"}),
    (RetentionRule.of, bodies.RULE, {"target", "older_than", "mode", "state"}),
    (Health.of, {"status": "ok", "version": "0.4.0"}, {"status", "version"}),
    (SelfDeletion.of, bodies.OWN, {"request_id", "state", "attention", "requested_at", "due_at", "targets"}),
    (DeletionPreview.of, {"plan_hash": "h", "targets": []}, {"plan_hash", "targets"}),
]
"""How a result is made, an answer, and what must be in it."""

NAMES = [str(make.__qualname__) for make, _, _ in SAMPLES]


@pytest.mark.parametrize(("make", "body", "needed"), SAMPLES, ids=NAMES)
def test_what_is_missing(make: Callable[[Any], Any], body: Mapping[str, Any], needed: set[str]) -> None:
    """An answer without what the service always sends is none of its; without the rest it is."""
    for name in body:
        for rest in ({key: value for key, value in body.items() if key != name}, {**body, name: None}):
            if name in needed:
                with pytest.raises(UnexpectedAnswerError, match=name):
                    make(rest)
            else:
                make(rest)


@pytest.mark.parametrize(("make", "body", "needed"), SAMPLES, ids=NAMES)
def test_what_is_of_another_kind(make: Callable[[Any], Any], body: Mapping[str, Any], needed: set[str]) -> None:
    """A field of another kind is not read as something else, and its value is not shown."""
    for name, value in body.items():
        for wrong in ("a-secret-value", 7, True, ["a-secret-value"], {"a-secret-value": 1}, 1.5):
            if type(wrong) is type(value):
                continue
            try:
                make({**body, name: wrong})
            except UnexpectedAnswerError as error:
                assert "a-secret-value" not in str(error)  # noqa: PT017 - not all of them have to be refused
            else:
                assert (value, type(wrong)) == (None, int), name


@pytest.mark.parametrize(("make", "body", "needed"), SAMPLES, ids=NAMES)
def test_what_is_not_known(make: Callable[[Any], Any], body: Mapping[str, Any], needed: set[str]) -> None:
    """Later versions of the service may tell more."""
    assert make({**deepcopy(dict(body)), "of_a_later_version": [1]}) == make(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([bodies.AT, "finished"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(bodies.REQUEST)), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(("make", "body", "needed"), SAMPLES, ids=NAMES)
@settings(max_examples=25)
@given(changes=st.data())
def test_any_answer(
    make: Callable[[Any], Any], body: Mapping[str, Any], needed: set[str], changes: st.DataObject
) -> None:
    """Whatever stands in it: a result, or the one error."""
    name = changes.draw(st.sampled_from(sorted(body)))
    given_body = changes.draw(st.one_of(JSON, st.builds(lambda value: {**body, name: value}, JSON)))
    try:
        make(given_body)
    except UnexpectedAnswerError as error:
        assert error.status == 200  # noqa: PT017 - many of them are results


def test_a_request() -> None:
    """Every field of the answer is where it belongs."""
    request = ErasureRequest.of(bodies.REQUEST)
    assert (request.id, request.subject, request.state) == (bodies.REQUEST_ID, Subject.user("ann"), "started")
    assert request.due_at == LATER
    assert request.due_at.tzinfo is UTC
    assert (request.organization_ids, request.batch_id, request.late_arrivals) == (("org_1",), bodies.BATCH_ID, 2)
    assert request.sla is not None
    assert (request.sla.remaining_seconds, request.sla.percent, request.sla.state) == (-5, 133, "breached")
    assert request.job is not None
    assert (request.job.attempt, request.job.age_seconds) == (2, 5)
    assert request.is_open
    assert not request.is_finished
    erased, retained, blocked, failed = request.targets
    assert (erased.count, erased.kept, erased.until, erased.at_least) == (6, 0, None, False)
    assert (retained.kept, retained.kept_more, retained.until, retained.basis) == (3, True, LATER, "tax law")
    assert (blocked.kept, blocked.until) == (1, None)
    assert (failed.reason, failed.at_least) == ("access_denied", True)
    assert request.kept == (retained, blocked)
    assert request.failed == (failed,)
    assert request.raw is bodies.REQUEST


def test_results_cannot_be_changed() -> None:
    """They are what was told."""
    request = ErasureRequest.of(bodies.REQUEST)
    with pytest.raises(FrozenInstanceError):
        request.state = "finished"  # type: ignore[misc]


@pytest.mark.parametrize("state", ["erased", "detached", "redacted", "already_absent"])
def test_complete(state: str) -> None:
    """Finished, and nothing left of any target."""
    assert ErasureRequest.of(bodies.request(state="finished", targets=[bodies.target(state)])).is_complete
    own = {**bodies.OWN, "targets": [{**OWN_TARGET, "outcome": state}]}
    assert SelfDeletion.of(own).is_complete


@pytest.mark.parametrize(
    "target",
    [
        bodies.target("retained", kept=1, until=bodies.LATER, basis="tax law"),
        bodies.target("retained"),
        bodies.target("blocked", kept=1, until=None),
        bodies.target("erased", kept=1, until=None),
        bodies.target("failed", reason="access_denied"),
        bodies.target("reported"),
        bodies.target("verifying"),
        bodies.target("a_word_of_a_later_version"),
    ],
    ids=lambda target: str(target["state"]),
)
def test_not_complete(target: dict[str, Any]) -> None:
    """Whatever is kept, failed, at work or not understood is not gone."""
    finished = ErasureRequest.of(bodies.request(state="finished", targets=[bodies.target(), target]))
    assert finished.is_finished
    assert not finished.is_complete
    told = {"target": target["name"], "outcome": target["state"], **target}
    own = SelfDeletion.of({**bodies.OWN, "targets": [OWN_TARGET, told]})
    assert own.is_finished
    assert not own.is_complete


@pytest.mark.parametrize("state", ["requested", "started", "held", "cancelled", "a_word_of_a_later_version"])
def test_only_what_has_finished_is_complete(state: str) -> None:
    """However far its targets are."""
    request = ErasureRequest.of(bodies.request(state=state, targets=[bodies.target()]))
    assert not request.is_finished
    assert not request.is_complete
    assert not SelfDeletion.of({**bodies.OWN, "state": state}).is_complete


def test_complete_is_not_guessed() -> None:
    """A finished request of a list comes without targets: whether something was kept is not known."""
    assert not ErasureRequest.of(bodies.request(state="finished")).is_complete


def test_a_forgotten_subject() -> None:
    """The id is None once the service has forgotten it."""
    purged = ErasureRequest.of({**bodies.request(), "subject": {"type": "user", "id": None}})
    assert purged.subject == Subject("user", None)


@pytest.mark.parametrize("text", ["2026-11-22T01:48:14.421", "2026-11-22", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_times_without_an_offset(text: str) -> None:
    """Nobody knows which moment is meant."""
    with pytest.raises(UnexpectedAnswerError, match="due_at"):
        ErasureRequest.of(bodies.request(due_at=text))


def test_times_of_elsewhere() -> None:
    """They are told in UTC."""
    assert ErasureRequest.of(bodies.request(due_at="2027-02-20T02:48:14.421+01:00")).due_at == LATER


def test_a_batch() -> None:
    """Iterable; those accepted, those refused, and the only one if there is one."""
    refused = {"subject": bodies.subject("a/b"), "status": "refused", "reason": "ambiguous_identifier"}
    body = bodies.accepted("ann")
    batch = Batch.of({**body, "requests": [*body["requests"], refused]})
    assert [each.is_accepted for each in batch] == [True, False]
    assert len(batch) == 2
    assert batch.request == batch.requests[0]
    assert batch.request_ids == (bodies.REQUEST_ID,)
    assert [each.reason for each in batch.refused] == ["ambiguous_identifier"]
    for several in (bodies.accepted("ann", "ben"), {**body, "requests": [refused]}):
        with pytest.raises(ValueError, match="not one"):
            _ = Batch.of(several).request


def test_a_key_is_not_shown() -> None:
    """Its text is there, and in no repr."""
    key = ApiKey.of(bodies.KEY)
    assert key.text == bodies.KEY["key"]
    assert str(bodies.KEY["key"]) not in repr(key)
    assert (key.scopes, key.last_used_on) == (("erasure:read",), date(2026, 11, 23))


def test_a_plan() -> None:
    """What was not counted has no count, which is not 0."""
    plan = Plan.of(bodies.PLAN)
    files, bills, events, mentions = plan.targets
    assert (files.count, files.more, files.kept) == (1000, True, 0)
    assert (bills.kept, bills.until, bills.basis) == (2, LATER, "x")
    assert (events.count, events.problem) == (None, None)
    assert (mentions.count, mentions.problem) == (None, "timed_out")
    assert (plan.out_of_scope, plan.not_before) == (("accounts",), LATER)


def test_figures_and_rules() -> None:
    """Numbers under their names."""
    figures = SlaFigures.of(bodies.FIGURES)
    assert figures.at_risk == {50: 2, 75: 1, 90: 0}
    assert (figures.finished, figures.finished_within, figures.finished_late) == (310, 309, 1)
    rule = RetentionRule.of(bodies.RULE)
    assert rule.last_report is not None
    assert rule.last_run is not None
    assert (rule.last_report.count, rule.last_report.unreadable, rule.last_report.kept) == (1200, 3, 0)
    assert (rule.last_run.count, rule.last_run.kept, rule.next_at) == (1190, 10, LATER)
