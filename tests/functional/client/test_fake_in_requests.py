"""The fake goes through requests, holds, maps and keys as the service does: several calls, and what happens between."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.functional.backend_world import OTHER_TENANT, TARGETS, TENANT, table
from tests.functional.client.calls_alike import (
    HOLD,
    HOLDS,
    KEYS,
    MAP,
    PLANS,
    REQUESTS,
    SUPPRESSIONS,
    USERS,
    for_users,
    user,
)
from tests.functional.client.two_services import Both, Caller, Fake, Real


@pytest.fixture
def both() -> Both:
    return Both(Fake(), Real())


class TestStories:
    """Several calls, with what happens between them."""

    def test_a_request_from_its_beginning_to_its_end(self, both: Both) -> None:
        """Accepted, listed, erased, told of, with everything of the user gone."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 3)
            request_id = caller.send("POST", REQUESTS, for_users("ann"))["requests"][0]["request"]["id"]
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.side.advance(timedelta(minutes=3))
            caller.side.run()
            for path in ("", "/audit"):
                caller.send("GET", f"{REQUESTS}/{request_id}{path}")
            caller.send("GET", f"{REQUESTS}?state=finished")
            caller.send("GET", "/v1/sla")
            assert caller.side.left("ann") == set()

        both.play(story)

    def test_many_subjects(self, both: Both) -> None:
        """A disposition for each different one; groups and users of one name are two."""

        def story(caller: Caller) -> None:
            group = {"type": "group", "id": "ann"}
            body = {"subjects": [user("ann"), group, user("a/b"), user("ann"), {"type": "organization", "id": "o"}]}
            first = caller.send("POST", REQUESTS, body)["requests"][0]["request"]["id"]
            caller.send("POST", REQUESTS, for_users("a/b", "c/d"))
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{first}")
            caller.send("GET", f"{REQUESTS}/{first}/audit")

        both.play(story)

    def test_categories_and_organizations(self, both: Both) -> None:
        """Only what is asked for goes."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            asked = for_users("ann", categories=["membership", "content"])
            request_id = caller.send("POST", REQUESTS, asked)["requests"][0]["request"]["id"]
            scope = {"organization_ids": ["org_1", "org_2", "org_1"]}
            other_id = caller.send("POST", REQUESTS, for_users("eve", scope=scope))["requests"][0]["request"]["id"]
            caller.send("GET", f"{REQUESTS}/{other_id}")
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.send("GET", f"{REQUESTS}/{other_id}")
            assert caller.side.left("ann") == {"accounts", "sessions", "mfa-factors", "audit-events"}

        both.play(story)

    def test_waiting_and_expediting(self, both: Both) -> None:
        """A request waits for its time, or is begun at once; its promise counts from then."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            body = for_users("ann", not_before="2026-03-03T12:00:00.000+01:00")
            first, second = (caller.send("POST", REQUESTS, body)["requests"][0]["request"]["id"] for _ in range(2))
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{first}")
            caller.send("POST", f"{REQUESTS}/{first}/expedite", once="e")
            caller.send("POST", f"{REQUESTS}/{first}/expedite", once="e")
            caller.send("POST", f"{REQUESTS}/{first}/expedite", once="f")
            caller.send("POST", f"{REQUESTS}/{second}/expedite", once="e")
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{first}")
            caller.side.advance(timedelta(days=3))
            caller.side.run()
            for request_id in (first, second):
                caller.send("GET", f"{REQUESTS}/{request_id}")
                caller.send("GET", f"{REQUESTS}/{request_id}/audit")

        both.play(story)

    def test_failing_and_retrying(self, both: Both) -> None:
        """What could not be erased needs attention; retried after it was mended, it finishes."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 2)
            caller.side.fail("memberships")
            request_id = caller.send("POST", REQUESTS, for_users("ann"))["requests"][0]["request"]["id"]
            caller.side.run()
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.side.mend("memberships")
            caller.send("POST", f"{REQUESTS}/{request_id}/retry", once="r")
            caller.send("POST", f"{REQUESTS}/{request_id}/retry", once="r")
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.send("GET", f"{REQUESTS}/{request_id}/audit")
            caller.send("POST", f"{REQUESTS}/{request_id}/retry")
            assert caller.side.left("ann") == set()

        both.play(story)

    def test_what_stays(self) -> None:
        """What the law or a lock keeps is told with its number, its end and its reason; the request is finished."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 5)
            caller.side.keep("memberships", 5, 2, None)
            caller.side.keep("audit-events", 5, 5, "tax law")
            request_id = caller.send("POST", REQUESTS, for_users("ann"))["requests"][0]["request"]["id"]
            caller.side.run()
            told = caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.send("GET", f"{REQUESTS}/{request_id}/audit")
            assert (told["state"], told["targets"][4]["state"]) == ("finished", "retained")
            # The service takes up what stays when its time has come. The fake does not.
            for seen in caller.seen:
                if isinstance(seen.body, dict):
                    seen.body.pop("follow_up_at", None)

        keeping = {**TARGETS[4], "retain": {"basis": "tax law", "for": "10y", "from": "at"}}
        targets = [*TARGETS[:4], keeping, *TARGETS[5:]]
        Both(Fake(targets), Real(targets)).play(story)

    def test_cancelling(self, both: Both) -> None:
        """A request is taken back, twice too, and nothing of it is erased."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            request_id = caller.send("POST", REQUESTS, for_users("ann"))["requests"][0]["request"]["id"]
            for key in ("a", "a", "b", None):
                caller.send("POST", f"{REQUESTS}/{request_id}/cancel", once=key)
            caller.side.run()
            caller.send("GET", f"{REQUESTS}/{request_id}")
            assert len(caller.side.left("ann")) == 6

        both.play(story)

    def test_keys_of_repeated_calls(self, both: Both) -> None:
        """The same key with the same body is the same call, with another one a conflict; a refused one frees it."""

        def story(caller: Caller) -> None:
            first = caller.send("POST", REQUESTS, for_users("ann"), once="k")
            assert caller.send("POST", REQUESTS, for_users("ann"), once="k") == first
            caller.send("POST", REQUESTS, for_users("bob"), once="k")
            caller.send("POST", REQUESTS, for_users("a/b"), once="free")
            caller.send("POST", REQUESTS, for_users("bob"), once="free")
            caller.send("POST", REQUESTS, for_users("ann", not_before="2026-03-02T12:00:00Z"), once="t")
            caller.side.advance(timedelta(hours=23, minutes=59))
            caller.send("POST", REQUESTS, for_users("ann", not_before="2026-03-02T13:00:00+01:00"), once="t")
            caller.side.advance(timedelta(minutes=2))
            caller.send("POST", REQUESTS, for_users("bob"), once="k")
            caller.send("POST", f"{USERS}/bulk-delete", {"user_ids": ["ann"]}, once="k")
            caller.send("POST", f"{USERS}/bulk-delete", {"user_ids": ["bob"]}, once="k")

        both.play(story)

    def test_plans(self, both: Both) -> None:
        """A plan's hash lets the erasure in while the map is the same."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            plan_hash = caller.send("POST", PLANS, {"subject": user()})["plans"][0]["plan_hash"]
            caller.send("POST", REQUESTS, for_users("ann", plan_hash=plan_hash))
            caller.send("POST", REQUESTS, for_users("bob", plan_hash=plan_hash))
            caller.send("POST", REQUESTS, for_users("bob", plan_hash=plan_hash, dry_run=True))
            document = {"version": 1, "targets": [*TARGETS, table("letters", "content")]}
            put = caller.send(
                "PUT", MAP, document, key=caller.side.platform_key, headers={"X-Tenant-ID": TENANT}, once="m"
            )
            assert put.keys() == {"version", "digest", "warnings"}
            caller.seen.pop()  # the fake has no warnings
            caller.send("POST", REQUESTS, for_users("ann", plan_hash=plan_hash))
            caller.send("GET", MAP)
            caller.send("GET", f"{MAP}?version=1")

        both.play(story)

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"version": 2, "targets": TARGETS},
            {"version": 1, "targets": []},
            {"version": 1, "targets": TARGETS, "more": 1},
            {"version": 1, "targets": [{"name": "x", "category": "content"}]},
            {"version": 1, "targets": [{**TARGETS[0], "name": "No Name"}]},
            {"version": 1, "targets": [{**TARGETS[0], "category": "things"}]},
            {"version": 1, "targets": [TARGETS[0], TARGETS[0]]},
            {"version": 1, "targets": [{**TARGETS[0], "subjects": ["team"]}]},
            {"version": 1, "targets": [{**TARGETS[0], "dynamodb": {"table": "app-x", "key": {"pk": "{tenant_id}"}}}]},
            {"version": 1, "targets": [{**TARGETS[0], "dynamodb": {"table": "app-x", "key": {"pk": "{person}"}}}]},
        ],
        ids=lambda document: json.dumps(document)[:60],
    )
    def test_maps_that_break_rules(self, both: Both, document: Mapping[str, Any]) -> None:
        """A 400 with the fields; the rules are in the service's own words, which the fake does not all have."""
        seen = []
        for caller in both.callers:
            key, tenant = caller.side.platform_key, {"X-Tenant-ID": TENANT}
            told = caller.send("PUT", MAP, document, key=key, headers=tenant)
            seen.append((caller.seen[-1].status, told["code"], told.keys(), bool(told["errors"])))
            caller.send("GET", MAP)
        assert seen[0] == seen[1]
        assert seen[0][0] == 400
        assert both.callers[0].seen[-1] == both.callers[1].seen[-1]

    def test_holds(self, both: Both) -> None:
        """A hold stops what is requested, changes, is lifted, and lets it go on."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            request_id = caller.send("POST", REQUESTS, for_users("ann"))["requests"][0]["request"]["id"]
            alias_id = caller.send("POST", REQUESTS, for_users("ann@example.com"))["requests"][0]["request"]["id"]
            until = {**HOLD, "until": "2026-03-05T00:00:00Z", "aliases": ["ann@example.com", "ann"]}
            caller.send("PUT", f"{HOLDS}/ann", HOLD, once="h")
            caller.send("PUT", f"{HOLDS}/ann", HOLD, once="h")
            caller.send("PUT", f"{HOLDS}/ann", HOLD)
            caller.side.advance(timedelta(hours=1))
            caller.send("PUT", f"{HOLDS}/ann", until)
            caller.send("GET", f"{HOLDS}/ann")
            caller.side.run()
            for each in (request_id, alias_id):
                caller.send("GET", f"{REQUESTS}/{each}")
                caller.send("POST", f"{REQUESTS}/{each}/cancel")
            caller.send("GET", "/v1/sla")
            caller.send("DELETE", f"{HOLDS}/ann", once="l")
            caller.send("DELETE", f"{HOLDS}/ann", once="l")
            caller.send("DELETE", f"{HOLDS}/ann")
            caller.send("GET", f"{REQUESTS}/{request_id}")
            caller.side.run()
            for each in (request_id, alias_id):
                caller.send("GET", f"{REQUESTS}/{each}")
                caller.send("GET", f"{REQUESTS}/{each}/audit")

        both.play(story)

    def test_a_hold_that_ends_by_itself(self, both: Both) -> None:
        """It is in force up to its end and a minute after."""

        def story(caller: Caller) -> None:
            caller.side.put_user("ann", 1)
            caller.send("PUT", f"{HOLDS}/ann", {**HOLD, "until": "2026-03-01T13:00:00Z"})
            request_id = caller.send("POST", REQUESTS, for_users("ann"))["requests"][0]["request"]["id"]
            for minutes in (0, 60, 2):
                caller.side.advance(timedelta(minutes=minutes))
                caller.side.run()
                caller.send("GET", f"{HOLDS}/ann")
                caller.send("GET", f"{REQUESTS}/{request_id}")

        both.play(story)

    def test_pages(self, both: Both) -> None:
        """Lists of requests, holds and suppressions go on where their cursors say."""

        def story(caller: Caller) -> None:
            for number in range(5):
                caller.send("POST", REQUESTS, for_users(f"user-{number}"))
                caller.send("PUT", f"{HOLDS}/user-{number}", HOLD)
                caller.side.suppress(f"user-{number}")
            for path, name in ((REQUESTS, "requests"), (HOLDS, "legal_holds"), (SUPPRESSIONS, "suppressions")):
                cursor, found = "", 0
                for _ in range(3):
                    page = caller.send("GET", f"{path}?limit=2{cursor}")
                    if path != REQUESTS:
                        for each in caller.seen[-1].body[name]:  # in the order of digests, which are drawn by lot
                            each.pop("set_at", each.pop("suppressed_at", None))
                    found += len(page[name])
                    cursor = f"&cursor={page.get('cursor')}"
                assert (found, "cursor" in page) == (5, False)

        both.play(story)

    def test_suppressions(self, both: Both) -> None:
        """Whoever is taken off the list is not on it."""

        def story(caller: Caller) -> None:
            caller.side.suppress("sue")
            caller.send("DELETE", f"{SUPPRESSIONS}/sue", once="s")
            caller.send("DELETE", f"{SUPPRESSIONS}/sue", once="s")
            caller.send("DELETE", f"{SUPPRESSIONS}/sue")
            caller.send("GET", f"{SUPPRESSIONS}/sue")

        both.play(story)

    def test_api_keys(self, both: Both) -> None:
        """Made, shown once more by their idempotency key, listed, used, limited, revoked."""

        def story(caller: Caller) -> None:
            wanted = {"scopes": ["erasure:read", "erasure:write"], "name": "billing", "calls_per_minute": 2}
            made = caller.send("POST", KEYS, wanted, once="k")
            assert caller.send("POST", KEYS, wanted, once="k") == made
            caller.send("POST", KEYS, {**wanted, "valid_until": "2026-03-01T13:00:00Z"}, once="k")
            short = caller.send("POST", KEYS, {**wanted, "valid_until": "2026-03-01T13:00:00Z"})
            for _ in range(3):
                caller.send("GET", REQUESTS, key=made["key"])
            caller.side.advance(timedelta(hours=1))
            caller.send("GET", REQUESTS, key=short["key"])
            caller.send("DELETE", f"{KEYS}/{made['key_id']}", key=made["key"])
            caller.send("DELETE", f"{KEYS}/{made['key_id']}")
            caller.send("DELETE", f"{KEYS}/{made['key_id']}")
            caller.side.advance(timedelta(seconds=6))
            caller.send("GET", REQUESTS, key=made["key"])
            listed = caller.send("GET", KEYS)["keys"]
            caller.seen.pop()  # in the order of ids, which are drawn by lot
            caller.seen.append(sorted(str(sorted(each)) for each in listed))  # type: ignore[arg-type]
            caller.send("GET", KEYS, key=caller.side.platform_key, headers={"X-Tenant-ID": OTHER_TENANT})

        both.play(story)

    def test_every_form_of_a_key(self, both: Both) -> None:
        """A key is taken in each of the forms in which the families send it."""

        def story(caller: Caller) -> None:
            key = caller.side.key
            coded = base64.b64encode(f"{key}:".encode()).decode()
            key_id = key.split("_")[2]
            for headers in (
                {"Authorization": f"Basic {key}"},
                {"Authorization": f"Basic {coded}"},
                {"Authorization": f"bearer {key}"},
                {"x-velt-api-key": key_id, "x-velt-auth-token": key},
                {"x-velt-api-key": "a" * 16, "x-velt-auth-token": key},
            ):
                caller.send("GET", REQUESTS, key="", headers=headers)

        both.play(story)
