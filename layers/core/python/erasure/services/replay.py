"""After a restore, everyone who was erased after the moment to which it went back is erased again, in the restored
places and nowhere else (docs/decisions/0028).

For each subject there is one request for each family through which it was erased. Its id follows from the run, the
request that it follows and its targets, so that a run which died, and is repeated, makes the same ones and sends off
those that nobody has taken up. A run never erases a second time what it has erased: only the operator knows whether
the places have been restored once more, and that is another run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from erasure.domain.audit import next_entry
from erasure.domain.canonical import digest_of
from erasure.domain.clock import ClockPolicy
from erasure.domain.request import REPLAY, REQUESTED, ErasureRequest
from erasure.domain.scope import needs
from erasure.domain.subject import RETENTION
from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import due_at, format_time
from erasure.errors import InvalidInputError, UnavailableError
from erasure.ports import (
    Acceptance,
    AcceptanceStore,
    AccountReader,
    AuditLog,
    Clock,
    ClockStore,
    DataReader,
    JobQueue,
    PinnedMap,
    RequestStore,
)
from erasure.services.account_targets import ACCOUNT_CATEGORY, ACCOUNT_EXISTS, ACCOUNT_UNKNOWN, why_not_gone
from erasure.services.current_map import CurrentMap
from erasure.services.identify import rules_for
from erasure.services.replayed_erasures import (
    Erasures,
    RestoredPlaces,
    erased_at,
    is_of_run,
    is_under_way,
    put_together,
    replay_id,
    without_accounts_in,
)
from erasure.services.side_by_side import side_by_side

AT_A_TIME = 1000
"""Requests of one message, and records that are read together."""
PARALLEL = 8

RETURNED, NOTHING_THERE, EXPIRED = "returned", "nothing_there", "expired"
UNIDENTIFIED, UNREADABLE = "unidentified", "unreadable"
"""Why nothing is erased again, besides ``account_unknown``: the subject has an account, which its erasure had deleted;
the erasure covered nothing in these places; its time is over, and nobody may know any more whom it was about; the
places hold nothing by which it could be found; what would have to be read of it could not be."""
_UNDONE = (ACCOUNT_UNKNOWN, EXPIRED, UNREADABLE)
REPLAYED, NOT_REPLAYED = "replayed", "not_replayed"
"""Events in the trail of the request that was, or was not, made again."""
_MADE, _KNOWN, _IN_PART = "made", "known", "in_part"


@dataclass(frozen=True, slots=True)
class ReplayCommand:
    """``since``: the moment to which the places were restored; ``until``: erasures that began later have found them as
    they are now; ``None``: nobody knows of any. ``restored``: names of all targets in these places. ``run``: what is
    repeated under the same name is the same run; empty: the one run for these moments and places. ``dry_run``: only
    counts. ``include_returned``: who is seen with an account again is erased all the same."""

    since: datetime
    restored: frozenset[str]
    until: datetime | None = None
    run: str = ""
    dry_run: bool = False
    include_returned: bool = False

    def named_run(self) -> str:
        if self.run:
            return self.run
        until = None if self.until is None else format_time(self.until)
        return digest_of([format_time(self.since), until, sorted(self.restored)])[:16]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Numbers of erasures, several of one subject through one family counted once: ``found`` are the ``replayed`` (or,
    in a dry run, those that would be), the ones that this run had made before and that are beyond its care
    (``done_before``), and the ``skipped``, by reason. ``in_part``: of the replayed ones, those without the targets for
    which the subject had no further ids at that moment. ``unreachable``: targets of the restored places to which
    nothing leads. ``under_way``: requests whose jobs may have passed the places before they were restored.
    ``known_since``: who asked before has been forgotten by now; ``knows_all``: that does not matter here."""

    run: str
    found: int
    replayed: int
    done_before: int
    in_part: int
    skipped: Mapping[str, int]
    unreachable: tuple[str, ...]
    under_way: int
    known_since: datetime
    knows_all: bool

    @property
    def is_complete(self) -> bool:
        """Whether everything that was to be erased again is on its way."""
        is_undone = any(self.skipped.get(reason) for reason in _UNDONE)
        return self.knows_all and not is_undone and not self.unreachable and not self.under_way


@dataclass(frozen=True, slots=True)
class Replays:
    """``queue``: the batch lane. ``accounts`` and ``reader`` ask the verifier. ``purge_days``: so long after it could
    be started a request's subject is known."""

    clock: ClockStore
    requests: RequestStore
    acceptance: AcceptanceStore
    audit: AuditLog
    accounts: AccountReader
    reader: DataReader
    data_map: CurrentMap
    queue: JobQueue
    now: Clock
    policy: ClockPolicy
    purge_days: int = 90

    def run(self, command: ReplayCommand) -> ReplayReport:
        """Make the requests and send them off. Raises ``InvalidInputError``, and ``UnavailableError`` when something
        did not answer: the same command again goes on with what is left."""
        data_map = self.data_map.get(now=True)
        self._check(command, data_map)
        replay = _Replay(self, command, data_map, RestoredPlaces.of(command.restored, data_map.targets))
        groups, busy = replay.find()
        planned, skipped = replay.plan(groups)
        done: Counter[str] = Counter()
        for start in range(0, len(planned), AT_A_TIME):
            done += replay.make(planned[start : start + AT_A_TIME])
        skipped += Counter({reason: done[reason] for reason in (UNIDENTIFIED, UNREADABLE)})
        known_since = self.now() - timedelta(days=self.purge_days) + self.policy.own_backups
        return ReplayReport(
            run=command.named_run(),
            found=len(groups),
            replayed=done[_MADE],
            done_before=done[_KNOWN],
            in_part=done[_IN_PART],
            skipped=dict(sorted(skipped.items())),
            unreachable=replay.places.unreachable,
            under_way=len(busy.difference(each.request_id for each in planned)),
            known_since=known_since,
            knows_all=command.since > known_since,
        )

    def _check(self, command: ReplayCommand, data_map: PinnedMap) -> None:
        if command.since > self.now():
            raise InvalidInputError("since", "must not be in the future")
        if command.until is not None and command.until < command.since:
            raise InvalidInputError("until", "must not be before since")
        if not command.restored or not command.restored <= {spec.name for spec in data_map.targets}:
            raise InvalidInputError("restored", "must be targets of the current data map")


@dataclass(frozen=True, slots=True)
class _Planned:
    """An erasure that is to be made again. ``request_id``: of the request that does it."""

    erasures: Erasures
    targets: tuple[TargetSpec, ...]
    request_id: str


@dataclass(frozen=True, slots=True)
class _Replay:
    use: Replays
    command: ReplayCommand
    data_map: PinnedMap
    places: RestoredPlaces

    def find(self) -> tuple[list[Erasures], set[str]]:
        """All that was erased since, and the ids of requests that are under way."""
        # The open ones first: what ends meanwhile is seen twice, not never.
        listed = [row.request_id for row in self.use.clock.open_rows()]
        listed += [row.request_id for row in self.use.clock.ended_rows() if self._is_since(row.finished_at)]
        listed = list(dict.fromkeys(listed))
        found: list[ErasureRequest] = []
        busy: set[str] = set()
        for start in range(0, len(listed), AT_A_TIME):
            for request in self.use.requests.get_many(listed[start : start + AT_A_TIME]).values():
                is_known = request.subject.type != RETENTION and request.purged_at is None
                if not is_known or self._is_later(request) or is_of_run(request, self.command.named_run()):
                    continue
                if is_under_way(request) and self._targets(Erasures((request,))):
                    busy.add(request.request_id)
                if self._is_since(erased_at(request, self.places)):
                    found.append(request)
        return put_together(found), busy

    def _is_since(self, moment: datetime | None) -> bool:
        return moment is not None and moment >= self.command.since

    def _is_later(self, request: ErasureRequest) -> bool:
        until = self.command.until
        return until is not None and request.started_at is not None and request.started_at > until

    def plan(self, groups: Sequence[Erasures]) -> tuple[list[_Planned], Counter[str]]:
        """Those that are to be made again, and why the others are not."""
        accounts = self._subjects_to_look_for(groups)
        seen = dict(zip(accounts, side_by_side(self._account, list(accounts.values()), PARALLEL), strict=True))
        planned: list[_Planned] = []
        skipped: Counter[str] = Counter()
        for group in groups:
            targets = self._targets(group)
            reason = self._why_not(group, targets, seen)
            if reason is None:
                request_id = replay_id(self.command.named_run(), group.first.request_id, _names(targets))
                planned.append(_Planned(group, tuple(targets), request_id))
                continue
            skipped[reason] += 1
            if reason in (RETURNED, EXPIRED):
                self._note(group, NOT_REPLAYED, {"reason": reason})
        return planned, skipped

    def _targets(self, group: Erasures) -> list[TargetSpec]:
        return group.targets(self.data_map, self.places)

    def _subjects_to_look_for(self, groups: Sequence[Erasures]) -> dict[str, ErasureRequest]:
        """A request of each subject that had its account erased, by the subject's digest."""
        if self.command.include_returned:
            return {}
        return {group.first.subject_digest: group.first for group in groups if group.erased_account()}

    def _account(self, request: ErasureRequest) -> str | None:
        """Why the subject does not count as gone. If all accounts have been restored, there is nobody to be asked."""
        elsewhere = without_accounts_in(self.places, self.data_map.targets)
        if not any(spec.category == ACCOUNT_CATEGORY and request.subject.type in spec.subjects for spec in elsewhere):
            return None
        try:
            return why_not_gone(request.subject, elsewhere, self.use.accounts)
        except UnavailableError:
            return ACCOUNT_UNKNOWN

    def _why_not(
        self, group: Erasures, targets: Sequence[TargetSpec], accounts: Mapping[str, str | None]
    ) -> str | None:
        if not targets:
            # A request without any would be for all.
            return NOTHING_THERE
        if self.use.now() >= group.purged_by:
            return EXPIRED
        # Who had only other things erased was told that they are gone, whether or not they have an account.
        seen = accounts.get(group.first.subject_digest) if group.erased_account() else None
        return RETURNED if seen == ACCOUNT_EXISTS else seen

    def make(self, planned: Sequence[_Planned]) -> Counter[str]:
        """How many were made and sent off, were so before, or could not be made."""
        before = self.use.requests.get_many([each.request_id for each in planned])
        new = [each for each in planned if each.request_id not in before]
        untaken = [request_id for request_id, request in before.items() if request.state == REQUESTED]
        known = len(before) - len(untaken)
        if self.command.dry_run:
            return Counter({_MADE: len(new) + len(untaken), _KNOWN: known})
        identified = self._identifiers(new)
        readable = [each for each in new if each.request_id in identified]
        limited = [self._identified(each, identified[each.request_id]) for each in readable]
        made = [each for each in limited if each.targets]
        side_by_side(lambda each: self._accept(each, identified[each.request_id]), made, PARALLEL)
        # Also of those that were there: a run that died may not have come so far.
        there = [*made, *(each for each in planned if each.request_id in before)]
        side_by_side(lambda each: self._note(each.erasures, REPLAYED, self._told(each)), there, PARALLEL)
        to_send = [*untaken, *(each.request_id for each in made)]
        if to_send:
            self.use.queue.send(to_send, 1)
        in_part = sum(0 < len(after.targets) < len(each.targets) for each, after in zip(readable, limited, strict=True))
        return Counter(
            {
                _MADE: len(to_send),
                _KNOWN: known,
                _IN_PART: in_part,
                UNIDENTIFIED: len(limited) - len(made),
                UNREADABLE: len(new) - len(readable),
            }
        )

    def _identified(self, planned: _Planned, identifiers: Mapping[str, Sequence[str]]) -> _Planned:
        """Without the targets that need an id which the subject did not have: there is nothing of it by that, and what
        there is may be anybody's. One that nobody has read is another matter, and will be told as missing."""
        lacking = {name for name, values in identifiers.items() if not values} - self.data_map.optional
        return replace(planned, targets=tuple(spec for spec in planned.targets if lacking.isdisjoint(needs(spec)[1])))

    def _identifiers(self, planned: Sequence[_Planned]) -> dict[str, dict[str, tuple[str, ...]]]:
        """The further ids of each, by its request's id; those of which they cannot be read are left out.

        A source that was restored says whose they were at that moment, which is what the places are about. What another
        subject had then must not count as this one's, and the other way round.
        """
        known = {each.request_id: each.erasures.identifiers() for each in planned}
        wanted = {each.request_id: {name for spec in each.targets for name in needs(spec)[1]} for each in planned}
        sources = {rule.name for rule in self.data_map.identifiers if rule.source.name in self.places.names}
        asking = [each for each in planned if wanted[each.request_id] & sources]
        if not asking:
            return known
        rules = rules_for(self.data_map, sources)
        try:
            found = self.use.reader.identify([each.erasures.first.subject for each in asking], rules)
        except UnavailableError:
            return {request_id: names for request_id, names in known.items() if not wanted[request_id] & sources}
        for each, read in zip(asking, found, strict=True):
            # Whoever was being erased at that moment may have lost them by then.
            was_begun = each.erasures.started_at < self.command.since
            own = known[each.request_id]
            known[each.request_id] = _at_that_moment(own, read, self.data_map.optional, was_begun=was_begun)
        return known

    def _accept(self, planned: _Planned, identifiers: Mapping[str, tuple[str, ...]]) -> None:
        now, erasures, policy = self.use.now(), planned.erasures, self.use.policy
        first = erasures.first
        request = ErasureRequest(
            request_id=planned.request_id,
            subject=first.subject,
            subject_digest=first.subject_digest,
            family=first.family,
            requested_at=now,
            due_at=due_at(now, policy.sla_hours),
            # The subject was told when its id would be gone.
            purged_by=erasures.purged_by,
            categories=erasures.categories(planned.targets),
            organization_ids=first.organization_ids,
            identifiers=identifiers,
            hold_digests=erasures.hold_digests,
            clock_at=policy.first_look(now),
            purpose=REPLAY,
            follows=first.request_id,
            only_targets=_names(planned.targets),
        )
        details = {
            "family": request.family,
            "subject_digest": request.subject_digest,
            "subject_type": request.subject.type,
            "purpose": REPLAY,
            "follows": request.follows,
            "targets": list(request.only_targets),
            "since": format_time(self.command.since),
        }
        self.use.acceptance.accept(
            Acceptance(request, next_entry(request.request_id, None, "requested", now, details)), now
        )

    def _told(self, planned: _Planned) -> dict[str, object]:
        return {"replayed_by": planned.request_id, "since": format_time(self.command.since)}

    def _note(self, erasures: Erasures, event: str, details: dict[str, object]) -> None:
        if self.command.dry_run:
            return
        event_id = f"{event}:{details.get('replayed_by') or digest_of(self.command.named_run())[:16]}"
        self.use.audit.append(erasures.first.request_id, event, self.use.now(), details, event_id=event_id)


def _at_that_moment(
    known: Mapping[str, tuple[str, ...]],
    read: Mapping[str, tuple[str, ...]],
    optional: Collection[str],
    *,
    was_begun: bool,
) -> dict[str, tuple[str, ...]]:
    """``read``: what the restored places say. ``was_begun``: the subject was being erased at that moment, so that
    nothing being there means nothing.

    Where they say nothing although the erasure knew of something, or could not tell either, the subject was not there
    yet, or has been erased there anew since the restore. Nobody may say "absent" of what is found by such an
    ``optional`` id: the name is left out, and the target will be told as missing it."""
    own = dict(known)
    for name, values in read.items():
        if not values and not was_begun and name in optional and known.get(name) != ():
            own.pop(name, None)
        elif values or not was_begun:
            own[name] = values
    return own


def _names(targets: Sequence[TargetSpec]) -> tuple[str, ...]:
    return tuple(sorted(spec.name for spec in targets))
