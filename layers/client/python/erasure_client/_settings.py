"""How a client is made: address, credential, patience."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from erasure_client._version import __version__
from erasure_client._wire import Call
from erasure_client.errors import ConfigurationError

Secret: TypeAlias = str | Callable[[], str]
"""A key or token, or a function that gives one. It is called for every call that is sent, so let it remember."""

URL_VARIABLE, KEY_VARIABLE, TENANT_VARIABLE = "ERASURE_URL", "ERASURE_API_KEY", "ERASURE_TENANT"
USER_AGENT = f"erasure-client/{__version__} python/{platform.python_version()}"


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """``base_url``: without a slash at its end. ``secret``: goes as a bearer token. ``timeout``: seconds for each of
    connecting, writing and reading."""

    base_url: str
    secret: Secret
    tenant_id: str | None
    timeout: float

    def headers(self, call: Call) -> dict[str, str]:
        secret = self.secret if isinstance(self.secret, str) else self.secret()
        headers = {"Authorization": f"Bearer {secret}", "Accept": "application/json", "User-Agent": USER_AGENT}
        if self.tenant_id is not None:
            headers["X-Tenant-ID"] = self.tenant_id
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        return headers


def make_settings(
    base_url: str | None,
    *,
    api_key: Secret | None,
    token: Secret | None,
    tenant_id: str | None,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """What is not given comes from the environment. Raises :class:`ConfigurationError`."""
    known = os.environ if environment is None else environment
    url = base_url or known.get(URL_VARIABLE, "")
    if not url:
        raise ConfigurationError(f"base_url is missing: give the service's address, or set {URL_VARIABLE}")
    if api_key is not None and token is not None:
        raise ConfigurationError("api_key and token are two kinds of callers: give one of them")
    secret = token or api_key or known.get(KEY_VARIABLE, "")
    if not secret:
        raise ConfigurationError(f"give api_key (a backend's), or token (a person's), or set {KEY_VARIABLE}")
    if isinstance(secret, str) and (not secret.isascii() or not secret.isprintable() or " " in secret):
        raise ConfigurationError("the key or token holds characters that none has")
    if timeout <= 0:
        raise ConfigurationError("timeout must be more than 0 seconds")
    # A person's tenant is in the token.
    tenant = None if token is not None else tenant_id or known.get(TENANT_VARIABLE) or None
    if tenant is not None and (not tenant.isascii() or not tenant.isprintable()):
        raise ConfigurationError("tenant_id holds characters that cannot be sent in a header")
    return Settings(_checked(url), secret, tenant, timeout)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigurationError("base_url must be the service's address, such as https://erasure.example.com/prod")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):
        raise ConfigurationError("base_url must begin with https://: keys and ids would be readable on the way")
    return url.rstrip("/")


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
