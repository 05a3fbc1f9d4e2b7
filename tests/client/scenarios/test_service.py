"""Keys, the data map and figures; and how the hands say that something cannot be."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

from hands import Hands, eventually

from erasure_client import InvalidRequestError, NoAnswerError, NotAllowedError, NotFoundError, NotSignedInError

REMEMBERED_SECONDS = 5
"""How long a key may go on working that was revoked."""


def test_a_key_is_good_for_its_scopes_until_it_is_revoked(hands: Hands) -> None:
    """A new key does what its scopes say and nothing else, is listed without its text, and ends when it is revoked."""
    key = hands.create_key(["erasure:read"], "a scenario's")
    assert key.text is not None
    reading = hands.given(api_key=key.text)
    assert reading.sla().sla_hours > 0
    with hands.refused(NotAllowedError, exit_code=4):
        reading.request(hands.world.people["kept"])
    with hands.refused(NotAllowedError, exit_code=4):
        reading.create_key(["erasure:write"], "more than its own")
    listed = {each.key_id: each for each in hands.api_keys()}[key.key_id]
    assert (listed.scopes, listed.name, listed.revoked_at, listed.text) == (key.scopes, key.name, None, None)
    hands.revoke_key(key.key_id)
    assert {each.key_id: each for each in hands.api_keys()}[key.key_id].revoked_at is not None
    # Until then some of the service's workers remember it and others do not, so one refusal would not tell.
    time.sleep(REMEMBERED_SECONDS + 1)
    with hands.refused(NotSignedInError, exit_code=4):
        reading.sla()


def test_the_data_map_is_shown(hands: Hands) -> None:
    """The map names the targets that erasures work on."""
    data_map = hands.data_map()
    assert data_map.version >= 1
    assert data_map.digest
    assert set(hands.world.things) <= {target["name"] for target in data_map.document["targets"]}


def test_the_promise_is_shown(hands: Hands) -> None:
    """What waits is counted as open, and nothing is late."""
    request = hands.request(hands.world.people["kept"], not_before=datetime.now(UTC) + timedelta(days=300)).request
    figures = eventually(hands.sla, lambda figures: figures.requested > 0)
    assert figures.open == figures.requested + figures.started + figures.held
    assert figures.overdue == 0
    assert hands.cancel(request.id).state == "cancelled"


def test_an_id_that_cannot_be_named_safely_is_refused(hands: Hands) -> None:
    """A call for a single person whose id could be mistaken is refused whole."""
    with hands.refused(InvalidRequestError, exit_code=1):
        hands.request("team/ops")


def test_what_is_not_there_is_not_found(hands: Hands) -> None:
    """An unknown request is said to be unknown, by every method that takes one."""
    unknown = f"er_0{'1' * 25}"
    for look in (hands.get, hands.audit, hands.cancel, hands.expedite, hands.wait):
        with hands.refused(NotFoundError, exit_code=5):
            look(unknown)


def test_a_wrong_key_is_refused(hands: Hands) -> None:
    """A key that is not known is not told apart from one that is wrong, and does nothing."""
    text = hands.world.api_key
    wrong = hands.given(api_key=text[:-1] + ("A" if text[-1] != "A" else "B"))
    with hands.refused(NotSignedInError, exit_code=4):
        wrong.request(hands.world.people["kept"])
    with hands.refused(NotSignedInError, exit_code=4):
        hands.given(api_key=f"sk_test_{'0' * 16}_{'0' * 43}").sla()


def test_a_service_that_is_not_there(hands: Hands) -> None:
    """Nobody answers: that is said after some attempts, and nothing sounds as if it was done."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with hands.refused(NoAnswerError, exit_code=8):
            hands.given(url=f"http://127.0.0.1:{nobody.getsockname()[1]}").sla()
