"""How a client is made."""

from __future__ import annotations

import math
from typing import Any

import pytest

from erasure_client import AsyncErasureClient, ErasureClient
from erasure_client._settings import Settings, make_settings
from erasure_client._wire import Call
from erasure_client.errors import ConfigurationError

URL = "https://erasure.example.com/prod"
CALL = Call("GET", "/v1/sla", "GET /v1/sla")
FULL = {"ERASURE_URL": "https://env.example", "ERASURE_API_KEY": "sk_of_env", "ERASURE_TENANT": "of-env"}


def made(url: str | None = URL, environment: dict[str, str] | None = None, **given: Any) -> Settings:
    options: dict[str, Any] = {"api_key": None, "token": None, "tenant_id": None, "timeout": 30.0, **given}
    return make_settings(url, environment=environment or {}, **options)


def test_what_is_given_comes_first() -> None:
    """Arguments come before the environment, each for itself."""
    settings = made(URL, FULL, api_key="sk_given", tenant_id="given")
    assert settings.base_url == URL
    headers = settings.headers(CALL)
    assert (headers["Authorization"], headers["X-Tenant-ID"]) == ("Bearer sk_given", "given")


def test_what_is_not_given_is_the_environments() -> None:
    """Address, key and tenant come from the environment where they are left out."""
    settings = made(None, FULL)
    assert settings.base_url == "https://env.example"
    headers = settings.headers(CALL)
    assert (headers["Authorization"], headers["X-Tenant-ID"]) == ("Bearer sk_of_env", "of-env")


@pytest.mark.parametrize("empty", [{"api_key": ""}, {"token": ""}, {"url": ""}, {"tenant_id": "", "api_key": "k"}])
def test_what_is_given_and_empty_is_an_error(empty: dict[str, Any]) -> None:
    """A program whose own key, address or tenant is missing does not go on with those of the environment."""
    with pytest.raises(ConfigurationError):
        made(environment=FULL, **empty)


def test_a_person_comes_without_a_tenant() -> None:
    """A token knows its tenant: none is sent with it, and one that is given is refused."""
    assert "X-Tenant-ID" not in made(URL, FULL, token="t").headers(CALL)
    with pytest.raises(ConfigurationError):
        made(URL, token="t", tenant_id="acme")


def test_two_kinds_of_callers_are_two_clients() -> None:
    """A key and a token together are refused."""
    with pytest.raises(ConfigurationError):
        made(URL, api_key="k", token="t")


@pytest.mark.parametrize("environment", [{}, {"ERASURE_URL": "https://env.example"}, {"ERASURE_API_KEY": "k"}])
def test_address_and_key_are_needed(environment: dict[str, str]) -> None:
    """Without either there is no client, and the error names the variable."""
    with pytest.raises(ConfigurationError, match="ERASURE_"):
        made(None, environment)


@pytest.mark.parametrize(
    "url",
    [
        "erasure.example.com",
        "ftp://erasure.example.com",
        "https://",
        "https:///prod",
        "https://user:pass@erasure.example.com",
        "https://@erasure.example.com",
        "https://erasure.example.com?",
        "https://erasure.example.com/?a=b",
        "https://erasure.example.com/#",
        "https://erasure.example.com/a/../b",
        "https://erasure.example.com/%2e%2e",
        "https://erasure.example.com\\@elsewhere.example",
        "https://erasure.example.com/\n",
        " https://erasure.example.com",
        "https://erasure.example.com:port",
        "https://[::1",
        "https://érasure.example",
        "http://erasure.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    """What is no plain address, or would show keys and ids on the way, is refused."""
    with pytest.raises(ConfigurationError):
        made(url, api_key="k")


@pytest.mark.parametrize(
    "url",
    [
        "https://erasure.example.com",
        "https://erasure.example.com:8443/prod/",
        "http://localhost:4566/x",
        "http://api.localhost",
        "http://127.0.0.1:1",
        "http://[::1]:80/prod",
    ],
)
def test_addresses_that_are_some(url: str) -> None:
    """Encrypted, or of this machine; a slash at the end does not matter."""
    assert made(url, api_key="k").base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "secret", ["sk_1\n", "sk 1", "sk_é", "\tsk", "sk\x00", "sk\r\nX-Tenant-ID: other", 5, b"sk", None]
)
def test_secrets_that_no_header_can_hold(secret: Any) -> None:
    """A key with a line break, a space or other letters is refused, given or got, and not shown."""
    for kind in ("api_key", "token"):
        given: dict[str, Any] = {kind: lambda: secret}
        with pytest.raises(ConfigurationError) as caught:
            made(**given).headers(CALL)
        assert caught.value.__context__ is None
        if secret is not None:
            given = {kind: secret}
            with pytest.raises(ConfigurationError) as caught:
                made(**given)
        assert "sk" not in str(caught.value)


def test_a_secret_may_change() -> None:
    """A function that gives the secret is asked for each call."""
    secrets = iter(["first", "second"])
    settings = made(api_key=lambda: next(secrets))
    assert [settings.headers(CALL)["Authorization"] for _ in range(2)] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("tenant_id", ["tenant\n", "é", " acme", "acme ", "a\x7fb"])
def test_tenants_that_no_header_can_hold(tenant_id: str) -> None:
    """A tenant that would arrive as another is refused."""
    with pytest.raises(ConfigurationError):
        made(api_key="k", tenant_id=tenant_id)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, 1e9])
def test_timeouts_that_are_none(timeout: float) -> None:
    """A timeout is more than nothing, and has an end."""
    with pytest.raises(ConfigurationError):
        made(api_key="k", timeout=timeout)


@pytest.mark.parametrize("client", [ErasureClient, AsyncErasureClient])
@pytest.mark.parametrize("retries", [-1, 21, 1.5, "4", None])
def test_retries_that_are_none(client: Any, retries: Any) -> None:
    """Retries are counted."""
    with pytest.raises(ConfigurationError):
        client(URL, api_key="k", retries=retries)


@pytest.mark.parametrize("client", [ErasureClient, AsyncErasureClient])
def test_a_client_does_not_show_its_secret(client: Any) -> None:
    """Neither the client nor its settings show key or tenant."""
    made_client = client(URL, api_key="sk_secret", tenant_id="acme")
    assert repr(made_client) == f"{client.__name__}('{URL}')"
    for shown in (repr(vars(made_client)), repr(made(api_key="sk_secret", tenant_id="acme"))):
        assert "sk_secret" not in shown
        assert "acme" not in shown
