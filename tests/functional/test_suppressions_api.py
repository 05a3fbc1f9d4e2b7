"""The suppression list over the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import format_time
from erasure.ports import Suppression
from tests.functional.backend_calls import BackendApi, Reply, body_of
from tests.functional.backend_world import KEY, OTHER_TENANT, TENANT, USER
from tests.functional.native_calls import check_problem, check_rule

PATH = "/v1/suppressions"
METHODS = ("GET", "DELETE")


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def suppress(api: BackendApi, subject_id: str = USER, kind: str = "user", **more: Any) -> str:
    """What is deleted over the June family is suppressed. Returns the request's id."""
    path = f"/api/platform/data_management/{kind}_deletion_request"
    request_id: str = body_of(api.call("POST", path, {f"{kind}_id": subject_id}, **more))["id"]
    return request_id


def ask(api: BackendApi, subject_id: str = USER, query: str = "", *, method: str = "GET", **more: Any) -> Reply:
    return api.call(method, f"{PATH}/{quote(subject_id, safe='')}{query}", **more)


class TestOneSubject:
    def test_on_the_list(self, api: BackendApi) -> None:
        """200 since when and by which request, without the id."""
        request_id = suppress(api)
        reply = ask(api)
        assert (reply["statusCode"], body_of(reply)) == (
            200,
            {
                "subject_digest": subject_digest(KEY, Subject(TENANT, USER)),
                "subject_type": "user",
                "suppressed_at": format_time(api.world.clock()),
                "request_id": request_id,
            },
        )

    def test_not_on_the_list(self, api: BackendApi) -> None:
        """Another id, another type and another tenant's entry: the same 404, read or deleted."""
        suppress(api)
        others_key = api.make_key(OTHER_TENANT)
        for method in METHODS:
            replies = [
                ask(api, USER.lower(), method=method),
                ask(api, f"{USER} ", method=method),
                ask(api, USER, "?type=group", method=method),
                ask(api, method=method, key=others_key),
            ]
            for reply in replies:
                check_problem(reply, 404, "resource_not_found")
            assert len({reply["body"] for reply in replies}) == 1
        assert ask(api)["statusCode"] == 200

    @pytest.mark.parametrize("subject_id", ["a/b", "..", "%2F", "ü 😀", "*", "a?b=c", "a+b"])
    def test_ids_in_paths_are_decoded_once(self, api: BackendApi, subject_id: str) -> None:
        """An id is compared byte for byte, whatever a path makes of its characters."""
        digest = subject_digest(KEY, Subject(TENANT, subject_id))
        suppressed = api.world.registry.suppressed
        suppressed[TENANT, digest] = Suppression(digest, "user", api.world.clock(), "er_1")
        assert ask(api, subject_id)["statusCode"] == 200
        assert ask(api, subject_id, method="DELETE")["statusCode"] == 204
        assert suppressed == {}

    def test_groups(self, api: BackendApi) -> None:
        """A group of the same id has an entry of its own."""
        suppress(api, kind="group")
        check_problem(ask(api), 404, "resource_not_found")
        assert body_of(ask(api, query="?type=group"))["subject_type"] == "group"

    def test_a_misspelt_type_takes_nobody_off(self, api: BackendApi) -> None:
        """It would be the user of that id, where the group was meant."""
        suppress(api)
        for query in ("?typ=group", "?type=user&Type=group"):
            check_problem(ask(api, query=query, method="DELETE"), 400, "invalid_request")
        assert ask(api)["statusCode"] == 200

    def test_taken_off(self, api: BackendApi) -> None:
        """204, and then it is not on the list any more; a repeated call with the same key is answered alike."""
        suppress(api)
        headers = {"Idempotency-Key": "k"}
        for _ in range(2):
            reply = ask(api, method="DELETE", headers=headers)
            assert (reply["statusCode"], reply["body"]) == (204, "")
        check_problem(ask(api), 404, "resource_not_found")
        check_problem(ask(api, method="DELETE"), 404, "resource_not_found")
        check_problem(ask(api, "another", method="DELETE", headers=headers), 409, "conflict")

    def test_a_repeated_call_takes_nothing_off_again(self, api: BackendApi) -> None:
        """Suppressed anew in between, the subject stays on the list."""
        suppress(api)
        headers = {"Idempotency-Key": "k"}
        ask(api, method="DELETE", headers=headers)
        api.world.run_batch()
        suppress(api)
        assert ask(api, method="DELETE", headers=headers)["statusCode"] == 204
        assert ask(api)["statusCode"] == 200

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize(
        ("subject_id", "query", "field"),
        [
            ("u" * 257, "", "subject_id"),
            (" ", "", "subject_id"),
            ("a\x00b", "", "subject_id"),
            ("a", "?type=", "type"),
            ("a", "?type=User", "type"),
        ],
    )
    def test_rules(self, api: BackendApi, method: str, subject_id: str, query: str, field: str) -> None:
        """400 with the field's name."""
        check_rule(ask(api, subject_id, query, method=method), field, "must")


class TestList:
    def test_pages_follow_each_other(self, api: BackendApi) -> None:
        """All of the tenant's entries once, in the order of their digests, and no cursor behind the last one."""
        for number in range(7):
            suppress(api, f"user-{number}")
        suppress(api, "theirs", key=api.make_key(OTHER_TENANT))
        seen: list[str] = []
        cursor, pages = "", 0
        while cursor is not None:
            page = body_of(api.call("GET", f"{PATH}?limit=3{cursor and '&cursor=' + cursor}"))
            seen += [entry["subject_digest"] for entry in page["suppressions"]]
            cursor, pages = page.get("cursor"), pages + 1
        own = sorted(subject_digest(KEY, Subject(TENANT, f"user-{number}")) for number in range(7))
        assert (seen, pages) == (own, 3)

    def test_an_empty_list(self, api: BackendApi) -> None:
        """Nothing, and no cursor."""
        assert body_of(api.call("GET", PATH)) == {"suppressions": []}

    @pytest.mark.parametrize(
        ("query", "field"),
        [("limit=0", "limit"), ("limit=101", "limit"), ("cursor=", "cursor"), ("cursor=x", "cursor")],
    )
    def test_rules(self, api: BackendApi, query: str, field: str) -> None:
        """400 with the parameter's name."""
        check_rule(api.call("GET", f"{PATH}?{query}"), field, "must")


def test_scopes(api: BackendApi) -> None:
    """Who may read may take nobody off, and the other way round."""
    suppress(api)
    reader, writer = api.make_key(scopes=["erasure:read"]), api.make_key(scopes=["erasure:write"])
    for reply in (ask(api, method="DELETE", key=reader), ask(api, key=writer), api.call("GET", PATH, key=writer)):
        check_problem(reply, 403, "insufficient_permissions")
    assert ask(api, key=reader)["statusCode"] == 200
    assert ask(api, method="DELETE", key=writer)["statusCode"] == 204
