"""Users as a backend sees them: who exists, when a deletion counts, and what disabling and enabling undo."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from erasure.domain.plan import Task
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import Subject, subject_digest
from erasure.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnfinishedError,
    WithdrawnError,
)
from erasure.ports import Disabled, PinnedMap, Standing
from erasure.services.accounts import Account
from erasure.services.erasures import ErasureCommand, IdempotencyClaim
from erasure.targets.protocol import SliceResult
from tests.functional.backend_world import (
    ACCESS,
    BACKEND_KEY,
    KEY,
    OTHER_TENANT,
    TARGETS,
    TENANT,
    USER,
    BackendWorld,
    a_map,
)

ANN = Subject(TENANT, USER)
DENIED = SliceResult(0, done=False, problem="access_denied", permanent=True)


@pytest.fixture
def world() -> BackendWorld:
    world = BackendWorld()
    world.put_user()
    return world


def delete(world: BackendWorld, claim: IdempotencyClaim | None = None) -> str:
    return world.accounts.delete(TENANT, USER, BACKEND_KEY, claim)


def disable(world: BackendWorld, days: int | None = None, *, revoke: bool = False, **more: Any) -> Account:
    return world.accounts.disable(TENANT, USER, BACKEND_KEY, revoke_sessions=revoke, delete_after_days=days, **more)


def enable(world: BackendWorld) -> Account:
    return world.accounts.enable(TENANT, USER, BACKEND_KEY)


def is_there(world: BackendWorld) -> bool:
    try:
        return world.accounts.show(TENANT, USER).user_id == USER
    except NotFoundError:
        return False


def claim(body: str = "body") -> IdempotencyClaim:
    return IdempotencyClaim("a key", "hellojohn.test", body)


class TestExistence:
    def test_a_user_with_an_account_is_active(self, world: BackendWorld) -> None:
        """Whoever has an account record exists."""
        assert world.accounts.show(TENANT, USER) == Account(USER, "active")

    def test_without_an_account_there_is_no_user(self, world: BackendWorld) -> None:
        """Other data of an id do not make it a user; nothing is written for it."""
        spec = world.maps.maps[-1].targets[0]
        world.target.put(spec, ANN.values(), 0)
        assert not is_there(world)
        for call in (delete, disable, enable):
            with pytest.raises(NotFoundError):
                call(world)
        assert world.requests.records == {}
        assert world.registry.disabled == {}

    def test_where_the_map_knows_no_accounts_everybody_exists(self) -> None:
        """Without a target of category account for users nobody can be told not to exist."""
        world = BackendWorld(a_map(TARGETS[1:]))
        assert is_there(world)

    def test_who_cannot_be_looked_up_is_not_called_missing(self, world: BackendWorld) -> None:
        """A reader that cannot tell makes the call fail; nothing is written."""
        world.reader.down = True
        with pytest.raises(UnavailableError):
            delete(world)
        assert world.requests.records == {}

    def test_an_id_that_cannot_be_named_safely_is_refused(self) -> None:
        """An id that would reach into somebody else's place is refused before anything is looked up."""
        world = BackendWorld(
            a_map([{"name": "accounts", "category": "account", "s3": {"bucket": "app-a", "prefix": "{user_id}/"}}])
        )
        with pytest.raises(InvalidInputError) as caught:
            world.accounts.show(TENANT, "a/b")
        assert caught.value.field == "user_id"
        assert world.target.verify_calls == []

    def test_without_a_data_map_nothing_can_be_told(self, world: BackendWorld) -> None:
        """There is no user and no missing user without a map."""
        world.maps.maps.clear()
        with pytest.raises(UnavailableError):
            world.accounts.show(TENANT, USER)


class TestDelete:
    def test_account_sessions_and_credentials_are_gone_when_it_returns(self, world: BackendWorld) -> None:
        """What gives access is gone and verified; the rest follows by the batch lane, whose message is on its way."""
        request_id = delete(world)
        assert world.left(ANN) == {"memberships", "audit-events", "files"}
        assert world.queue.messages == [((request_id,), 1)]
        assert world.queue.delays == [30]
        tombstone = world.tombstone(ANN)
        assert tombstone is not None
        assert (tombstone.request_id, tombstone.effective_at) == (request_id, world.clock())
        world.run_batch()
        assert world.left(ANN) == {"audit-events"}
        assert world.request(request_id).state == FINISHED

    def test_the_second_time_there_is_no_such_user(self, world: BackendWorld) -> None:
        """A deleted user cannot be deleted, shown, disabled or enabled; no second request is made."""
        delete(world)
        for call in (delete, disable, enable):
            with pytest.raises(NotFoundError):
                call(world)
        assert not is_there(world)
        assert len(world.requests.records) == 1

    def test_the_message_is_sent_before_anything_is_erased(self, world: BackendWorld) -> None:
        """When the function dies while it erases, the batch lane already knows of the request."""
        seen: list[int] = []
        erase = world.functions.answers["erase_dynamodb"]

        def erase_and_look(event: Any) -> dict[str, Any]:
            seen.append(len(world.queue.messages))
            return erase(event)

        world.functions.answers["erase_dynamodb"] = erase_and_look
        delete(world)
        assert seen == [1]

    def test_what_a_call_that_died_did_not_send_is_sent(
        self, world: BackendWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the function died between writing the request and its message, calling again sends it: without it, the
        call would succeed and the rest would never be erased."""

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(world.queue, "send", die)
            with pytest.raises(KeyboardInterrupt):
                delete(world)
        assert not is_there(world)
        request_id = delete(world)
        assert world.queue.messages == [((request_id,), 1)]
        world.run_batch()
        assert world.request(request_id).state == FINISHED

    def test_a_failed_eraser_is_no_success_and_the_user_stays_gone(self, world: BackendWorld) -> None:
        """While sessions are left the call fails with the accepted request's id, and the user counts as deleted."""
        world.target.always["sessions"] = DENIED
        with pytest.raises(UnfinishedError, match="goes on by itself") as caught:
            delete(world)
        assert caught.value.request_id == world.only_request().request_id
        assert not is_there(world)
        tombstone = world.tombstone(ANN)
        assert tombstone is not None
        assert tombstone.effective_at is None

    def test_repeated_after_a_failure_it_takes_the_same_request_up(self, world: BackendWorld) -> None:
        """The next call goes on with the request of the first one and succeeds; the one after finds no user."""
        del world.functions.answers["verify_target"]
        with pytest.raises(UnfinishedError) as caught:
            delete(world)
        world.functions.answers["verify_target"] = world.verify
        assert delete(world) == caught.value.request_id
        assert len(world.requests.records) == 1
        with pytest.raises(NotFoundError):
            delete(world)

    def test_repeated_while_the_batch_lane_has_it(self, world: BackendWorld) -> None:
        """The batch lane's job counts as well: before it has closed the call fails, afterwards it succeeds."""
        world.functions.answers.clear()
        with pytest.raises(UnfinishedError) as caught:
            delete(world)
        world.run_batch()
        assert delete(world) == caught.value.request_id

    def test_what_needs_attention_is_not_said_to_go_on_by_itself(self, world: BackendWorld) -> None:
        """When the batch lane's job has given up too, the text says so."""
        world.target.always["sessions"] = DENIED
        with pytest.raises(UnfinishedError):
            delete(world)
        world.run_batch()
        with pytest.raises(UnfinishedError, match="operators have been told"):
            delete(world)

    def test_a_retry_by_the_operators_makes_it_effective(self, world: BackendWorld) -> None:
        """After a later attempt has erased what was left, the repeated call succeeds."""
        world.target.always["sessions"] = DENIED
        with pytest.raises(UnfinishedError):
            delete(world)
        world.run_batch()
        world.target.always.clear()
        request_id = world.only_request().request_id
        world.run_job(f"{request_id}-2", [request_id], 2)
        assert delete(world) == request_id

    def test_nothing_is_erased_when_it_cannot_be_queued(self, world: BackendWorld) -> None:
        """Without the message nothing is promised: no tombstone stays, nothing is erased, and a new call works."""
        world.queue.down = True
        with pytest.raises(WithdrawnError):
            delete(world)
        assert is_there(world)
        assert world.only_request().state == CANCELLED
        assert world.left(ANN) >= set(ACCESS)
        world.queue.down = False
        delete(world)
        assert not is_there(world)

    def test_a_cancelled_deletion_gives_the_user_back(self, world: BackendWorld) -> None:
        """A request that was cancelled before it began takes its tombstone along."""
        world.erasures.create(bulk_command())
        world.erasures.cancel(TENANT, world.only_request().request_id, BACKEND_KEY)
        assert is_there(world)

    def test_a_held_deletion_is_a_conflict(self, world: BackendWorld) -> None:
        """A request that is held back is neither done nor going on."""
        world.erasures.create(bulk_command())
        request = world.only_request()
        world.requests.records[request.request_id] = replace(request, state=HELD)
        with pytest.raises(ConflictError):
            delete(world)
        assert world.functions.calls == []

    def test_two_at_the_same_moment_share_one_request(self, world: BackendWorld) -> None:
        """Who loses the race to accept works on the winner's request."""
        first: list[str] = []
        exists = world.reader.exists

        def exists_after_another_delete(subject: Subject, specs: Sequence[Any]) -> bool:
            if not first:
                first.append("")
                world.functions.answers.clear()
                with pytest.raises(UnfinishedError) as caught:
                    delete(world)
                first[0] = str(caught.value.request_id)
                world.functions.answers.update(erase_dynamodb=world.erase, verify_target=world.verify)
                return True
            return exists(subject, specs)

        world.reader.exists = exists_after_another_delete  # type: ignore[method-assign]
        assert [delete(world)] == first
        assert len(world.requests.records) == 1

    @pytest.mark.parametrize("end", ["died", "refused"])
    def test_who_shares_a_request_sees_to_its_message(self, world: BackendWorld, end: str) -> None:
        """When the winner dies before its message, or has it refused only after the loser has begun, the loser's
        success still means that the rest follows, and that the user counts as deleted."""
        send = world.queue.send
        lost: list[str] = []

        def send_after_the_loser(*_arguments: Any, **_named: Any) -> None:
            world.queue.send = send  # type: ignore[method-assign]
            if end == "died":
                raise KeyboardInterrupt
            lost.append(delete(world))
            raise UnavailableError

        def nothing_once(_digest: str) -> Standing:
            world.registry.standing = standing  # type: ignore[method-assign]
            return Standing()  # as it was before the winner

        standing = world.registry.standing
        world.queue.send = send_after_the_loser  # type: ignore[method-assign]
        if end == "died":
            with pytest.raises(KeyboardInterrupt):
                delete(world)
            world.registry.standing = nothing_once  # type: ignore[method-assign, assignment]
            lost.append(delete(world))
        else:
            with suppress(UnavailableError, NotFoundError):
                delete(world)
        assert world.tombstone(ANN) is not None
        assert world.queue.messages == [((lost[0],), 1)]
        world.run_batch()
        assert world.left(ANN) == {"audit-events"}
        assert world.request(lost[0]).state == FINISHED

    def test_a_deletion_that_is_taken_back_meanwhile_is_not_said_to_go_on(self, world: BackendWorld) -> None:
        """Who finds the tombstone of a deletion that is taken back at that moment is told that nothing was promised;
        calling again deletes."""
        world.functions.answers, answers = {}, world.functions.answers
        with pytest.raises(UnfinishedError):
            delete(world)
        (request,) = world.requests.records.values()
        world.requests.records[request.request_id] = replace(request, state=REQUESTED, job_id=None, attempt=0)
        append = world.audit.append

        def cancel_before(request_id: str, event: str, *arguments: Any, **named: Any) -> Any:
            if event == "kept":
                world.erasures.cancel(TENANT, request_id, BACKEND_KEY)
            return append(request_id, event, *arguments, **named)

        world.audit.append = cancel_before  # type: ignore[method-assign]
        with pytest.raises(WithdrawnError):
            delete(world)
        assert world.tombstone(ANN) is None
        world.functions.answers = answers
        assert delete(world) != request.request_id

    def test_an_unexpected_error_after_accepting_is_told_as_unfinished(
        self, world: BackendWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once accepted, no error says otherwise; what it was is logged without what it says."""

        def fail(job_id: str, unit: str | None = None) -> list[Task]:
            raise RuntimeError(USER)

        world.tasks.tasks = fail  # type: ignore[method-assign]
        with pytest.raises(UnfinishedError) as caught:
            delete(world)
        assert caught.value.request_id == world.only_request().request_id
        assert caught.value.__cause__ is None
        assert "RuntimeError" in caplog.text
        assert USER not in caplog.text

    def test_without_targets_that_give_access_it_is_effective_at_once(self) -> None:
        """When the map names no session, credential or account, the tombstone is all there is to wait for."""
        world = BackendWorld(a_map(TARGETS[3:]))
        world.put_user()
        delete(world)
        assert world.functions.calls == []
        assert not is_there(world)

    def test_equal_ids_of_two_tenants_are_two_users(self, world: BackendWorld) -> None:
        """Deleting one tenant's user leaves the other tenant's of the same id as it is."""
        other = world.put_user(tenant_id=OTHER_TENANT)
        before = world.left(other)
        delete(world)
        world.run_batch()
        assert world.left(other) == before
        assert world.accounts.show(OTHER_TENANT, USER).status == "active"

    def test_the_same_key_gives_the_same_answer(self, world: BackendWorld) -> None:
        """A repetition with its idempotency key is told what the first one was, although the user is gone by now."""
        request_id = delete(world, claim())
        assert delete(world, claim()) == request_id
        with pytest.raises(IdempotencyMismatchError):
            delete(world, claim("another body"))
        assert len(world.requests.records) == 1

    def test_a_key_may_be_used_again_after_a_failure(self, world: BackendWorld) -> None:
        """A call that was not finished is taken up again under its key; one for nobody leaves the key free."""
        answers = dict(world.functions.answers)
        world.functions.answers.clear()
        with pytest.raises(UnfinishedError) as caught:
            delete(world, claim())
        world.functions.answers.update(answers)
        assert delete(world, claim()) == caught.value.request_id

    def test_a_deletion_that_waited_is_called_off(self, world: BackendWorld) -> None:
        """Deleting now makes the deletion that was to come needless."""
        disable(world, 30)
        (waiting,) = world.requests.waiting
        delete(world)
        assert world.request(waiting).state == CANCELLED
        assert world.requests.waiting == {}
        assert not is_there(world)


def bulk_command() -> ErasureCommand:
    return ErasureCommand(
        TENANT, "hellojohn", (ANN,), BACKEND_KEY, lambda _: "id", leaves_tombstone=True, named_batch=True
    )


class TestDisable:
    def test_a_disabled_user_is_shown_as_such(self, world: BackendWorld) -> None:
        """Disabling erases nothing, and disabling again keeps the time of the first."""
        first = disable(world)
        assert first == Account(USER, "disabled", world.clock())
        world.clock.advance(60)
        assert disable(world) == first == world.accounts.show(TENANT, USER)
        assert world.requests.records == {}
        assert world.functions.calls == []

    def test_sessions_are_gone_when_it_returns(self, world: BackendWorld) -> None:
        """With ``revoke_sessions`` a request of its own erases the sessions and nothing else, now and whole."""
        everything = world.left(ANN)
        disable(world, revoke=True)
        assert world.left(ANN) == everything - {"sessions"}
        request = world.only_request()
        assert (request.state, request.categories, request.leaves_tombstone) == (FINISHED, ("session",), False)
        assert is_there(world)

    def test_sessions_that_are_left_are_told_and_queued(self, world: BackendWorld) -> None:
        """While sessions are left the call fails; the user is disabled, and the batch lane finishes the rest."""
        answers = dict(world.functions.answers)
        world.functions.answers.clear()
        with pytest.raises(UnfinishedError, match="is disabled"):
            disable(world, revoke=True)
        assert world.accounts.show(TENANT, USER).status == "disabled"
        assert world.queue.delays == [30]
        world.functions.answers.update(answers)
        world.run_batch()
        assert "sessions" not in world.left(ANN)
        assert world.only_request().state == FINISHED

    def test_sessions_that_the_map_does_not_know_cannot_be_revoked(self) -> None:
        """Covering nothing is no revocation: the call is refused before anything is done."""
        world = BackendWorld(a_map([TARGETS[0], *TARGETS[2:]]))
        world.put_user()
        with pytest.raises(InvalidInputError, match="revoke_sessions: the data map has no target"):
            disable(world, revoke=True)
        assert world.requests.records == {}
        assert world.accounts.show(TENANT, USER).status == "active"

    def test_a_deletion_waits_for_its_time(self, world: BackendWorld) -> None:
        """``delete_after_days`` makes a request that is not sent, leaves no tombstone and is due when it may start."""
        delete_at = world.clock() + timedelta(days=30)
        assert disable(world, 30).delete_at == delete_at
        request = world.only_request()
        assert (request.state, request.not_before, request.leaves_tombstone) == (REQUESTED, delete_at, True)
        assert request.due_at == delete_at + timedelta(hours=72)
        assert world.queue.messages == []
        assert world.tombstone(ANN) is None
        assert world.accounts.show(TENANT, USER) == Account(USER, "disabled", world.clock(), delete_at)

    def test_another_period_replaces_the_earlier_one(self, world: BackendWorld) -> None:
        """Only the latest deletion waits; a call without a period leaves it as it is."""
        disable(world, 30)
        (first,) = world.requests.waiting
        latest = disable(world, 7)
        (second,) = world.requests.waiting
        assert world.request(first).state == CANCELLED
        assert world.requests.waiting[second] == latest.delete_at == world.clock() + timedelta(days=7)
        assert disable(world).delete_at == latest.delete_at

    def test_a_deletion_that_was_cancelled_by_its_id_is_not_announced(self, world: BackendWorld) -> None:
        """A user is not said to be deleted at a time when nothing will happen."""
        disable(world, 30)
        world.erasures.cancel(TENANT, world.only_request().request_id, BACKEND_KEY)
        assert world.accounts.show(TENANT, USER).delete_at is None

    def test_the_same_key_gives_the_same_answer(self, world: BackendWorld) -> None:
        """A repetition with its idempotency key makes no other request."""
        first = disable(world, 30, idempotency=claim())
        world.clock.advance(60)
        assert disable(world, 30, idempotency=claim()) == first
        assert len(world.requests.records) == 1


class TestEnable:
    def test_it_undoes_the_soft_delete(self, world: BackendWorld) -> None:
        """The user is active again and the deletion that waited is cancelled."""
        disable(world, 30)
        assert enable(world) == Account(USER, "active") == world.accounts.show(TENANT, USER)
        assert world.only_request().state == CANCELLED
        assert world.requests.waiting == {}

    def test_an_active_user_stays_active(self, world: BackendWorld) -> None:
        """Enabling twice, or without having disabled, changes nothing."""
        assert enable(world) == enable(world) == Account(USER, "active")

    def test_a_deletion_that_has_begun_cannot_be_undone(self, world: BackendWorld) -> None:
        """Between its start and its tombstone a conflict is told; the user stays disabled."""
        disable(world, 1)
        request = world.only_request()
        world.clock.advance(86_400)
        world.requests.start(request, world.clock(), 1, f"jb_{'0' * 40}-1", 1)
        assert world.only_request().state == STARTED
        with pytest.raises(ConflictError):
            enable(world)
        with pytest.raises(ConflictError):
            disable(world, 30)
        assert world.accounts.show(TENANT, USER).status == "disabled"

    def test_a_deletion_that_nobody_noted_is_found(self, world: BackendWorld) -> None:
        """When the disabling call died between writing the request and noting its id, enabling cancels it all the same,
        and disabling again replaces it."""
        for undo in (enable, lambda world: disable(world, 7)):
            disable(world, 30)
            waiting = set(world.requests.waiting)
            digest = subject_digest(KEY, ANN)
            noted = world.registry.disabled[digest]
            world.registry.disabled[digest] = Disabled(noted.disabled_at, noted.delete_at)
            undo(world)
            assert {world.request(request_id).state for request_id in waiting} == {CANCELLED}

    @pytest.mark.parametrize("lost", ["overwritten", "without a time", "forgotten"])
    def test_of_two_calls_at_once_no_deletion_is_left(self, world: BackendWorld, lost: str) -> None:
        """When two disabling calls met, one deletion is noted or none: enabling cancels both all the same, and nobody
        erases a user who has been enabled."""
        disable(world, 30)
        (first,) = world.requests.waiting
        digest = subject_digest(KEY, ANN)
        world.registry.disabled.pop(digest)  # as the second call sees it
        world.clock.advance(1)
        _schedule_unaware_of(first, world)
        both = set(world.requests.waiting)
        assert len(both) == 2
        noted = world.registry.disabled.pop(digest)
        if lost != "forgotten":
            world.registry.disabled[digest] = noted if lost == "overwritten" else Disabled(noted.disabled_at)
        assert enable(world).status == "active"
        assert {world.request(request_id).state for request_id in both} == {CANCELLED}
        assert world.requests.waiting == {}

    def test_an_unnoted_deletion_that_has_begun_cannot_be_undone(self, world: BackendWorld) -> None:
        """A deletion that is being carried out is told, noted or not."""
        disable(world, 1)
        world.registry.disabled.clear()
        world.clock.advance(86_400)
        world.requests.start(world.only_request(), world.clock(), 1, f"jb_{'0' * 40}-1", 1)
        with pytest.raises(ConflictError):
            enable(world)

    def test_the_time_is_noted_before_the_request_is_there(self, world: BackendWorld) -> None:
        """A call that dies while it writes the request leaves a mark that leads to it."""
        world.acceptance.fails_after = 0
        with pytest.raises(UnavailableError):
            disable(world, 30)
        noted = world.registry.disabled[subject_digest(KEY, ANN)]
        assert noted.delete_at is not None
        assert noted.deletion_id is None
        assert world.accounts.show(TENANT, USER).delete_at is None


def _schedule_unaware_of(request_id: str, world: BackendWorld) -> None:
    """Disable with a deletion as a call does that looked before that request was there."""
    rows_of_subject = world.requests.rows_of_subject
    world.requests.rows_of_subject = lambda digest, **paging: [  # type: ignore[method-assign]
        row for row in rows_of_subject(digest, **paging) if row.request_id != request_id
    ]
    disable(world, 30)
    world.requests.rows_of_subject = rows_of_subject  # type: ignore[method-assign]


def test_the_map_is_read_once_a_minute(world: BackendWorld) -> None:
    """A map that was put a moment ago is known after a minute at the latest."""
    is_there(world)
    world.maps.maps[:] = [PinnedMap(2, "", a_map(TARGETS[1:]).targets)]
    world.target.things.clear()
    assert not is_there(world)
    world.sleep(61)
    assert is_there(world)
