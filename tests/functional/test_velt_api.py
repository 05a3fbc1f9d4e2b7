"""The Velt family over the API: its documented bodies, the scope by organization, and every status in its envelope."""

from __future__ import annotations

from typing import Any

import pytest

from erasure.domain.identifiers import is_batch_id, new_batch_id
from erasure.domain.times import milliseconds
from erasure.targets.protocol import SliceResult
from tests.functional.backend_calls import BackendApi, Reply, body_of, header_of
from tests.functional.backend_world import OTHER_TENANT, BackendWorld, a_map, table

USERS = ["yourUserId1", "yourUserId2"]
ORGANIZATIONS = ["yourOrganizationId1", "yourOrganizationId2"]
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
}


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def delete(api: BackendApi, data: object = None, **more: Any) -> Reply:
    body = {"data": {"userIds": USERS} if data is None else data}
    return api.call("POST", "/v2/users/data/delete", body, **more)


def status(api: BackendApi, job_id: object, **more: Any) -> Reply:
    return api.call("POST", "/v2/users/data/delete/status", {"data": {"jobId": job_id}}, **more)


def job_of(reply: Reply) -> str:
    return str(body_of(reply)["data"]["jobId"])


def progress(api: BackendApi, job_id: str) -> dict[str, Any]:
    result: dict[str, Any] = body_of(status(api, job_id))["result"]
    assert result["status"] == "success"
    assert result["message"]
    data: dict[str, Any] = result["data"]
    return data


def check_error(reply: Reply, code: int) -> str:
    """The envelope: message, status and code; returns the message."""
    body = body_of(reply)
    assert reply["statusCode"] == code
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "status", "code"}
    assert (body["error"]["status"], body["error"]["code"]) == (STATUSES[code], code)
    assert body["error"]["message"]
    return str(body["error"]["message"])


class TestDelete:
    def test_the_documented_call(self, api: BackendApi) -> None:
        """The documented body, with ``x-velt`` headers, gets the documented answer."""
        headers = {"x-velt-api-key": api.key.split("_")[2], "x-velt-auth-token": api.key}
        reply = delete(api, {"userIds": USERS, "organizationIds": ORGANIZATIONS}, key="", headers=headers)
        assert reply["statusCode"] == 202
        body = body_of(reply)
        job_id = body["data"]["jobId"]
        assert is_batch_id(job_id)
        assert body == {
            "status": "success",
            "message": "Data deletion process has been initiated.",
            # Two users, and of their targets the one that names the organization.
            "data": {"jobId": job_id, "tasksCount": 2},
            "statusCode": 202,
        }
        assert header_of(reply, "X-Erasure-Request-Id") == job_id
        organizations = {request.organization_ids for request in api.world.requests.records.values()}
        assert organizations == {tuple(ORGANIZATIONS)}

    def test_without_organizations_it_is_all_of_them(self, api: BackendApi) -> None:
        """What the family erases goes in all organizations; account and sessions stay."""
        subjects = [api.world.put_user(user_id) for user_id in USERS]
        reply = delete(api)
        # Two users with memberships and files each.
        assert body_of(reply)["data"]["tasksCount"] == 4
        api.world.run_batch()
        for subject in subjects:
            assert api.world.left(subject) == {"accounts", "sessions", "mfa-factors", "audit-events"}

    def test_organizations_bound_what_is_erased(self, api: BackendApi) -> None:
        """Only what lies within the organizations named goes."""
        files = next(spec for spec in api.world.maps.maps[-1].targets if spec.name == "files")
        places = {}
        for organization_id in ("o1", "o2", "o3"):
            values = {"tenant_id": api.world.put_user(USERS[0]).tenant_id, "user_id": USERS[0]}
            places[organization_id] = {**values, "organization_id": organization_id}
            api.world.target.put(files, places[organization_id], 1)
        delete(api, {"userIds": USERS[:1], "organizationIds": ["o1", "o2", "o1"]})
        api.world.run_batch()
        held = {
            organization_id
            for organization_id, values in places.items()
            if any(values["organization_id"] in key for key in api.world.target.things)
        }
        assert held == {"o3"}
        assert api.world.only_request().organization_ids == ("o1", "o2")

    def test_duplicates_count_once(self, api: BackendApi) -> None:
        """The same user twice is one request."""
        assert body_of(delete(api, {"userIds": ["ann", "ann", "ben"]}))["data"]["tasksCount"] == 4
        assert len(api.world.requests.records) == 2

    def test_what_users_and_organizations_come_to(self, api: BackendApi) -> None:
        """Each user's request keeps the organizations: together they are bounded, and the whole call is refused."""
        ids = [f"user-{number}" for number in range(1000)]
        organizations = [f"{number:02}" + "o" * 41 for number in range(50)]
        assert check_error(delete(api, {"userIds": ids, "organizationIds": organizations}), 400) == (
            "data.organizationIds: must not be longer than 2097 bytes together for so many subjects"
        )
        assert api.world.requests.records == {}
        assert delete(api, {"userIds": ids[:900], "organizationIds": organizations})["statusCode"] == 202

    def test_a_thousand_and_one_more(self, api: BackendApi) -> None:
        """1,000 users are accepted, 1,001 are refused whole with the limit."""
        ids = [f"user-{number}" for number in range(1001)]
        assert check_error(delete(api, {"userIds": ids}), 400) == (
            "data.userIds: must not name more than 1000 different ones"
        )
        assert api.world.requests.records == {}
        assert body_of(delete(api, {"userIds": ids[:1000]}))["data"]["tasksCount"] == 2000

    def test_too_many_organizations(self, api: BackendApi) -> None:
        """More organizations than a request may name are refused."""
        message = check_error(delete(api, {"userIds": USERS, "organizationIds": [f"o{n}" for n in range(51)]}), 400)
        assert message == "data.organizationIds: must not name more than 50 different ones"

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ([], "data: must be an object"),
            ("x", "data: must be an object"),
            ({}, "data.userIds: must be a list of texts"),
            ({"userIds": "ann"}, "data.userIds: must be a list of texts"),
            ({"userIds": []}, "data.userIds: must not be empty"),
            ({"userIds": ["a", "b", "c", 4]}, "data.userIds[3]: must be text"),
            ({"userIds": ["a", None]}, "data.userIds[1]: must be text"),
            ({"userIds": ["u" * 257]}, "data.userIds[0]: must have 1 to 256 characters"),
            ({"userIds": ["a"], "organizationIds": []}, "data.organizationIds: must not be empty"),
            ({"userIds": ["a"], "organizationIds": "o"}, "data.organizationIds: must be a list of texts"),
            ({"userIds": ["a"], "organizationIds": [""]}, "data.organizationIds[0]: must have 1 to 256 characters"),
        ],
    )
    def test_wrong_values(self, api: BackendApi, data: object, message: str) -> None:
        """The message names the place and the rule; nothing is written. An empty list of organizations never comes to
        mean all of them."""
        assert check_error(delete(api, data), 400) == message
        assert api.world.requests.records == {}

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"data": 1}'])
    def test_wrong_bodies(self, api: BackendApi, text: str) -> None:
        """What is no JSON object with ``data`` is an invalid argument, on both paths."""
        for path in ("/v2/users/data/delete", "/v2/users/data/delete/status"):
            check_error(api.call("POST", path, text), 400)

    def test_one_unsafe_id_refuses_the_whole_call(self, api: BackendApi) -> None:
        """The id that would reach into another person's files is named by its place, and nobody is erased."""
        message = check_error(delete(api, {"userIds": ["a", "b", "c", "d/e"]}), 400)
        assert message.startswith("data.userIds[3]: ")
        assert api.world.requests.records == {}

    def test_ids_of_256_characters(self, api: BackendApi) -> None:
        """The longest ids are taken."""
        assert delete(api, {"userIds": ["ü" * 256]})["statusCode"] == 202

    def test_a_key_gives_the_first_answer(self, api: BackendApi) -> None:
        """The same idempotency key gives the same job; with another body it is a conflict."""
        headers = {"Idempotency-Key": "k-1"}
        first, again = (delete(api, headers=headers) for _ in range(2))
        assert first["body"] == again["body"]
        assert len(api.world.requests.records) == 2
        check_error(delete(api, {"userIds": ["another"]}, headers=headers), 409)

    def test_two_tenants_with_equal_ids(self, api: BackendApi) -> None:
        """One tenant's call leaves the other tenant's users of the same ids untouched."""
        others = [api.world.put_user(user_id, OTHER_TENANT) for user_id in USERS]
        before = [api.world.left(other) for other in others]
        delete(api)
        api.world.run_batch()
        assert [api.world.left(other) for other in others] == before


class TestStatus:
    def test_before_and_after(self, api: BackendApi) -> None:
        """While it waits all tasks are left; afterwards none, with the moment at which the last was done."""
        job_id = job_of(delete(api))
        assert progress(api, job_id) == {"isDeleteCompleted": False, "tasksLeft": 4}
        api.world.clock.advance(60)
        api.world.run_batch()
        assert progress(api, job_id) == {
            "isDeleteCompleted": True,
            "tasksLeft": 0,
            "lastTaskCompletedTime": milliseconds(api.world.clock()),
        }

    def test_a_failure_is_never_completed(self, api: BackendApi) -> None:
        """With one user's data left it is not completed and a task is left; the message says that somebody knows."""
        denied = SliceResult(0, done=False, problem="access_denied", permanent=True)
        api.world.target.always[f"memberships@{USERS[0]}"] = denied
        job_id = job_of(delete(api))
        api.world.run_batch()
        data = progress(api, job_id)
        assert data["isDeleteCompleted"] is False
        assert data["tasksLeft"] >= 1
        assert "operators" in body_of(status(api, job_id))["result"]["message"]

    def test_a_single_user_has_a_job_too(self, api: BackendApi) -> None:
        """A call for one user can be asked about as well."""
        job_id = job_of(delete(api, {"userIds": USERS[:1]}))
        assert progress(api, job_id)["tasksLeft"] == 2

    @pytest.mark.parametrize("job_id", ["dsQuvPmIynANgPLLEhCm", "", "eb_", "eb_" + "0" * 25 + "1"])
    def test_unknown_jobs(self, api: BackendApi, job_id: str) -> None:
        """What is no job of ours is not found."""
        check_error(status(api, job_id), 404)

    def test_another_tenants_job_is_an_unknown_one(self, api: BackendApi) -> None:
        """A tenant cannot see that another one's job exists."""
        job_id = job_of(delete(api))
        others_key = api.make_key(OTHER_TENANT)
        theirs, nobodys = status(api, job_id, key=others_key), status(api, new_batch_id(0), key=others_key)
        assert check_error(theirs, 404) == check_error(nobodys, 404)

    @pytest.mark.parametrize("job_id", [None, 7, ["x"]])
    def test_a_job_id_is_text(self, api: BackendApi, job_id: object) -> None:
        """Anything else is an invalid argument."""
        assert check_error(status(api, job_id), 400) == "data.jobId: must be text"


class TestRefusals:
    def test_keys(self, api: BackendApi) -> None:
        """No key, half a key, a wrong one, one without the scope, another tenant's."""
        key_id = api.key.split("_")[2]
        for headers in (
            {},
            {"x-velt-api-key": key_id},
            {"x-velt-api-key": "another", "x-velt-auth-token": api.key},
            {"x-velt-api-key": key_id, "x-velt-auth-token": "x"},
        ):
            check_error(delete(api, headers=headers, key=""), 401)
        reader = api.make_key(scopes=["erasure:read"])
        check_error(delete(api, key=reader), 403)
        check_error(delete(api, headers={"X-Tenant-ID": OTHER_TENANT}), 403)
        assert api.world.requests.records == {}

    def test_too_many_calls(self) -> None:
        """429 with ``Retry-After``."""
        api = BackendApi(calls_per_minute=1)
        delete(api)
        reply = delete(api)
        check_error(reply, 429)
        assert header_of(reply, "Retry-After")

    def test_what_cannot_be_accepted_is_internal(self, api: BackendApi) -> None:
        """When the call cannot be queued nothing is promised."""
        api.world.queue.down = True
        check_error(delete(api), 500)
        assert {request.state for request in api.world.requests.records.values()} == {"cancelled"}

    def test_organizations_that_no_target_names(self) -> None:
        """Where no target can be limited to organizations, a limited call is refused: it would erase nothing."""
        api = BackendApi(BackendWorld(a_map([table("memberships", "membership")])))
        check_error(delete(api, {"userIds": USERS, "organizationIds": ORGANIZATIONS}), 400)
        assert api.world.requests.records == {}
