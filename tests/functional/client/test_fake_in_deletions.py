"""The fake deletes users and lets people delete themselves as the service does."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest

from tests.functional.client.calls_alike import (
    HOLD,
    HOLDS,
    OWN,
    REQUESTS,
    USERS,
)
from tests.functional.client.two_services import Both, Caller, Fake, Real


@pytest.fixture
def both() -> Both:
    return Both(Fake(), Real())


class TestUsers:
    def test_deleting_at_once(self, both: Both) -> None:
        """Account, sessions and credentials go with the 204, the rest with the job; then there is no such user."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            caller.send("GET", f"{USERS}/ann")
            caller.send("DELETE", f"{USERS}/ann", once="d")
            request_id = caller.headers["x-erasure-request-id"]
            assert caller.side.left("ann") == {"memberships", "audit-events", "files"}
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.send("GET", f"{USERS}/ann")
            caller.send("DELETE", f"{USERS}/ann", once="d")
            caller.send("DELETE", f"{USERS}/ann")
            caller.send("DELETE", f"{USERS}/bob", once="d")
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.send("GET", f"{REQUESTS}/{request_id}/audit")
            assert caller.side.left("ann") == {"audit-events"}

        both.play(story)

    def test_deleting_what_fails(self, both: Both) -> None:
        """Accepted and not done: 500 with the request's id, until operators have mended it and it was retried."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            caller.side.fail("sessions")
            caller.send("DELETE", f"{USERS}/ann", once="d")
            request_id = caller.headers["x-erasure-request-id"]
            caller.send("GET", f"{USERS}/ann")
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.send("DELETE", f"{USERS}/ann", once="d")
            caller.side.run()
            caller.send("DELETE", f"{USERS}/ann")
            caller.side.mend("sessions")
            caller.send("POST", f"{REQUESTS}/{request_id}/retry")
            caller.side.run()
            caller.send("DELETE", f"{USERS}/ann", once="d")
            caller.send("DELETE", f"{USERS}/ann")
            caller.send("GET", f"{REQUESTS}/{request_id}")

        both.play(story)

    def test_disabling_and_enabling(self, both: Both) -> None:
        """A user is disabled, deleted later, or not."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            caller.send("POST", f"{USERS}/ann/disable", {}, once="d")
            caller.side.advance(timedelta(hours=1))
            caller.send("POST", f"{USERS}/ann/disable", {}, once="d")
            caller.send("POST", f"{USERS}/ann/disable", {"revoke_sessions": True})
            assert "sessions" not in caller.side.left("ann")
            caller.send("POST", f"{USERS}/ann/disable", {"delete_after_days": 30})
            caller.send("POST", f"{USERS}/ann/disable", {"delete_after_days": 10, "unknown": 1}, once="e")
            caller.send("POST", f"{USERS}/ann/disable", {"delete_after_days": 11}, once="e")
            caller.send("GET", f"{USERS}/ann")
            caller.send("POST", f"{USERS}/ann/enable", once="f")
            caller.send("GET", f"{USERS}/ann")
            caller.send("POST", f"{USERS}/ann/disable", {"delete_after_days": 1})
            caller.side.advance(timedelta(days=1, hours=1))
            caller.side.run()
            caller.send("GET", f"{USERS}/ann")
            caller.send("POST", f"{USERS}/ann/enable")
            caller.send("GET", REQUESTS)
            assert caller.side.left("ann") == {"audit-events"}

        both.play(story)

    def test_sessions_that_stay(self, both: Both) -> None:
        """The user is disabled, and the caller is told that sessions may be left."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            caller.side.fail("sessions")
            caller.send("POST", f"{USERS}/ann/disable", {"revoke_sessions": True})
            caller.send("GET", f"{USERS}/ann")

        both.play(story)

    def test_a_deletion_that_is_held(self, both: Both) -> None:
        """It can neither be called off nor replaced until the hold is lifted."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            caller.send("POST", f"{USERS}/ann/disable", {"delete_after_days": 30})
            caller.send("PUT", f"{HOLDS}/ann", HOLD)
            caller.send("POST", f"{USERS}/ann/enable")
            caller.send("POST", f"{USERS}/ann/disable", {"delete_after_days": 3})
            caller.send("DELETE", f"{USERS}/ann")
            caller.send("DELETE", f"{HOLDS}/ann")
            caller.send("POST", f"{USERS}/ann/enable")

        both.play(story)

    def test_deleting_many(self, both: Both) -> None:
        """Each different one is accepted, refused, or gone before; all at once for the outside."""

        def story(caller: Caller) -> None:
            for user_id in ("ann", "bob", "eve"):
                caller.side.put_user(user_id, 1)
            caller.send("DELETE", f"{USERS}/bob")
            body = {"user_ids": ["ann", "bob", "a/b", "ann", "nobody"]}
            caller.send("POST", f"{USERS}/bulk-delete", body, once="b")
            caller.send("POST", f"{USERS}/bulk-delete", body, once="b")
            caller.send("POST", f"{USERS}/bulk-delete", {"user_ids": ["eve"]}, once="b")
            caller.send("GET", f"{USERS}/ann")
            caller.send("GET", f"{USERS}/eve")
            caller.side.run()
            caller.send("POST", f"{USERS}/bulk-delete", {"user_ids": ["ann"]})
            assert caller.side.left("ann") == {"audit-events"}

        both.play(story)

    def test_ids_in_paths(self, both: Both) -> None:
        """Ids are decoded once."""

        def story(caller: Caller) -> None:
            for user_id in ("50%", "ä b", "a+b", "%2F", "..."):
                caller.side.put_user(user_id, 1)
                caller.send("GET", f"{USERS}/{quote(user_id, safe='')}")
                caller.send("PUT", f"{HOLDS}/{quote(user_id, safe='')}", HOLD)

        both.play(story)


class TestPeople:
    def test_both_steps(self, both: Both) -> None:
        """A delete id, its confirmation, which is accepted and goes on, and the status when it has ended."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            token = caller.side.token("ann")
            caller.send("GET", f"{OWN}/deletion-preview", key=token)
            delete_id = caller.send("DELETE", OWN, key=token)["delete_id"]
            body, path = {"delete_id": delete_id}, f"{OWN}/confirm-delete?timeout=0"
            told = caller.send("POST", path, body, key=token)
            caller.seen[-1].body.pop("status_url")  # it begins with where the API is mounted
            assert told["status_url"].endswith(f"{OWN}/erasure-requests/{told['request_id']}")
            caller.send("POST", path, body, key=token)
            status = f"{OWN}/erasure-requests/{told['request_id']}"
            caller.send("GET", status, key=token)
            caller.send("GET", status, key=caller.side.token("bob"))
            caller.side.run()
            caller.send("GET", status, key=token)
            caller.send("GET", f"{REQUESTS}/{told['request_id']}")
            caller.send("GET", f"{REQUESTS}/{told['request_id']}/audit")
            assert caller.side.left("ann") == {"accounts", "sessions", "mfa-factors", "memberships", "audit-events"}

        both.play(story)

    def test_ids_of_others_and_late_ones(self, both: Both) -> None:
        """A delete id is one person's, for five minutes."""

        def story(caller: Caller) -> None:
            path, token = f"{OWN}/confirm-delete?timeout=0", caller.side.token("ann")
            delete_id = caller.send("DELETE", OWN, key=token, once="i")["delete_id"]
            assert caller.send("DELETE", OWN, key=token, once="i")["delete_id"] == delete_id
            caller.send("POST", path, {"delete_id": delete_id}, key=caller.side.token("bob"))
            caller.side.advance(timedelta(minutes=5, seconds=1))
            caller.send("POST", path, {"delete_id": delete_id}, key=token)
            caller.send("DELETE", OWN, key=token, once="i")

        both.play(story)

    def test_confirmations_that_are_repeated(self, both: Both) -> None:
        """The same key leads to the same request, and answers by how far it is."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            path, token = f"{OWN}/confirm-delete?timeout=0", caller.side.token("ann")
            delete_id = caller.send("DELETE", OWN, key=token)["delete_id"]
            other_id = caller.send("DELETE", OWN, key=token)["delete_id"]
            for body, key in (({"delete_id": delete_id}, "c"), ({"delete_id": delete_id}, "c")):
                caller.send("POST", path, body, key=token, once=key)
                caller.seen[-1].body.pop("status_url")
            caller.send("POST", path, {"delete_id": other_id}, key=token, once="c")
            caller.side.run()
            caller.send("POST", path, {"delete_id": delete_id}, key=token, once="c")

        both.play(story)

    def test_what_fails(self, both: Both) -> None:
        """A 500 with the request, once it is known that operators are needed."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            caller.side.fail("files")
            path, token = f"{OWN}/confirm-delete?timeout=0", caller.side.token("ann")
            delete_id = caller.send("DELETE", OWN, key=token)["delete_id"]
            request_id = caller.send("POST", path, {"delete_id": delete_id}, key=token, once="c")["request_id"]
            caller.side.run()
            caller.send("POST", path, {"delete_id": delete_id}, key=token, once="c")
            for seen in caller.seen[-2:]:
                seen.body.pop("status_url")
            caller.send("GET", f"{OWN}/erasure-requests/{request_id}", key=token)

        both.play(story)

    def test_what_stays(self, both: Both) -> None:
        """A repeated confirmation of what has ended, and left something, is a 202: not everything is gone."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 3)
            caller.side.keep("files", 3, 1, None)
            path, token = f"{OWN}/confirm-delete?timeout=0", caller.side.token("ann")
            body = {"delete_id": caller.send("DELETE", OWN, key=token)["delete_id"]}
            request_id = caller.send("POST", path, body, key=token, once="c")["request_id"]
            caller.side.run()
            caller.send("POST", path, body, key=token, once="c")
            assert caller.seen[-1].status == 202
            for seen in caller.seen[-2:]:
                seen.body.pop("status_url")
            caller.send("GET", f"{OWN}/erasure-requests/{request_id}", key=token)

        both.play(story)

    def test_a_hold_between_the_steps(self, both: Both) -> None:
        """The erasure is accepted, and waits for the hold's end."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            token = caller.side.token("ann")
            delete_id = caller.send("DELETE", OWN, key=token)["delete_id"]
            caller.send("PUT", f"{HOLDS}/ann", HOLD)
            told = caller.send("POST", f"{OWN}/confirm-delete", {"delete_id": delete_id}, key=token)
            caller.seen[-1].body.pop("status_url")
            caller.send("GET", f"{OWN}/erasure-requests/{told['request_id']}", key=token)

        both.play(story)
