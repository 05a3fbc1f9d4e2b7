"""The real ``h2ogpte`` clients, sync and async, work against this service unchanged."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urljoin

import httpx
import pytest
from h2ogpte import H2OGPTE, H2OGPTEAsync
from h2ogpte.errors import FailedError, HTTPError, InternalServerError, InvalidArgumentError, UnauthorizedError

from tests.client.deployments import Deployed, Deployment, InProcess, in_process


class Client(Protocol):
    """What the tests use of either client, with the client's own methods and exceptions behind it."""

    def __init__(self, address: str, api_key: str) -> None: ...

    def request(self) -> str: ...

    def confirm(self, delete_id: str, timeout: float | None = None) -> None: ...

    def version(self) -> str: ...


class SyncClient:
    def __init__(self, address: str, api_key: str) -> None:
        self._address, self._key = address, api_key

    def _client(self) -> H2OGPTE:
        return H2OGPTE(address=self._address, api_key=self._key, strict_version_check=True)

    def request(self) -> str:
        return str(self._client().request_current_user_deletion())

    def confirm(self, delete_id: str, timeout: float | None = None) -> None:
        assert self._client().confirm_current_user_deletion(delete_id=delete_id, timeout=timeout) is None

    def version(self) -> str:
        return str(self._client().get_meta().version)


class AsyncClient:
    def __init__(self, address: str, api_key: str) -> None:
        self._address, self._key = address, api_key

    def request(self) -> str:
        async def call() -> str:
            async with H2OGPTEAsync(self._address, api_key=self._key, strict_version_check=True) as client:
                return str(await client.request_current_user_deletion())

        return asyncio.run(call())

    def confirm(self, delete_id: str, timeout: float | None = None) -> None:
        async def call() -> None:
            async with H2OGPTEAsync(self._address, api_key=self._key, strict_version_check=True) as client:
                assert await client.confirm_current_user_deletion(delete_id=delete_id, timeout=timeout) is None

        asyncio.run(call())

    def version(self) -> str:
        async def call() -> str:
            async with H2OGPTEAsync(self._address, api_key=self._key) as client:
                return str((await client.get_meta()).version)

        return asyncio.run(call())


@pytest.fixture(params=[SyncClient, AsyncClient], ids=["sync", "async"])
def client(request: pytest.FixtureRequest) -> type[Client]:
    kind: type[Client] = request.param
    return kind


@pytest.fixture(params=["in-process", pytest.param("stack", marks=pytest.mark.stack)])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Every test that asks for it runs in this process and on the deployed stack."""
    if request.param == "stack":
        yield Deployed(request.getfixturevalue("stack"))
    else:
        with in_process() as running:
            yield running


@pytest.fixture
def local() -> Iterator[InProcess]:
    with in_process() as running:
        yield running


def person() -> str:
    """Somebody new, of whom there is no data: what is tested here is the conversation."""
    return f"person-{uuid.uuid4().hex}"


# ---------------------------------------------------------------- both calls


def test_both_calls(deployment: Deployment, client: type[Client]) -> None:
    """Request, then confirm: a delete id, then nothing, which is the client's success."""
    caller = client(deployment.url, deployment.token(person()))
    caller.confirm(caller.request())


def test_both_calls_below_a_path(client: type[Client]) -> None:
    """An address with a path, as a custom domain's base path gives it."""
    with in_process("/privacy/v2") as running:
        caller = client(running.url, running.token(person()))
        caller.confirm(caller.request())


def test_a_timeout_of_the_caller(deployment: Deployment, client: type[Client]) -> None:
    """The client sends it as a float."""
    caller = client(deployment.url, deployment.token(person()))
    caller.confirm(caller.request(), timeout=20.5)


def test_the_handshake_satisfies_the_strictest_client(deployment: Deployment, client: type[Client]) -> None:
    """With the strict version check, any version but its own would raise."""
    import h2ogpte

    assert client(deployment.url, deployment.token(person())).version() == h2ogpte.__version__


def test_an_address_may_end_in_a_slash(deployment: Deployment, client: type[Client]) -> None:
    """People copy it like that."""
    assert client(f"{deployment.url}/", deployment.token(person())).request()


# ---------------------------------------------------------------- refusals


def test_an_unknown_id_is_an_invalid_argument(deployment: Deployment, client: type[Client]) -> None:
    """Of the right form, but never handed out."""
    caller = client(deployment.url, deployment.token(person()))
    with pytest.raises(InvalidArgumentError) as caught:
        caller.confirm("nCqv0tIhRpeTqN6N1dZ5m3b8w2y4x6z7A9B1C3D5E7F")
    assert caught.value.message


@pytest.mark.parametrize("delete_id", ["", " ", "*", "../", "x" * 5000, "\x00", "ünïcödé-🧑‍🚀"])
def test_a_malformed_id_is_an_invalid_argument(deployment: Deployment, client: type[Client], delete_id: str) -> None:
    """Whatever was typed in."""
    with pytest.raises(InvalidArgumentError):
        client(deployment.url, deployment.token(person())).confirm(delete_id)


def test_somebody_elses_id_is_an_invalid_argument(deployment: Deployment, client: type[Client]) -> None:
    """And stays good for the one whose it is."""
    owner = client(deployment.url, deployment.token(person()))
    delete_id = owner.request()
    with pytest.raises(InvalidArgumentError):
        client(deployment.url, deployment.token(person())).confirm(delete_id)
    owner.confirm(delete_id)


def test_the_same_person_of_another_tenant_is_somebody_else(deployment: Deployment, client: type[Client]) -> None:
    """A delete id is bound to tenant and user."""
    name = person()
    delete_id = client(deployment.url, deployment.token(name)).request()
    with pytest.raises(InvalidArgumentError):
        client(deployment.url, deployment.token(name, tenant="another-tenant")).confirm(delete_id)


def test_a_reused_id_is_an_invalid_argument(deployment: Deployment, client: type[Client]) -> None:
    """Single use."""
    caller = client(deployment.url, deployment.token(person()))
    delete_id = caller.request()
    caller.confirm(delete_id)
    with pytest.raises(InvalidArgumentError):
        caller.confirm(delete_id)


def test_an_expired_id_is_an_invalid_argument(deployment: Deployment, client: type[Client]) -> None:
    """After five minutes."""
    caller = client(deployment.url, deployment.token(person()))
    delete_id = caller.request()
    deployment.expire(delete_id)
    with pytest.raises(InvalidArgumentError):
        caller.confirm(delete_id)


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), float("inf")])
def test_a_bad_timeout_is_an_invalid_argument(deployment: Deployment, client: type[Client], timeout: float) -> None:
    """And leaves the id as it is."""
    caller = client(deployment.url, deployment.token(person()))
    delete_id = caller.request()
    with pytest.raises(InvalidArgumentError):
        caller.confirm(delete_id, timeout=timeout)
    caller.confirm(delete_id)


@pytest.mark.parametrize("token", ["sk-not-a-jwt", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_a_bad_token_is_unauthorized(deployment: Deployment, client: type[Client], token: str) -> None:
    """What an api_key of the original system would look like, and what is a JWT in form only."""
    with pytest.raises(UnauthorizedError):
        client(deployment.url, token).request()


@pytest.mark.parametrize("claims", [{"exp": 1}, {"iss": "https://other.example"}, {"aud": "other"}])
def test_a_token_that_does_not_hold_is_unauthorized(
    deployment: Deployment, client: type[Client], claims: dict[str, Any]
) -> None:
    """Expired, of a foreign issuer, for another audience: all with a good signature."""
    with pytest.raises(UnauthorizedError):
        client(deployment.url, deployment.token(person(), **claims)).request()


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic x"])
def test_a_missing_token_is_unauthorized(deployment: Deployment, authorization: str | None) -> None:
    """The clients always send one, so this is bare HTTP: 401 and the envelope they expect."""
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = httpx.delete(f"{deployment.url}/api/v1/users/current", headers=headers, timeout=30)
    assert reply.status_code == 401
    assert reply.json().keys() == {"code", "message"}
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert reply.headers["X-Request-Id"]


# ---------------------------------------------------------------- on the wire


def test_status_url_leads_to_the_request(deployment: Deployment) -> None:
    """Joined to the URL of the confirmation, as URLs are: what the API is mounted below does not matter."""
    if isinstance(deployment, InProcess):
        deployment.service.state = "started"
    follow_status_url(deployment)


def test_status_url_leads_to_the_request_below_a_path() -> None:
    """A base path of a custom domain stays in it."""
    with in_process("/privacy/v2") as running:
        running.service.state = "started"
        follow_status_url(running)


def follow_status_url(deployment: Deployment) -> None:
    headers = {"Authorization": f"Bearer {deployment.token(person())}"}
    with httpx.Client(base_url=deployment.url, headers=headers, timeout=60) as http:
        delete_id = http.delete("/users/current").json()["delete_id"]
        reply = http.post("/users/current/confirm-delete", params={"timeout": 0}, json={"delete_id": delete_id})
        assert reply.status_code == 202
        shown = http.get(urljoin(str(reply.url), reply.json()["status_url"]))
    assert shown.status_code == 200
    assert shown.json()["request_id"] == reply.json()["request_id"] == reply.headers["X-Erasure-Request-Id"]


def test_what_could_not_be_erased_is_no_success_to_the_client(local: InProcess, client: type[Client]) -> None:
    """It would take any 2xx for one."""
    caller = client(local.url, local.token(person()))
    local.service.state, local.service.attention = "started", True
    with pytest.raises(InternalServerError):
        caller.confirm(caller.request())


def test_what_is_not_carried_out_is_no_success_to_the_client(local: InProcess, client: type[Client]) -> None:
    """A request under a legal hold; the two clients have their own exceptions for it."""
    caller = client(local.url, local.token(person()))
    local.service.state = "held"
    with pytest.raises((FailedError, HTTPError)):
        caller.confirm(caller.request())


def test_exactly_the_one_who_confirmed_is_erased(local: InProcess, client: type[Client]) -> None:
    """Of several people who asked, one confirms."""
    names = [person() for _ in range(3)]
    callers = [client(local.url, local.token(name)) for name in names]
    ids = [caller.request() for caller in callers]
    callers[1].confirm(ids[1])
    assert [subject.id for subject in local.service.erased] == [names[1]]
