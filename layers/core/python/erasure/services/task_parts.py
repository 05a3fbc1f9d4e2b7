"""Tasks seen from their parts: whose they are, which may be worked on, and what a target is given for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from erasure.domain.outcome import DONE_BY_ACTION, NOTHING_KEPT, Kept, TargetOutcome, add_up, outcome_of_erasure
from erasure.domain.outcome import FAILED as OUTCOME_FAILED
from erasure.domain.plan import FAILED, MISSING_VALUE, PENDING, VERIFIED, Part, Task, values_of
from erasure.domain.request import STARTED, ErasureRequest
from erasure.ports import HoldReader, RequestStore
from erasure.services.held_requests import held_among
from erasure.targets.protocol import Sharing, SliceResult, Target, VerifyResult

INTERNAL_ERROR = "internal_error"
"""The reason of a part whose target raised an exception."""

Requests = Mapping[str, ErasureRequest]


def sharing_targets(tasks: Sequence[Task], targets: Mapping[str, Target]) -> Mapping[str, Target]:
    """``targets``, by kind, for one call that works on these tasks of a unit: they share what they can.

    Targets that lead to each other share nothing: whether an item may go is asked right before it does.
    """
    specs = [task.spec for task in tasks]
    if any(spec.for_each is not None for spec in specs):
        return targets
    kinds = {spec.kind: targets[spec.kind] for spec in specs}
    return {kind: own.for_unit(specs) if isinstance(own, Sharing) else own for kind, own in kinds.items()}


def parts_by_request(tasks: Sequence[Task]) -> dict[str, list[tuple[Task, Part]]]:
    """What each request has of the tasks, in their order."""
    parts: dict[str, list[tuple[Task, Part]]] = {}
    for task in tasks:
        for part in task.parts:
            parts.setdefault(part.request_id, []).append((task, part))
    return parts


def outcomes_of(own: Sequence[tuple[Task, Part]]) -> tuple[TargetOutcome, ...]:
    """What became of the targets of one request, one outcome for each, with the parts that are at their end and those
    that are not: a job that is closed has no more time for these."""
    by_target: dict[str, list[TargetOutcome]] = {}
    for task, part in own:
        by_target.setdefault(task.spec.name, []).append(outcome_of(task, part))
    return tuple(add_up(outcomes) for outcomes in by_target.values())


def outcome_of(task: Task, part: Part) -> TargetOutcome:
    spec = task.spec
    if part.status == VERIFIED:
        return outcome_of_erasure(
            spec.name,
            spec.category,
            part.erased,
            at_least=part.at_least,
            done=DONE_BY_ACTION[spec.action],
            kept=part.kept,
            basis=spec.retain.basis if spec.retain else None,
            reason=part.reason if spec.goes_by_age else None,
        )
    reason = (part.reason if part.status == FAILED else None) or "not_finished"
    # A slice that has not ended by now, dead or alive, may have erased more than it has written down.
    at_least = part.at_least or (part.status == PENDING and task.running is not None)
    return TargetOutcome(spec.name, spec.category, OUTCOME_FAILED, part.erased, at_least, reason)


def words_of(own: Sequence[tuple[Task, Part]]) -> dict[str, str]:
    """What each target calls it when it has done something, by name."""
    return {task.spec.name: DONE_BY_ACTION[task.spec.action] for task, _ in own}


def workable_requests(
    job_id: str, parts: Iterable[Part], store: RequestStore, holds: HoldReader
) -> dict[str, ErasureRequest]:
    """The requests of these parts that the job may work on now, by id.

    Asked before every slice, after reading its tasks: a request that is no longer started must not lose another item.
    Nor does a job work on for one that another job has, or that it has closed itself: nobody would count it. Nor for
    one that was purged: nobody knows its subject any more. Nor for one that a legal hold concerns, whether or not its
    state says so yet; holds are read last, so that no slice begins after one was put and does not see it.
    """
    requests = store.get_many(list(dict.fromkeys(part.request_id for part in parts)))
    own = {
        request_id: request
        for request_id, request in requests.items()
        if request.state == STARTED
        and request.job_id == job_id
        and job_id not in request.closed_jobs
        and request.purged_at is None
    }
    held = held_among(own.values(), holds)
    return {request_id: request for request_id, request in own.items() if request_id not in held}


def replaced(task: Task, parts: Iterable[Part]) -> tuple[Part, ...]:
    """The task's parts with these in the place of the ones they were made from."""
    changed = {part.request_id: part for part in parts}
    return tuple(changed.get(part.request_id, part) for part in task.parts)


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that a target gets in one call, with the values of their subjects, all different.

    ``places``: for each part, the positions of its values: one for each organization that it is limited to. Two
    requests for one subject share a position; ``counts_for``: the part to which each position's deletions count.
    """

    parts: tuple[Part, ...]
    subjects: tuple[dict[str, str], ...]
    places: tuple[tuple[int, ...], ...]
    counts_for: tuple[int, ...]

    def slice_results(self, results: Sequence[SliceResult]) -> list[SliceResult]:
        """The results of the parts: counts added, done if all are, the gravest problem."""
        _check_length(results, self.subjects)
        merged = []
        for number, places in enumerate(self.places):
            own = [results[place] for place in places]
            gravest = _gravest(own)
            erased = sum(results[place].erased for place in places if self.counts_for[place] == number)
            done = bool(own) and all(result.done and result.problem is None for result in own)
            merged.append(SliceResult(erased, done, *gravest))
        return merged

    def verify_results(self, results: Sequence[VerifyResult]) -> list[VerifyResult]:
        _check_length(results, self.subjects)
        merged = []
        for places in self.places:
            own = [results[place] for place in places]
            complete = bool(own) and all(result.complete and result.problem is None for result in own)
            left, more = sum(result.left for result in own), any(result.more for result in own)
            merged.append(
                VerifyResult(left, complete, *_gravest(own), kept=all_kept(result.kept for result in own), more=more)
            )
        return merged


def groups_of(task: Task, parts: Sequence[Part], requests: Requests) -> Iterator[Group]:
    """The parts in one call, but each of those for which a target raised an exception in a call of its own: what one
    subject brings about must not be the others' fate."""
    # A scan reads its whole range for each call: one by one, a hundred subjects would never come to an end.
    together = [part for part in parts if part.reason != INTERNAL_ERROR or task.shard is not None]
    if together:
        yield _group(task, together, requests)
    for part in parts:
        if part not in together:
            yield _group(task, [part], requests)


def _group(task: Task, parts: Sequence[Part], requests: Requests) -> Group:
    subjects: dict[tuple[tuple[str, str], ...], int] = {}
    places: list[tuple[int, ...]] = []
    counts_for: list[int] = []
    for number, part in enumerate(parts):
        request = requests[part.request_id]
        own = []
        for values in values_of(request, task.spec):
            place = subjects.setdefault(tuple(sorted(values.items())), len(subjects))
            if place == len(counts_for):
                counts_for.append(number)
            own.append(place)
        places.append(tuple(dict.fromkeys(own)))
    return Group(tuple(parts), tuple(dict(values) for values in subjects), tuple(places), tuple(counts_for))


def _gravest(results: Sequence[SliceResult] | Sequence[VerifyResult]) -> tuple[str | None, bool]:
    """The problem that decides, and whether it is permanent. A part without any values names nothing: it must fail."""
    if not results:
        return MISSING_VALUE, True
    problems = [(result.problem, result.permanent) for result in results if result.problem is not None]
    return max(problems, key=lambda problem: problem[1], default=(None, False))


def all_kept(each: Iterable[Kept]) -> Kept:
    """What is kept of several, together."""
    kept = [one for one in each if one.count or one.unreadable]
    if not kept:
        return NOTHING_KEPT
    dates = [one.until for one in kept if one.count]
    # As long as nobody knows how long one of them stays, nobody knows it of all.
    until = None if None in dates else max((date for date in dates if date is not None), default=None)
    unreadable = sum(one.unreadable for one in kept)
    return Kept(sum(one.count for one in kept), until, any(one.more for one in kept), unreadable)


def _check_length(results: Sequence[object], subjects: Sequence[object]) -> None:
    if len(results) != len(subjects):
        raise ValueError("a target has to answer for each subject")
