"""What becomes of requests: accepted, held, worked on, cancelled, purged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from erasure_client.testing._checks import conflict, format_time, wrong_state
from erasure_client.testing._exchange import Whom
from erasure_client.testing._maps import Target
from erasure_client.testing._records import (
    CANCELLED,
    FAILED,
    FINISHED,
    HELD,
    REQUESTED,
    STARTED,
    Hold,
    Outcome,
    Record,
    Tombstone,
)
from erasure_client.testing._state import PURGE, SLA, State

ACCESS = ("session", "credential", "account")
_DONE = {"delete": "erased", "detach": "detached", "redact": "redacted"}
_PATIENCE = timedelta(minutes=15)
"""After so long, a request that needs attention is tried again by itself."""
_SKEW = timedelta(minutes=1)
_OWN_BACKUPS = timedelta(days=7)


class Erasing:
    def __init__(self, state: State) -> None:
        self._state = state

    # Accepted.

    def accept(
        self,
        whom: Whom,
        family: str,
        key_id: str | None,
        *,
        categories: tuple[str, ...] | None = None,
        organization_ids: tuple[str, ...] = (),
        not_before: datetime | None = None,
        batch_id: str | None = None,
        leaves_tombstone: bool = False,
    ) -> Record:
        state, now = self._state, self._state.now()
        begin = not_before if not_before is not None and not_before > now else now
        record = Record(
            state.new_id("er_"),
            whom,
            state.digest("subject", *whom),
            family,
            now,
            begin + SLA,
            begin + PURGE,
            key_id,
            not_before=begin if begin > now else None,
            categories=categories,
            organization_ids=organization_ids,
            batch_id=batch_id,
            leaves_tombstone=leaves_tombstone,
        )
        state.requests[record.request_id] = record
        details = {"family": family, "subject_digest": record.subject_digest, "subject_type": whom.type}
        if key_id is not None:
            details["key_id"] = key_id
        if record.not_before is not None:
            details["not_before"] = format_time(record.not_before)
        if batch_id is not None:
            details["batch_id"] = batch_id
        record.note("requested", now, details)
        if leaves_tombstone and record.not_before is None:
            state.tombstones[whom] = Tombstone(record.request_id)
        return record

    def targets(self, record: Record) -> list[Target]:
        return self._state.map.covers(record.family, record.whom.type, record.categories, record.organization_ids)

    # Taken back.

    def cancel(self, record: Record, key_id: str) -> None:
        if record.state == CANCELLED:
            return
        if record.state == HELD:
            raise conflict("The request is under a legal hold and cannot be cancelled until that is lifted.")
        if record.state != REQUESTED:
            raise wrong_state()
        record.state, record.ended_at = CANCELLED, self._state.now()
        record.note("cancelled", record.ended_at, {"reason": "asked_for", "key_id": key_id})
        tombstone = self._state.tombstones.get(record.whom)
        if tombstone is not None and tombstone.request_id == record.request_id:
            del self._state.tombstones[record.whom]

    # Held.

    def hold(self, record: Record, hold: Hold) -> None:
        now = self._state.now()
        record.state, record.held_at, record.hold_id = HELD, now, hold.hold_id
        record.working.clear()
        record.note("held", now, {"hold_id": hold.hold_id}, f"held:{format_time(now)}")

    def resume(self) -> None:
        """Send off what no hold concerns any more."""
        for record in self._state.requests.values():
            if record.state == HELD and record.held_at is not None and self._state.hold_of(record.whom) is None:
                now = self._state.now()
                pause, event_id = record.pause_until(now), f"resumed:{format_time(record.held_at)}"
                record.state, record.held_at, record.hold_id = REQUESTED, None, None
                record.due_at += timedelta(seconds=pause)
                record.purged_by += timedelta(seconds=pause)
                record.paused_seconds += pause
                record.note("resumed", now, {"paused_seconds": pause}, event_id)
                if not record.waits(now):
                    self.send_again(record)

    def send_again(self, record: Record, **details: str) -> int:
        """Have it worked on once more; returns the attempt's number."""
        attempt = max(1, record.attempt, *_retried(record)) + 1
        record.sent = True
        record.note("retried", self._state.now(), {"attempt": attempt, **details}, f"retried:{attempt}")
        return attempt

    # Worked on.

    def run(self, chosen: Iterable[Record] | None = None) -> list[str]:
        """Let the service work on all that it would work on by now, or on these; returns their ids."""
        self._end_holds()
        worked_on = []
        for record in list(self._state.requests.values()) if chosen is None else chosen:
            if self._is_due(record):
                worked_on.append(record.request_id)
                self.work(record)
        self._purge()
        return worked_on

    def start(self, record: Record) -> bool:
        """Let a job begin; whether it has."""
        if not self._is_due(record) or not self._claim(record, self._next_attempt(record)):
            return False
        record.working = {target.name: ("waiting", 0) for target in self.targets(record)}
        return True

    def work(self, record: Record, categories: Sequence[str] | None = None, *, at_once: bool = False) -> None:
        """A whole job. ``at_once``: while a caller waits. ``categories``: of these only, the rest being to come."""
        is_claimed = bool(record.working) and self._state.hold_of(record.whom) is None
        if not is_claimed and not self._claim(record, 0 if at_once else self._next_attempt(record), categories):
            return
        record.working, record.sent = {}, False
        covered = [target for target in self.targets(record) if categories is None or target.category in categories]
        latest = [self._erase(record, target) for target in covered]
        for outcome in latest:
            record.outcomes[outcome.name] = _merged(record.outcomes.get(outcome.name), outcome)
        self._close(record, latest, is_partial=categories is not None)

    def _is_due(self, record: Record) -> bool:
        now = self._state.now()
        if record.state == STARTED and record.attention:
            return record.sent or (record.looked_at is not None and record.looked_at + _PATIENCE <= now)
        return record.state in (REQUESTED, STARTED) and not record.waits(now)

    def _next_attempt(self, record: Record) -> int:
        return max(record.attempt + 1, *_retried(record))

    def _claim(self, record: Record, attempt: int, categories: Sequence[str] | None = None) -> bool:
        """Whether the request is a job's now; a hold that concerns it is found when it has been claimed."""
        now, state = self._state.now(), self._state
        if record.leaves_tombstone:
            state.tombstones.setdefault(record.whom, Tombstone(record.request_id))
        record.state, record.attempt = STARTED, attempt
        record.started_at = record.started_at or now
        hold = state.hold_of(record.whom)
        if hold is not None:
            self.hold(record, hold)
            return False
        record.is_partial = False
        covered = [target for target in self.targets(record) if categories is None or target.category in categories]
        wrong = [target for target in covered if target.wrong_id(record.whom, record.organization_ids)]
        job_id = record.job_id = f"job-{record.request_id[3:]}-{attempt}"
        details = {
            "job_id": job_id,
            "data_map_version": state.map.version,
            "data_map_digest": state.map.digest,
            "targets": [target.name for target in covered],
            "refused": {target.name: "ambiguous_identifier" for target in wrong},
        }
        record.note("planned", now, details, f"planned:{job_id}")
        return True

    def _erase(self, record: Record, target: Target) -> Outcome:
        state, scope = self._state, record.organization_ids
        if target.wrong_id(record.whom, scope) is not None:
            return Outcome(target.name, target.category, FAILED, reason="ambiguous_identifier")
        if target.name in state.failing:
            return Outcome(target.name, target.category, FAILED, reason=state.failing[target.name])
        user = state.user(record.whom)
        there = user.count(target.name, scope)
        kept, until, basis = self.kept(target, there)
        user.take(target.name, there - kept, scope)
        if not there:
            return Outcome(target.name, target.category, "already_absent")
        done = ("retained" if basis else "blocked") if kept else _DONE[target.action]
        return Outcome(target.name, target.category, done, there - kept, None, kept, until, basis)

    def kept(self, target: Target, there: int) -> tuple[int, str | None, str | None]:
        """How many of so many things stay, until when and why."""
        rule = self._state.keeping.get(target.name)
        if rule is None or not there or (rule.until is not None and rule.until <= self._state.now()):
            return 0, None, None
        most = there if rule.most is None else min(rule.most, there)
        return (most, None if rule.until is None else format_time(rule.until), rule.basis) if most else (0, None, None)

    def _close(self, record: Record, latest: Sequence[Outcome], *, is_partial: bool) -> None:
        now = self._state.now()
        told = latest if is_partial else list(record.outcomes.values())
        done = bool(latest) and all(outcome.state != FAILED for outcome in told)
        details: dict[str, object] = {
            "job_id": record.job_id,
            "outcomes": [outcome.to_dict() for outcome in record.outcomes.values()],
        }
        if not latest:
            details["reason"] = "no_targets"
        record.looked_at = now
        if is_partial:
            record.is_partial = True
            event = "access_revoked" if done else "access_not_revoked"
        else:
            event, record.attention = ("finished", False) if done else ("attention", True)
            if done:
                record.state, record.finished_at, record.ended_at = FINISHED, now, now
        record.note(event, now, details, f"closed:{record.job_id}")

    # By the clock.

    def _end_holds(self) -> None:
        now = self._state.now()
        for whom, hold in list(self._state.holds.items()):
            if hold.until is not None and hold.until + _SKEW <= now:
                del self._state.holds[whom]
        self.resume()

    def _purge(self) -> None:
        now = self._state.now()
        for record in self._state.requests.values():
            is_over = record.ended_at is not None and max(record.purged_by - _OWN_BACKUPS, record.ended_at) <= now
            if is_over and record.purged_at is None:
                record.purged_at = now
                record.whom = record.whom._replace(id="")
                record.organization_ids = ()
                record.note("purged", now, {})


def _retried(record: Record) -> list[int]:
    return [0, *(entry["details"]["attempt"] for entry in record.trail if entry["event"] == "retried")]


def _merged(before: Outcome | None, latest: Outcome) -> Outcome:
    """The latest attempt decides; what was erased before still counts."""
    if before is None or not before.count:
        return latest
    done = before.state if before.state in _DONE.values() else "erased"
    return Outcome(
        latest.name,
        latest.category,
        done if latest.state == "already_absent" else latest.state,
        before.count + latest.count,
        latest.reason,
        latest.kept,
        latest.until,
        latest.basis,
    )
