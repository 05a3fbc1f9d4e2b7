"""What a backend does about single people: holds, accounts, the suppression list."""

from __future__ import annotations

from hands import Hands

from erasure_client import HeldError, NotFoundError, StoppedError


def test_a_hold_stops_everything_until_it_is_lifted(hands: Hands) -> None:
    """Under a legal hold a request waits, nothing is deleted at once, and nothing is taken back; then all goes on."""
    user_id = hands.world.people["held"]
    hold = hands.hold(user_id, "Litigation 2026-17", "legal@example.com")
    assert hold.is_new in (True, None)
    assert hands.held(user_id).hold_id == hold.hold_id
    assert hands.held(user_id).reason == "Litigation 2026-17"
    request = hands.request(user_id).request
    with hands.refused(StoppedError, exit_code=3):
        hands.wait(request.id)
    assert hands.get(request.id).state == "held"
    with hands.refused(HeldError, exit_code=6):
        hands.delete_user(user_id)
    with hands.refused(HeldError, exit_code=6):
        hands.cancel(request.id)
    assert hands.user(user_id).status == "active"
    hands.lift(user_id)
    with hands.refused(NotFoundError, exit_code=5):
        hands.held(user_id)
    end = hands.wait(request.id)[-1]
    assert end.is_complete
    assert {target.name: target.count for target in end.targets if target.count} == hands.world.things


def test_a_user_is_deleted_at_once(hands: Hands) -> None:
    """When a deletion has returned, there is no such user any more, and the erasure of the rest has its request."""
    user_id = hands.world.people["deleted"]
    assert hands.user(user_id).status == "active"
    deletion = hands.delete_user(user_id)
    with hands.refused(NotFoundError, exit_code=5):
        hands.user(user_id)
    with hands.refused(NotFoundError, exit_code=5):
        hands.delete_user(user_id)
    # It begins half a minute later, unless something of what went at once is still there.
    assert hands.get(deletion.request_id).state in ("requested", "started", "finished")


def test_a_user_is_disabled_and_enabled_again(hands: Hands) -> None:
    """A disabled user is there until their day comes; enabled again, nothing waits for them any more."""
    user_id = hands.world.people["disabled"]
    disabled = hands.disable_user(user_id, delete_after_days=30)
    assert disabled.status == "disabled"
    assert disabled.request_id is not None
    shown = hands.user(user_id)
    assert (shown.id, shown.status, shown.delete_at) == (user_id, "disabled", disabled.delete_at)
    assert hands.get(disabled.request_id).state == "requested"
    assert hands.enable_user(user_id).status == "active"
    assert hands.user(user_id).delete_at is None
    assert hands.get(disabled.request_id).state == "cancelled"


def test_the_suppression_list_is_asked_about_somebody(hands: Hands) -> None:
    """Who is on the list is found by their id, and who is not, is not."""
    entry = hands.suppressed(hands.world.people["suppressed"])
    assert entry.subject_type == "user"
    assert entry.request_id
    with hands.refused(NotFoundError, exit_code=5):
        hands.suppressed(hands.world.people["bystander"])
