"""Erasures of single people, from the request to the end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hands import Hands, eventually

from erasure_client import ConflictError, PlanChangedError, PlanTarget, StillRunningError, StoppedError, Target

LATER = timedelta(days=300)
ORDER = ("requested", "started", "finished")


def counts(targets: Iterable[Target | PlanTarget]) -> dict[str, int]:
    """Of those where something was found."""
    return {target.name: target.count for target in targets if target.count}


def test_a_request_is_followed_to_its_end(hands: Hands) -> None:
    """Accepted is not gone: the request is seen on its way, ends finished, and counts all that there was."""
    user_id = hands.world.people["watched"]
    (accepted,) = hands.request(user_id)
    assert accepted.is_accepted
    assert accepted.subject.id == user_id
    assert accepted.request is not None
    assert not accepted.request.is_complete
    seen = hands.wait(accepted.request.id)
    states = [each.state for each in seen]
    assert states == sorted(states, key=ORDER.index)
    end = seen[-1]
    assert end.is_complete
    assert end.finished_at is not None
    assert end.sla is not None
    assert end.sla.state == "met"
    assert counts(end.targets) == hands.world.things
    assert counts(hands.preview(user_id).targets) == {}


def test_its_trail_is_whole(hands: Hands) -> None:
    """Whoever asks later is told what happened to a request, in order."""
    request = hands.request(hands.world.people["audited"]).request
    hands.wait(request.id)
    trail = hands.audit(request.id)
    assert trail.is_whole
    assert [entry.event for entry in trail.entries] == ["requested", "planned", "finished"]


def test_a_request_goes_by_the_plan_that_was_shown(hands: Hands) -> None:
    """What is shown before is what is erased, if the request names the plan."""
    user_id = hands.world.people["planned"]
    plan = hands.preview(user_id)
    assert counts(plan.targets) == hands.world.things
    end = hands.wait(hands.request(user_id, plan_hash=plan.plan_hash).request.id)[-1]
    assert counts(end.targets) == hands.world.things


def test_a_request_by_another_plan_is_refused(hands: Hands) -> None:
    """A plan that does not hold now is no reason to erase: nothing is accepted."""
    user_id = hands.world.people["kept"]
    with hands.refused(PlanChangedError, exit_code=6):
        hands.request(user_id, plan_hash=hands.preview(hands.world.people["bystander"]).plan_hash)
    assert not hands.list(subject=user_id)


def test_a_request_that_waits_can_be_cancelled(hands: Hands) -> None:
    """Until its time has come a request waits, and is taken back for good: then nobody can hurry it."""
    user_id = hands.world.people["kept"]
    at = datetime.now(UTC) + LATER
    request = hands.request(user_id, not_before=at).request
    assert request.not_before is not None
    assert abs(request.not_before - at) < timedelta(seconds=1)
    with hands.refused(StillRunningError, exit_code=7):
        hands.wait(request.id, timeout=4)
    assert hands.cancel(request.id).state == "cancelled"
    with hands.refused(StoppedError, exit_code=3):
        hands.wait(request.id)
    with hands.refused(ConflictError, exit_code=6):
        hands.expedite(request.id)
    assert hands.get(request.id).state == "cancelled"
    assert counts(hands.preview(user_id).targets) == hands.world.things


def test_a_request_that_waits_can_be_hurried(hands: Hands) -> None:
    """Expedited, it begins at once, and ends like any other."""
    request = hands.request(hands.world.people["hurried"], not_before=datetime.now(UTC) + LATER).request
    hurried = hands.expedite(request.id)
    assert hurried.id == request.id
    assert hurried.due_at < request.due_at
    assert hands.wait(request.id)[-1].is_complete


def test_the_same_key_makes_one_request(hands: Hands) -> None:
    """A call that is sent again under its idempotency key is answered as before; with another body it is refused."""
    user_id = hands.world.people["repeated"]
    at = datetime.now(UTC) + LATER
    key = f"scenario {at.timestamp()}"
    first, again = (hands.request(user_id, not_before=at, idempotency_key=key) for _ in range(2))
    assert again.batch_id == first.batch_id
    assert again.request.id == first.request.id
    with hands.refused(ConflictError, exit_code=6):
        hands.request(hands.world.people["kept"], not_before=at, idempotency_key=key)
    found = eventually(lambda: hands.list(subject=user_id), bool)
    assert [each.id for each in found] == [first.request.id]


def test_lists_go_on_over_their_pages(hands: Hands) -> None:
    """More than a page of requests is listed whole, each once, newest first, and no more than asked for."""
    ids = [f"group {number}" for number in range(105)]
    batch = hands.request(*ids, subject_type="group", not_before=datetime.now(UTC) + LATER)
    made = {request.id for request in batch.requests}
    assert len(made) == len(ids)

    def listed() -> list[str]:
        return [request.id for request in hands.list(state="requested", limit=1_000)]

    found = eventually(listed, made.issubset)
    assert len(set(found)) == len(found)
    times = [request.requested_at for request in hands.list(state="requested", limit=103)]
    assert len(times) == 103
    assert times == sorted(times, reverse=True)
    assert not made & {request.id for request in hands.list(state="finished", limit=1_000)}


def test_a_bulk_names_each_id_once(hands: Hands) -> None:
    """Of thirty ids, some of them twice and one that cannot be named safely, each gets one request or its reason."""
    ids = [f"bulk {number}" for number in range(30)]
    told = hands.bulk([*ids[:20], ids[3], "team/ops", *ids[20:], ids[29], ids[29]], chunk=10)
    accepted = [each for each in told if each.status == "accepted"]
    assert [each.id for each in accepted] == ids
    assert len({each.request_id for each in accepted} - {None}) == 30
    assert [each.id for each in told if each.status == "duplicate"] == [ids[3], ids[29], ids[29]]
    assert [(each.id, each.reason) for each in told if each.status == "refused"] == [
        ("team/ops", "ambiguous_identifier")
    ]
    for each in (accepted[0], accepted[-1]):
        assert each.request_id is not None
        assert hands.wait(each.request_id)[-1].is_complete
    (only,) = hands.list(subject=ids[29])
    assert only.id == accepted[-1].request_id
