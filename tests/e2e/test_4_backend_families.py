"""Backends erase people of the deployed stack, each family as its own documentation says, with its own client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from velt_py import VeltSDK
from velt_py.models.gdpr import DeleteAllUserDataRequest, GetDeleteUserDataStatusRequest
from velt_py.services.api.base_api_service import BaseApiService

from erasure.domain.audit import broken_at
from erasure.domain.request import ErasureRequest
from local.inventory import SELF_DELETION, Snapshot, compare, take_snapshot
from local.sample import HEAVY, Group, Owner, Person, groups, organizations_of, people
from local.seeding import seed
from local.stack import Stack
from local.tokens import token
from tests.e2e import seed_examples as examples
from tests.e2e.calls import (
    Backend,
    Caller,
    audit_of,
    compare_each,
    request_of,
    wait_for,
    wait_until_finished,
)

pytestmark = pytest.mark.stack

EVERYTHING_BUT_RECORDS = frozenset({"account", "session", "credential", "preference", "membership", "content"})
VELT = frozenset({"membership", "content", "preference"})
ACCESS = frozenset({"account", "session", "credential"})


def reseed(stack: Stack) -> Snapshot:
    """Whatever tests before have erased is there again, but for the heavy person's; everything as it is now."""
    everybody: tuple[Owner, ...] = (*people(), *groups())
    seed(stack, of=[owner for owner in everybody if owner != HEAVY])
    return take_snapshot(stack, trust_etags_of=HEAVY)


def snapshot(stack: Stack) -> Snapshot:
    return take_snapshot(stack, trust_etags_of=HEAVY)


@pytest.fixture
def hellojohn_account(stack: Stack) -> None:
    """The account of the user of HelloJohn's examples, and a session."""
    tenant, user = examples.HELLOJOHN_TENANT, examples.HELLOJOHN_USER
    profile = {"pk": {"S": f"TENANT#{tenant}#USER#{user}"}, "sk": {"S": "PROFILE"}}
    session = {"session_id": {"S": "session-of-the-examples"}, "tenant_user": {"S": f"{tenant}#{user}"}}
    dynamodb = stack.client("dynamodb")
    dynamodb.put_item(TableName="app-accounts", Item=profile)
    dynamodb.put_item(TableName="app-sessions", Item=session)


def test_examples_of_hellojohn(stack: Stack, hellojohn_account: None) -> None:
    """Disable, delete, and the 404 from then on: the documentation's own commands, with only host and key changed."""
    backend = Backend(stack, examples.HELLOJOHN_TENANT)

    def run(example: str) -> examples.Answer:
        return examples.run_curl(example, stack.api_url, backend.key)

    disabled = run(examples.HELLOJOHN_DISABLE)
    assert (disabled.status, disabled.json()["status"]) == (200, "disabled")
    deleted = run(examples.HELLOJOHN_DELETE)
    assert (deleted.status, deleted.text) == (204, "")
    shown = run(examples.HELLOJOHN_DELETE.replace("-X DELETE", "-X GET"))
    assert shown.status == 404
    assert examples.HELLOJOHN_NOT_FOUND.items() <= shown.json().items()
    assert run(examples.HELLOJOHN_DELETE).status == 404
    wait_until_finished(stack, [deleted.headers["x-erasure-request-id"]])


def test_example_of_hellojohn_for_several_users(stack: Stack) -> None:
    """The users of the documentation's bulk example, deleted by one call; once more, and they are not there."""
    backend = Backend(stack, examples.HELLOJOHN_TENANT)
    body = {"user_ids": ["usr_bulk_example_1", examples.HELLOJOHN_SECOND_USER]}
    first = backend.accept("POST", "/v1/users/bulk-delete", 202, body).json()
    assert [result["status"] for result in first["results"]] == ["accepted", "accepted"]
    second = backend.accept("POST", "/v1/users/bulk-delete", 202, body).json()
    assert [result["status"] for result in second["results"]] == ["not_found", "not_found"]
    wait_until_finished(stack, [result["request_id"] for result in first["results"]])


@pytest.mark.parametrize("kind", ["user", "group"])
def test_examples_of_june(stack: Stack, kind: str) -> None:
    """A deletion request and every list, as in the documentation: the request is listed in its state, then finished."""
    backend = Backend(stack, f"june-examples-{kind}")
    create, lists = {
        "user": (examples.JUNE_USER_DELETION, examples.JUNE_USER_LISTS),
        "group": (examples.JUNE_GROUP_DELETION, examples.JUNE_GROUP_LISTS),
    }[kind]

    def run(example: str) -> Any:
        answer = examples.run_curl(example, stack.api_url, backend.key)
        assert answer.status == 200, answer.text
        return answer.json()

    everything, requested, first_page = lists
    assert [run(example)["data"] for example in lists] == [[], [], []]
    made = run(create)
    assert made[f"{kind}_id"] == "abcd-256"
    assert made["state"] in ("requested", "started", "finished")
    assert [request["id"] for request in run(everything)["data"]] == [made["id"]]
    assert [request["id"] for request in run(first_page)["data"]] == [made["id"]]
    wait_until_finished(stack, [made["id"]])
    assert run(requested)["data"] == []
    (finished,) = run(requested.replace("state=requested", "state=finished"))["data"]
    assert (finished["id"], finished["state"]) == (made["id"], "finished")


def test_example_of_velt(stack: Stack) -> None:
    """The documentation's headers and body, and the answer that it shows, with a job and tasks of ours."""
    backend = Backend(stack, "velt-examples")
    answer = examples.run_curl(examples.VELT_DELETE, stack.api_url, backend.key, {"<your-api-key>": backend.key_id})
    assert answer.status == 202
    data = answer.json()["data"]
    assert answer.json() == {
        "status": "success",
        "message": "Data deletion process has been initiated.",
        "data": {"jobId": data["jobId"], "tasksCount": data["tasksCount"]},
        "statusCode": 202,
    }
    assert data["tasksCount"] > 0

    def completed() -> bool:
        status = backend.accept("POST", "/v2/users/data/delete/status", 200, {"data": {"jobId": data["jobId"]}})
        return bool(status.json()["result"]["data"]["isDeleteCompleted"])

    wait_for(completed, "the job to be completed", seconds=120)


def test_examples_of_h2o(stack: Stack) -> None:
    """Request and confirm, as in the documentation: a delete id, then 204 without a body."""
    bearer = token("of-the-examples", "h2o-examples", stack=stack)
    requested = examples.run_curl(examples.H2O_REQUEST, stack.api_url, bearer)
    assert requested.status == 200
    delete_id = requested.json()["delete_id"]
    unknown = examples.run_curl(examples.H2O_CONFIRM, stack.api_url, bearer)
    assert unknown.status == 400
    confirmed = examples.run_curl(examples.H2O_CONFIRM, stack.api_url, bearer, {"abc123def456": delete_id})
    assert (confirmed.status, confirmed.text) == (204, "")


# The real client.


def velt_client(stack: Stack, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(BaseApiService, "VELT_API_BASE_URL", stack.api_url)
    return VeltSDK.initialize({"apiKey": backend.key_id, "authToken": backend.key}).api.gdpr


def wait_for_velt(client: Any, job_id: str) -> None:
    request = GetDeleteUserDataStatusRequest(jobId=job_id)

    def completed() -> bool:
        data = client.getDeleteUserDataStatus(request)["result"]["data"]
        assert data["isDeleteCompleted"] == (data["tasksLeft"] == 0)
        return bool(data["isDeleteCompleted"])

    wait_for(completed, "the client to hear that it is completed", seconds=150, every=0.5)


def test_velt_client_deletes_users_everywhere(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """velt-py deletes two users in all organizations: content, memberships, preferences and mentions by others are
    gone, account and records stay, nobody else changes."""
    users = [Person("acme", "annabel"), Person("acme", "张伟")]
    backend = Backend(stack, "acme", "erasure:write,erasure:read")
    before = reseed(stack)
    assert any(before.mentioning(user) for user in users)
    client = velt_client(stack, backend, monkeypatch)
    started = client.deleteAllUserData(DeleteAllUserDataRequest(userIds=[user.user for user in users]))
    assert (started["status"], started["statusCode"]) == ("success", 202)
    wait_for_velt(client, started["data"]["jobId"])
    after = snapshot(stack)
    for result in compare_each(before, after, users, VELT):
        assert result.clean, result
        assert result.erased
    assert sum(result.detached for result in compare_each(before, after, users, VELT)) > 0
    for user in users:
        assert after.of(user, ACCESS | {"record"}) == before.of(user, ACCESS | {"record"}) != []


def test_velt_client_deletes_users_in_some_organizations(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``organizationIds`` only what lies in those is gone; what is elsewhere, or in none, stays."""
    user = next(person for person in people() if person.tenant == "globex" and len(organizations_of(person)) == 2)
    inside, outside = organizations_of(user)
    backend = Backend(stack, "globex")
    before = reseed(stack)
    assert [thing for thing in before.of(user) if thing.organization == outside]
    client = velt_client(stack, backend, monkeypatch)
    request = DeleteAllUserDataRequest(userIds=[user.user], organizationIds=[inside])
    wait_for_velt(client, client.deleteAllUserData(request)["data"]["jobId"])
    result = compare(before, snapshot(stack), user, VELT, [inside])
    assert result.clean, result
    assert result.erased


# Namesakes.


def by_h2o(stack: Stack, person: Person) -> str:
    return Caller(stack, person).erase()


def by_hellojohn(stack: Stack, person: Person) -> str:
    backend = Backend(stack, person.tenant)
    return str(backend.accept("DELETE", backend.user(person.user), 204).headers["X-Erasure-Request-Id"])


def by_velt(stack: Stack, person: Person) -> str:
    backend = Backend(stack, person.tenant)
    backend.accept("POST", "/v2/users/data/delete", 202, {"data": {"userIds": [person.user]}})
    path = f"/v1/erasure-requests?subject_id={quote(person.user, safe='')}&limit=1"
    return str(backend.accept("GET", path, 200).json()["requests"][0]["id"])


def by_june(stack: Stack, person: Person) -> str:
    path = "/api/platform/data_management/user_deletion_request"
    return str(Backend(stack, person.tenant).accept("POST", path, 200, {"user_id": person.user}).json()["id"])


def natively(stack: Stack, person: Person) -> str:
    return str(Backend(stack, person.tenant).erase(person)["requests"][0]["request"]["id"])


FAMILIES: dict[str, tuple[Callable[[Stack, Person], str], frozenset[str] | None, str]] = {
    "h2o": (by_h2o, SELF_DELETION, "a+b"),
    "hellojohn": (by_hellojohn, EVERYTHING_BUT_RECORDS, "张伟"),
    "velt": (by_velt, VELT, "1"),
    "june": (by_june, None, "10"),
    "native": (natively, None, "anna"),
}
"""Family → how it erases, which categories (``None``: all), and a user id that several tenants have."""


@pytest.mark.parametrize("family", FAMILIES)
def test_namesake_of_another_tenant_is_not_touched(stack: Stack, family: str) -> None:
    """The same user id in two tenants: one is erased, the other's data, and all else, are byte for byte the same."""
    erase, categories, user_id = FAMILIES[family]
    person, *namesakes = [person for person in people() if person.user == user_id]
    assert namesakes
    before = reseed(stack)
    (request,) = wait_until_finished(stack, [erase(stack, person)])
    after = snapshot(stack)
    result = compare(before, after, person, categories)
    assert result.clean, result
    for namesake in namesakes:
        assert after.of(namesake) == before.of(namesake) != []
    assert _counted(request, "erased") == result.erased
    assert _counted(request, "detached") == result.detached
    assert broken_at(audit_of(stack).entries(request.request_id)) is None


def _counted(request: ErasureRequest, outcome: str) -> int:
    return sum(entry.count for entry in request.outcomes if entry.outcome == outcome)


def test_group_goes_and_its_namesakes_stay(stack: Stack) -> None:
    """June's group request erases the group's items and objects; the person and the groups of that name stay."""
    group, person = Group("acme", "editors"), Person("acme-labs", "ann")
    namesake = Group("globex", "editors")
    before = reseed(stack)
    backend = Backend(stack, group.tenant)
    path = "/api/platform/data_management/group_deletion_request"
    request_id = backend.accept("POST", path, 200, {"group_id": group.group}).json()["id"]
    wait_until_finished(stack, [request_id])
    after = snapshot(stack)
    result = compare(before, after, group, None)
    assert result.clean, result
    assert result.erased == len(before.of(group)) > 0
    owners: tuple[Owner, ...] = (namesake, person)
    for owner in owners:
        assert after.of(owner) == before.of(owner) != []


# HelloJohn: what a 204 promises.


def test_deleted_user_is_gone_at_once_and_the_rest_follows(stack: Stack) -> None:
    """At the 204 account, sessions and credentials are gone while content waits for its batch, and GET says 404 from
    then on; in the end all is gone but records."""
    person = Person("acme-labs", "USER#ann")
    backend = Backend(stack, person.tenant)
    before = reseed(stack)
    path = backend.user(person.user)
    assert backend.accept("GET", path, 200).json() == {"id": person.user, "status": "active"}
    request_id = backend.accept("DELETE", path, 204).headers["X-Erasure-Request-Id"]
    at_once = snapshot(stack)
    assert backend.call("GET", path).status_code == 404
    assert at_once.of(person, ACCESS) == []
    assert at_once.of(person, {"content"}), "nothing was left to wait for: the test would prove nothing"
    assert request_of(stack, request_id).state == "started"
    assert backend.call("DELETE", path).status_code == 404
    wait_until_finished(stack, [request_id])
    assert backend.call("GET", path).status_code == 404
    result = compare(before, snapshot(stack), person, EVERYTHING_BUT_RECORDS)
    assert result.clean, result


@pytest.fixture
def broken_sessions(stack: Stack) -> Iterator[Callable[[], None]]:
    """The eraser may not reach the sessions; call it to mend that."""
    client: Any = stack.client
    iam, functions = client("iam"), client("lambda")
    function = functions.get_function_configuration(FunctionName=stack["ERASE_DYNAMODB_FUNCTION_NAME"])
    role = {"RoleName": function["Role"].rpartition("/")[2], "PolicyName": "no-sessions"}
    tables = "arn:aws:dynamodb:*:*:table/app-sessions"
    denied = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": [tables, f"{tables}/*"]}
    iam.put_role_policy(**role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    is_broken = True

    def mend() -> None:
        nonlocal is_broken
        if is_broken:
            iam.delete_role_policy(**role)
            is_broken = False

    yield mend
    mend()


def test_user_stays_deleted_while_an_eraser_fails(stack: Stack, broken_sessions: Callable[[], None]) -> None:
    """Sessions cannot be erased: no 204, and GET says 404 all the same. Once mended, the same call takes the same
    request up again and succeeds, and then the rest goes as well."""
    person = Person("globex", "auth0|5f7c8ec7")
    backend = Backend(stack, person.tenant)
    before = reseed(stack)
    path = backend.user(person.user)
    refused = backend.accept("DELETE", path, 500)
    request_id = refused.headers["X-Erasure-Request-Id"]
    assert person.user not in refused.text
    assert backend.call("GET", path).status_code == 404
    assert snapshot(stack).of(person, {"session"}) == before.of(person, {"session"}) != []
    broken_sessions()

    def deleted() -> bool:
        answer = backend.call("DELETE", path)
        assert answer.status_code in (204, 500), answer.text
        assert answer.headers["X-Erasure-Request-Id"] == request_id
        return answer.status_code == 204

    wait_for(deleted, "the repeated call to succeed", seconds=60, every=1)
    assert snapshot(stack).of(person, ACCESS) == []
    assert backend.call("GET", path).status_code == 404
    wait_for(lambda: request_of(stack, request_id).state == "finished", "the request to finish", seconds=120)
    result = compare(before, snapshot(stack), person, EVERYTHING_BUT_RECORDS)
    assert result.clean, result
    assert broken_at(audit_of(stack).entries(request_id)) is None


# Requests that wait.


def test_request_waits_for_its_time_and_is_released(stack: Stack) -> None:
    """With ``not_before`` nothing is touched until then; the sweep releases what is due and leaves what is not."""
    person, later = Person("globex", "true"), Person("globex", "?x=1&y=2")
    backend = Backend(stack, person.tenant)
    before = reseed(stack)
    client: Any = stack.client
    functions = client("lambda")

    def sweep() -> None:
        result = functions.invoke(FunctionName=stack["RETENTION_SWEEP_FUNCTION_NAME"], Payload=b"{}")
        assert "FunctionError" not in result

    far = backend.erase(later, not_before="2030-01-01T00:00:00Z")["requests"][0]["request"]
    due = backend.erase(person, not_before=_in_seconds(4))["requests"][0]["request"]
    assert snapshot(stack).of(person) == before.of(person)

    def released() -> bool:
        sweep()
        request = request_of(stack, due["id"])
        if request.started_at is not None:
            assert request.not_before is not None
            assert request.started_at >= request.not_before
        return request.state != "requested"

    wait_for(released, "the request to be released", seconds=60, every=1)
    wait_until_finished(stack, [due["id"]])
    result = compare(before, snapshot(stack), person, None)
    assert result.clean, result
    assert request_of(stack, far["id"]).state == "requested"
    cancelled = backend.accept("POST", f"/v1/erasure-requests/{far['id']}/cancel", 200)
    assert cancelled.json()["state"] == "cancelled"


def _in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
