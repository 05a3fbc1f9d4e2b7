"""Accepting erasures for backends: what is taken, refused, repeated and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.identifiers import is_batch_id
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import Subject
from erasure.domain.target_spec import S3Rule
from erasure.errors import (
    AlreadyDeletedError,
    ErasureError,
    HeldError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    SubjectRefusedError,
    TransitionError,
    UnavailableError,
)
from erasure.ports import PinnedMap
from erasure.services.erasures import ACCEPTED, ALREADY_DELETED, ALREADY_OPEN, REFUSED, Accepted
from tests.unit.services.desk import ANN, BOB, CREWS, FILES, NOTES, TARGETS, Desk, command, users

THOUSAND = users(*(f"u{number}" for number in range(1000)))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def statuses(accepted: Accepted) -> list[str]:
    return [disposition.status for disposition in accepted.dispositions]


# Taken


def test_one_subject_is_one_transaction_and_one_message(desk: Desk) -> None:
    """A request is written with its first entry and queued; the answer is the record."""
    accepted = desk.create(ANN)
    (disposition,) = accepted.dispositions
    assert (disposition.status, disposition.subject) == (ACCEPTED, ANN)
    assert disposition.request is not None
    record = desk.requests.records[disposition.request.request_id]
    assert disposition.request == record
    assert (record.state, record.family, record.batch_id) == (REQUESTED, "native", None)
    assert record.due_at - record.requested_at == timedelta(hours=72)
    assert record.purged_by - record.requested_at == timedelta(days=90)
    assert accepted.tasks == 5, "all targets that hold data of users"
    assert is_batch_id(accepted.batch_id)
    assert desk.acceptance.transactions == 1
    assert desk.queue.messages == [((record.request_id,), 1)]
    (entry,) = desk.audit.entries(record.request_id)
    assert (entry.event, entry.details) == (
        "requested",
        {"family": "native", "subject_digest": record.subject_digest, "subject_type": "user", "key_id": "key-1"},
    )


def test_a_thousand_subjects_are_one_message(desk: Desk) -> None:
    """1,000 subjects take as few transactions as their 2,001 items allow, and one message that names them all."""
    accepted = desk.create(*THOUSAND)
    assert desk.acceptance.transactions == 21
    ids = [disposition.request.request_id for disposition in accepted.dispositions if disposition.request]
    assert [disposition.subject for disposition in accepted.dispositions] == list(THOUSAND)
    assert desk.queue.messages == [(tuple(ids), 1)]
    assert len(set(ids)) == 1000
    assert accepted.tasks == 5000
    batch = desk.requests.batch(accepted.batch_id)
    assert batch is not None
    assert (batch.request_ids, batch.tasks, batch.tenant_id) == (tuple(ids), 5000, "acme")
    assert {record.batch_id for record in desk.requests.records.values()} == {accepted.batch_id}


def test_duplicates_count_once(desk: Desk) -> None:
    """A subject that is named several times is one request with one disposition, in the place of the first."""
    accepted = desk.create(BOB, ANN, BOB, ANN, BOB)
    assert [disposition.subject for disposition in accepted.dispositions] == [BOB, ANN]
    assert len(desk.requests.records) == 2
    desk.create(*THOUSAND, *THOUSAND)


def test_looks_alike_are_not_duplicates(desk: Desk) -> None:
    """Composed and decomposed letters, case, and types are different subjects."""
    subjects = [*users("é", "e\u0301", "E\u0301"), Subject("acme", "é", "group")]
    assert len(desk.create(*subjects).dispositions) == 4


@pytest.mark.parametrize("number", [0, 1001])
def test_too_many_and_none_are_refused_whole(desk: Desk, number: int) -> None:
    """An empty list, and one with more than 1,000 different subjects, writes nothing."""
    subjects = [*THOUSAND, ANN][:number] if number else []
    for call in (desk.create, lambda *all_of_them: desk.service.plan(command(*all_of_them))):
        with pytest.raises(InvalidInputError, match=r"^subjects: must not"):
            call(*subjects)
    assert not desk.requests.records


def test_a_named_batch_of_one(desk: Desk) -> None:
    """A call that can be asked about later is a batch although it has one subject."""
    accepted = desk.create(ANN, named_batch=True)
    batch = desk.requests.batch(accepted.batch_id)
    assert batch is not None
    assert batch.request_ids == tuple(desk.sent())
    assert desk.requests.records[batch.request_ids[0]].batch_id == accepted.batch_id
    assert desk.acceptance.transactions == 1


def test_groups_have_targets_of_their_own(desk: Desk) -> None:
    """A group's request covers what the map holds of groups, and a user's does not."""
    crew = Subject("acme", "crew", "group")
    assert desk.create(crew).tasks == 1
    (plan,) = desk.service.plan(command(crew))
    assert [target.name for target in plan.targets] == [CREWS.name]


def test_categories_and_families_choose_the_targets(desk: Desk) -> None:
    """A family's categories count, as the map says them, unless the command names its own."""
    assert desk.create(ANN, family="h2o").tasks == 3
    assert desk.create(ANN, categories=("session",)).tasks == 1
    families = {"native": frozenset({"membership"})}
    desk.maps.maps = [PinnedMap(2, "other", TARGETS, families)]
    desk.service = desk.new_service()
    assert desk.create(ANN).tasks == 1


def test_within_organizations(desk: Desk) -> None:
    """A limited request covers what can be limited, keeps its limits, and the plan names what is left out."""
    request = desk.one(organization_ids=("o1", "o2"))
    assert desk.requests.records[request.request_id].organization_ids == ("o1", "o2")
    (plan,) = desk.service.plan(command(ANN, organization_ids=("o1",)))
    assert [target.name for target in plan.targets] == ["teams"]
    assert plan.out_of_scope == ("notes", "files", "sessions", "mentions")
    assert not desk.service.plan(command(ANN))[0].out_of_scope


def test_a_delayed_message(desk: Desk) -> None:
    """The message reaches the lane as much later as the command says."""
    desk.create(ANN, delay_seconds=20)
    assert desk.queue.delays == [20]


# Not before


def test_not_before_waits(desk: Desk) -> None:
    """A request for later is not queued but listed, its promises count from then, and no tombstone is there yet."""
    later = desk.clock() + timedelta(days=30)
    request = desk.one(not_before=later, leaves_tombstone=True)
    assert desk.queue.messages == []
    assert desk.requests.due(later, 10) == [request.request_id]
    assert (request.not_before, request.due_at, request.purged_by) == (
        later,
        later + timedelta(hours=72),
        later + timedelta(days=90),
    )
    assert not desk.registry.found
    assert "not_before" in desk.audit.entries(request.request_id)[0].details


def test_a_time_that_has_passed_means_at_once(desk: Desk) -> None:
    """``not_before`` in the past is as none."""
    request = desk.one(not_before=desk.clock() - timedelta(seconds=1))
    assert request.not_before is None
    assert desk.sent() == [request.request_id]


# Refused


@pytest.mark.parametrize("bad", ["a/b", "/", "a/"])
def test_a_subject_that_cannot_be_named_refuses_the_call(desk: Desk, bad: str) -> None:
    """The refusal names the position in the caller's words, and not the id; nothing is written."""
    with pytest.raises(SubjectRefusedError) as caught:
        desk.create(*users("ann", "ann", "bob"), *users(bad))
    assert (caught.value.field, caught.value.position) == ("subjects[3].id", 3)
    assert caught.value.reason == "ambiguous_identifier"
    assert bad not in str(caught.value).removeprefix("subjects[3].id")
    assert not desk.requests.records
    assert desk.queue.messages == []


def test_or_is_told_in_its_disposition(desk: Desk) -> None:
    """Without strictness, the others are accepted, each under the position where it stands."""
    accepted = desk.create(*users("ann", "a/b", "bob"), strict=False)
    assert statuses(accepted) == [ACCEPTED, REFUSED, ACCEPTED]
    assert accepted.dispositions[1].reason == "ambiguous_identifier"
    assert accepted.tasks == 10
    assert sorted(record.subject.id for record in desk.requests.records.values()) == ["ann", "bob"]
    assert len(desk.sent()) == 2


def test_all_refused_sends_nothing(desk: Desk) -> None:
    """A call of which nothing is accepted writes and queues nothing."""
    accepted = desk.create(*users("a/b", "/"), strict=False)
    assert statuses(accepted) == [REFUSED, REFUSED]
    assert accepted.tasks == 0
    assert desk.queue.messages == []
    assert desk.requests.batch(accepted.batch_id) is None


@pytest.mark.parametrize("strict", [True, False])
def test_an_id_of_the_tenant_or_an_organization_refuses_all(desk: Desk, strict: bool) -> None:
    """What is wrong with the tenant's id or an organization's is told as theirs."""
    with pytest.raises(InvalidInputError, match=r"^tenant id: "):
        desk.create(Subject("ac#me", "ann"), tenant_id="ac#me", strict=strict)
    files = replace(FILES, s3=S3Rule("app-files", prefix="{user_id}/{organization_id}/"))
    desk.maps.maps = [PinnedMap(1, "d", (files,))]
    desk.service = desk.new_service()
    with pytest.raises(InvalidInputError, match=r"^organization id: "):
        desk.create(ANN, organization_ids=("o/1",), strict=strict)


def test_subjects_of_another_tenant_are_a_mistake(desk: Desk) -> None:
    """A command for another tenant's subject is not carried out, whoever made it."""
    with pytest.raises(ValueError, match="own tenant"):
        desk.create(ANN, Subject("other", "ann"))
    assert not desk.requests.records


@pytest.mark.parametrize("targets", [(), (CREWS,), (NOTES,)])
def test_what_the_map_does_not_cover_is_not_accepted(desk: Desk, targets: tuple[Any, ...]) -> None:
    """Whoever no target covers is refused: with the whole call, or in a disposition of their own."""
    desk.maps.maps = [PinnedMap(1, "d", targets)]
    crew = Subject("acme", "crew", "group")
    covered = {"user": NOTES in targets, "group": CREWS in targets}
    with pytest.raises(SubjectRefusedError) as caught:
        desk.create(ANN, crew)
    assert caught.value.reason == "not_covered"
    assert not desk.requests.records
    dispositions = desk.create(ANN, crew, strict=False).dispositions
    assert [one.status for one in dispositions] == [
        "accepted" if covered[one.subject.type] else "refused" for one in dispositions
    ]
    assert len(desk.requests.records) == sum(covered.values())


def test_without_a_map_nothing_is_accepted(desk: Desk) -> None:
    """There is no map: the call is refused."""
    desk.maps.maps = []
    with pytest.raises(UnavailableError):
        desk.create(ANN)


# Deleted and open ones


def test_a_tombstone_is_left_once(desk: Desk) -> None:
    """A single subject that counts as deleted cannot be deleted again, at once or later."""
    request = desk.one(leaves_tombstone=True)
    assert desk.registry.found[request.subject_digest].request_id == request.request_id
    for options in ({}, {"not_before": desk.clock() + timedelta(days=1)}):
        with pytest.raises(AlreadyDeletedError):
            desk.create(ANN, leaves_tombstone=True, **options)
        assert statuses(desk.create(ANN, leaves_tombstone=True, strict=False, **options)) == [ALREADY_DELETED]
    assert len(desk.requests.records) == 1


def test_deleted_ones_among_many(desk: Desk) -> None:
    """In a list, those that count as deleted are told, and the others are accepted with their tombstones."""
    desk.one(leaves_tombstone=True)
    accepted = desk.create(*users("bob", "ann", "cid"), leaves_tombstone=True, strict=False)
    assert statuses(accepted) == [ACCEPTED, ALREADY_DELETED, ACCEPTED]
    assert len(desk.registry.found) == 3


@pytest.mark.parametrize("subjects", [users("ann"), users("ann", "bob")])
def test_deleted_ones_that_were_never_sent(
    desk: Desk, subjects: tuple[Subject, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told "deleted already" of a call that died before its message relies on it: the message is sent."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(desk.queue, "send", die)
        with pytest.raises(KeyboardInterrupt):
            desk.create(*subjects, leaves_tombstone=True, strict=False)
    accepted = desk.create(*subjects, leaves_tombstone=True, strict=False)
    assert statuses(accepted) == [ALREADY_DELETED] * len(subjects)
    ((sent, attempt),) = desk.queue.messages
    assert (set(sent), attempt) == (set(desk.requests.records), 1)
    for request in list(desk.requests.records.values()):
        desk.start(request)
    desk.create(*subjects, leaves_tombstone=True, strict=False)
    assert len(desk.queue.messages) == 1, "what a job has taken is not sent again"


def test_the_open_request_again(desk: Desk) -> None:
    """While there is an open one, its record comes back instead of a new one; once it is closed, a new one is made."""
    first = desk.one(only_one_open=True, family="june")
    accepted = desk.create(ANN, only_one_open=True, family="june")
    assert statuses(accepted) == [ALREADY_OPEN]
    assert accepted.dispositions[0].request == first
    assert accepted.tasks == 0
    desk.start(first)
    assert desk.create(ANN, only_one_open=True, family="june").dispositions[0].request.state == STARTED  # type: ignore[union-attr]
    desk.requests.records[first.request_id] = replace(first, state=FINISHED)
    assert desk.one(only_one_open=True, family="june").request_id != first.request_id


def test_an_open_request_that_was_never_queued_is_queued(desk: Desk) -> None:
    """The call that made the open request may have died before it queued it: asking again heals that."""
    first = desk.one(only_one_open=True)
    desk.queue.messages.clear()
    desk.create(ANN, only_one_open=True)
    assert desk.sent() == [first.request_id]
    desk.start(first)
    desk.queue.messages.clear()
    desk.create(ANN, only_one_open=True)
    assert desk.sent() == []


def test_suppression(desk: Desk) -> None:
    """A command that suppresses puts each subject on its tenant's list."""
    desk.create(ANN, BOB, suppress=True)
    assert {tenant for tenant, _ in desk.registry.suppressed} == {"acme"}
    assert len(desk.registry.suppressed) == 2


# Taken back


def test_a_failure_midway_takes_everything_back(desk: Desk) -> None:
    """If a later transaction fails, what was written is cancelled, on the trail, and the call is refused."""
    desk.acceptance.fails_after = 2
    with pytest.raises(UnavailableError):
        desk.create(*THOUSAND, leaves_tombstone=True)
    assert set(desk.states()) == {CANCELLED}
    assert 0 < len(desk.states()) < 1000
    assert desk.queue.messages == []
    assert not desk.registry.found, "nobody counts as deleted"
    for request_id in desk.requests.records:
        entries = desk.audit.entries(request_id)
        assert [entry.event for entry in entries] == ["requested", "cancelled"]
        assert broken_at(entries) is None


@pytest.mark.parametrize("subjects", [(ANN,), (ANN, BOB)])
def test_a_queue_that_is_down_takes_everything_back(desk: Desk, subjects: Sequence[Subject]) -> None:
    """If the message is not taken, the requests are cancelled and the caller is told."""
    desk.queue.down = True
    with pytest.raises(UnavailableError):
        desk.create(*subjects)
    assert desk.states() == [CANCELLED] * len(subjects)


@pytest.mark.parametrize("subjects", [(ANN,), (ANN, BOB)])
def test_a_message_that_arrived_anyway_counts(desk: Desk, subjects: Sequence[Subject]) -> None:
    """If only the queue's answer was lost and the work has begun, the requests are accepted."""
    desk.queue.down = True
    desk.queue.arrives_anyway = desk.start_all
    assert set(statuses(desk.create(*subjects))) == {ACCEPTED}
    assert set(desk.states()) == {STARTED}


def test_what_could_not_be_taken_back_is_not_promised(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """If cancelling fails too, the caller is refused all the same."""
    desk.queue.down = True

    def fail(*_arguments: object) -> bool:
        raise UnavailableError("the request was changed at the same moment")

    monkeypatch.setattr(desk.requests, "cancel", fail)
    with pytest.raises(UnavailableError):
        desk.create(ANN)
    assert desk.states() == [REQUESTED]


# Repeated


def repeatable(**options: Any) -> Callable[[Desk], Accepted]:
    return lambda desk: desk.create(*users("ann", "a/b", "bob", "ann"), strict=False, key="k", **options)


@pytest.mark.parametrize(
    "call",
    [
        repeatable(),
        repeatable(leaves_tombstone=True),
        repeatable(suppress=True, family="june"),
        lambda desk: desk.create(ANN, key="k"),
        lambda desk: desk.create(ANN, key="k", named_batch=True),
        lambda desk: desk.create(ANN, key="k", only_one_open=True),
        lambda desk: desk.create(ANN, key="k", leaves_tombstone=True),
    ],
)
def test_repeated_calls_answer_alike(desk: Desk, call: Callable[[Desk], Accepted]) -> None:
    """The same key with the same body: the same answer, whatever became of the requests, and nothing new."""
    first = call(desk)
    records = dict(desk.requests.records)
    desk.requests.records |= {key: replace(record, state=FINISHED) for key, record in records.items()}
    desk.queue.messages.clear()
    desk.clock.advance(3600)
    assert call(desk) == first
    assert set(desk.requests.records) == set(records)
    assert desk.queue.messages == []


def test_nothing_kept_for_repetitions_names_a_subject(desk: Desk) -> None:
    """The record of a key holds no subject's id, nor anything of the body."""
    desk.create(*users("ann-1", "b/ob-1"), strict=False, key="key-ann-1", body='{"ann-1"}')
    kept = repr(desk.idempotency.records)
    assert "ann-1" not in kept
    assert "ob-1" not in kept
    assert json.loads(next(iter(desk.idempotency.records.values())).result or "")


def test_the_same_key_with_another_body(desk: Desk) -> None:
    """Another body is refused, and another tenant's or operation's equal key is another key."""
    desk.create(ANN, key="k")
    with pytest.raises(IdempotencyMismatchError):
        desk.create(BOB, key="k", body="other")
    assert len(desk.requests.records) == 1
    desk.create(Subject("other", "ann"), key="k", tenant_id="other", body="other")


def test_a_call_that_died_after_writing_is_completed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died before it queued, or before it noted the answer: repeating completes the same requests."""
    for spot in ("queue", "answer"):
        with monkeypatch.context() as patch:
            patch.setattr(desk.queue if spot == "queue" else desk.idempotency, _DIES[spot], _die)
            with pytest.raises(KeyboardInterrupt):
                desk.create(ANN, BOB, key=spot, leaves_tombstone=True, strict=False)
        written = {record.request_id for record in desk.requests.records.values() if record.state == REQUESTED}
        desk.queue.messages.clear()
        accepted = desk.create(ANN, BOB, key=spot, leaves_tombstone=True, strict=False)
        assert statuses(accepted) == [ACCEPTED, ACCEPTED]
        assert set(desk.sent()) == written
        assert {
            disposition.request.request_id for disposition in accepted.dispositions if disposition.request
        } == written
        desk.requests.records.clear()
        desk.registry.found.clear()


_DIES = {"queue": "send", "answer": "finish"}


def _die(*_arguments: object, **_named: object) -> None:
    raise KeyboardInterrupt


def test_a_call_that_was_taken_back_starts_afresh(desk: Desk) -> None:
    """After a failure, the same key makes new requests: the cancelled ones are never called accepted."""
    desk.queue.down = True
    with pytest.raises(UnavailableError):
        desk.create(ANN, BOB, key="k")
    desk.queue.down = False
    accepted = desk.create(ANN, BOB, key="k")
    ids = [disposition.request.request_id for disposition in accepted.dispositions if disposition.request]
    assert [desk.requests.records[request_id].state for request_id in ids] == [REQUESTED] * 2
    assert desk.sent() == ids


def test_cancelled_requests_of_an_earlier_try_are_not_called_accepted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the key could not be given up, a repeated call does not take its cancelled requests for accepted."""
    desk.queue.down = True
    with monkeypatch.context() as patch:
        patch.setattr(desk.idempotency, "give_up", lambda *_arguments: None)
        with pytest.raises(UnavailableError):
            desk.create(ANN, key="k")
    desk.queue.down = False
    with pytest.raises(UnavailableError):
        desk.create(ANN, key="k")
    assert desk.queue.messages == []
    request = desk.one(key="k")
    assert desk.requests.records[request.request_id].state == REQUESTED


@pytest.mark.parametrize("subjects", [(ANN,), (ANN, BOB)], ids=["one", "two"])
def test_what_a_repeated_call_was_promised_is_not_taken_back(desk: Desk, subjects: tuple[Subject, ...]) -> None:
    """A call is repeated while it is under way, and the repetition is told "accepted". When the first one's message is
    refused then, the requests stay, with the message of the second."""
    repeated: list[Accepted] = []

    def refuse_after_a_repetition(_ids: Sequence[str]) -> None:
        desk.queue.arrives_anyway = None
        repeated.append(desk.service.create(command(*subjects, key="k")))
        raise UnavailableError

    desk.queue.arrives_anyway = refuse_after_a_repetition
    with pytest.raises(UnavailableError):
        desk.service.create(command(*subjects, key="k"))
    assert statuses(repeated[0]) == [ACCEPTED] * len(subjects)
    assert set(desk.states()) == {REQUESTED}
    assert len(set(desk.sent())) == len(subjects)


@pytest.mark.parametrize("fault", ["queue", "writing"])
def test_a_repetition_takes_back_nothing_of_the_first(desk: Desk, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A call is repeated while it is under way, the repetition fails, and the first one is told "accepted": its
    requests stay, and another repetition is told the same."""

    def fail(*_arguments: Any, **_named: Any) -> None:
        raise UnavailableError

    def send_after_a_repetition(_ids: Sequence[str]) -> None:
        desk.queue.arrives_anyway = None
        with monkeypatch.context() as patch:
            patch.setattr(*{"queue": (desk.queue, "send"), "writing": (desk.acceptance, "accept_all")}[fault], fail)
            with pytest.raises(UnavailableError):
                desk.service.create(command(ANN, BOB, key="k"))

    desk.queue.arrives_anyway = send_after_a_repetition
    first = desk.service.create(command(ANN, BOB, key="k"))
    assert statuses(first) == [ACCEPTED] * 2
    assert desk.states() == [REQUESTED] * 2
    assert desk.service.create(command(ANN, BOB, key="k")) == first


def test_an_open_request_that_was_told_is_not_taken_back(desk: Desk) -> None:
    """Who is told that there is an open request already can rely on it, although the call that made it is refused its
    message afterwards."""
    told: list[Accepted] = []

    def refuse_after_another_call(_ids: Sequence[str]) -> None:
        desk.queue.arrives_anyway = None
        told.append(desk.create(ANN, only_one_open=True))
        raise UnavailableError

    desk.queue.arrives_anyway = refuse_after_another_call
    with pytest.raises(UnavailableError):
        desk.create(ANN, only_one_open=True)
    assert statuses(told[0]) == [ALREADY_OPEN]
    assert desk.states() == [REQUESTED]
    assert len(desk.sent()) == 1


@pytest.mark.parametrize("subjects", [(ANN,), (ANN, BOB)], ids=["one", "two"])
def test_a_deletion_that_is_taken_back_makes_nobody_deleted(desk: Desk, subjects: tuple[Subject, ...]) -> None:
    """A call that finds the tombstone of a deletion which is taken back at that moment does not call the subject
    deleted: it is refused, or takes the subject itself."""
    options: dict[str, Any] = {"leaves_tombstone": True, "strict": False}
    first = desk.one(**options)
    append = desk.audit.append

    def cancel_before(request_id: str, event: str, *arguments: Any, **named: Any) -> Any:
        if event == "kept" and desk.requests.records[request_id].state == REQUESTED:
            desk.service.cancel("acme", request_id, "key-2")
        return append(request_id, event, *arguments, **named)

    desk.audit.append = cancel_before  # type: ignore[method-assign]
    try:
        later = statuses(desk.create(*subjects, **options))
    except UnavailableError:
        later = []
    assert desk.requests.records[first.request_id].state == CANCELLED
    assert later in ([], [ACCEPTED] * len(subjects))


def test_a_refused_call_leaves_its_key_free(desk: Desk) -> None:
    """After a refusal, the corrected call may come with the same key."""
    with pytest.raises(SubjectRefusedError):
        desk.create(*users("a/b"), key="k", body="wrong")
    assert statuses(desk.create(ANN, key="k", body="right")) == [ACCEPTED]


# Planning


def test_a_plan_writes_nothing(desk: Desk) -> None:
    """The plan names targets with their actions, tells what cannot be erased safely, and nothing is written."""
    plans = desk.service.plan(command(ANN, *users("a/b"), strict=False))
    assert [plan.subject.id for plan in plans] == ["ann", "a/b"]
    assert [(target.name, target.kind, target.action) for target in plans[0].targets] == [
        ("notes", "dynamodb", "delete"),
        ("files", "s3", "delete"),
        ("sessions", "dynamodb", "delete"),
        ("teams", "dynamodb", "delete"),
        ("mentions", "dynamodb", "detach"),
    ]
    assert {target.reason for target in plans[0].targets} == {None}
    reasons = {target.name: target.reason for target in plans[1].targets}
    assert (reasons["files"], reasons["notes"]) == ("ambiguous_identifier", None)
    assert not desk.requests.records
    assert not desk.audit.trails
    assert desk.queue.messages == []


# Cancelling and trying again


def test_a_requested_one_can_be_cancelled(desk: Desk) -> None:
    """Cancelling is on the trail with the key that did it; cancelling again gives the request back."""
    request = desk.one(not_before=desk.clock() + timedelta(days=1))
    for _ in range(2):
        assert desk.service.cancel("acme", request.request_id, "key-2").state == CANCELLED
    entries = desk.audit.entries(request.request_id)
    assert [entry.event for entry in entries] == ["requested", "cancelled"]
    assert entries[-1].details["key_id"] == "key-2"
    assert desk.requests.due(desk.clock() + timedelta(days=2), 10) == []


@pytest.mark.parametrize(
    ("state", "refusal"), [(STARTED, TransitionError), (FINISHED, TransitionError), (HELD, HeldError)]
)
def test_nothing_else_can_be_cancelled(desk: Desk, state: str, refusal: type[ErasureError]) -> None:
    """Once the work has begun, or is done, or a hold is on it, it is not cancelled."""
    request = desk.one()
    desk.requests.records[request.request_id] = replace(request, state=state)
    with pytest.raises(refusal):
        desk.service.cancel("acme", request.request_id, "key-1")
    assert [entry.event for entry in desk.audit.entries(request.request_id)] == ["requested"]


def test_cancelling_follows_an_entry_of_somebody_else(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that gets in between does not keep a request from being cancelled, and the chain stays whole."""
    request = desk.one()
    real, calls = desk.audit.entries, [0]

    def entries(request_id: str) -> Any:
        known = real(request_id)
        calls[0] += 1
        if calls[0] == 1:
            desk.audit.write_next(request_id, "noted", desk.clock())
        return known

    monkeypatch.setattr(desk.audit, "entries", entries)
    assert desk.service.cancel("acme", request.request_id, "key-1").state == CANCELLED
    assert broken_at(real(request.request_id)) is None


def test_trying_again_is_another_attempt(desk: Desk) -> None:
    """Each retry is one attempt more than any so far, on the trail before it is sent on the interactive lane."""
    request = desk.one()
    desk.start(request, "jb_1-4", 4)
    desk.audit.append(request.request_id, "planned", desk.clock(), {}, event_id="planned:jb_2-6")
    assert [desk.service.retry("acme", request.request_id, "key-1") for _ in range(2)] == [7, 8]
    assert desk.retry_queue.messages == [((request.request_id,), 7), ((request.request_id,), 8)]
    assert [entry.event for entry in desk.audit.entries(request.request_id)][-2:] == ["retried"] * 2


def test_the_first_retry_is_the_second_attempt(desk: Desk) -> None:
    """Accepting sent the first attempt off, although nobody has planned it yet."""
    assert desk.service.retry("acme", desk.one().request_id, "key-1") == 2


def test_a_repeated_retry_is_one_attempt(desk: Desk) -> None:
    """With a key, the repeated retry answers alike and sends nothing; one that died before sending sends the same."""
    request = desk.one()
    desk.retry_queue.down = True
    with pytest.raises(UnavailableError):
        desk.service.retry("acme", request.request_id, "key-1", "k")
    desk.retry_queue.down = False
    assert [desk.service.retry("acme", request.request_id, "key-1", "k") for _ in range(2)] == [2, 2]
    assert desk.retry_queue.messages == [((request.request_id,), 2)]
    with pytest.raises(IdempotencyMismatchError):
        desk.service.retry("acme", desk.one(BOB).request_id, "key-1", "k")


@pytest.mark.parametrize("state", [FINISHED, CANCELLED, "held"])
def test_what_is_over_is_not_tried_again(desk: Desk, state: str) -> None:
    """A finished, cancelled or held request is not sent off, nor is one whose time has not come."""
    request = desk.one()
    desk.requests.records[request.request_id] = replace(request, state=state)
    waiting = desk.one(BOB, not_before=desk.clock() + timedelta(days=1))
    for request_id in (request.request_id, waiting.request_id):
        with pytest.raises(TransitionError):
            desk.service.retry("acme", request_id, "key-1")
    assert desk.retry_queue.messages == []


@pytest.mark.parametrize("call", ["show", "cancel", "retry", "audit", "batch"])
def test_other_tenants_find_nothing(desk: Desk, call: str) -> None:
    """What belongs to another tenant, and what does not exist, are told alike, and nothing is changed."""
    accepted = desk.create(ANN, BOB)
    assert accepted.dispositions[0].request is not None
    own = accepted.batch_id if call == "batch" else accepted.dispositions[0].request.request_id
    more = ("key-1",) if call in ("cancel", "retry") else ()
    told = []
    for tenant_id, name in (("other", own), ("acme", own[:3] + "0" * 26)):
        with pytest.raises(NotFoundError) as caught:
            getattr(desk.service, call)(tenant_id, name, *more)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert desk.states() == [REQUESTED, REQUESTED]
    assert desk.retry_queue.messages == []
    getattr(desk.service, call)("acme", own, *more)
