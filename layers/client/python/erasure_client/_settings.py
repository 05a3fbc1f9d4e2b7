"""How a client is made: address, credential, patience."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from erasure_client._version import __version__
from erasure_client._wire import Call
from erasure_client.errors import ConfigurationError

Secret: TypeAlias = str | Callable[[], str]
"""A key or token, or a function that gives one. It is called for every call that is sent, so let it remember."""

URL_VARIABLE, KEY_VARIABLE, TENANT_VARIABLE = "ERASURE_URL", "ERASURE_API_KEY", "ERASURE_TENANT"
USER_AGENT = f"erasure-client/{__version__} python/{platform.python_version()}"
LONGEST_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """``base_url``: without a slash at its end. ``secret``: goes as a bearer token. ``timeout``: seconds for each of
    connecting, writing and reading."""

    base_url: str
    secret: Secret
    tenant_id: str | None
    timeout: float

    @property
    def is_encrypted(self) -> bool:
        return self.base_url.startswith("https:")

    def headers(self, call: Call) -> dict[str, str]:
        """Raises :class:`ConfigurationError` if the function of the secret gives none."""
        secret = self.secret if isinstance(self.secret, str) else _checked_secret(self.secret())
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
    """What is not given comes from the environment; what is given and empty is an error, and does not: a program
    whose own key is missing must not go on with another's. Raises :class:`ConfigurationError`."""
    known = os.environ if environment is None else environment
    url = known.get(URL_VARIABLE) if base_url is None else base_url
    if not url:
        raise ConfigurationError(f"base_url is missing: give the service's address, or set {URL_VARIABLE}")
    if api_key is not None and token is not None:
        raise ConfigurationError("api_key and token are two kinds of callers: give one of them")
    given = token if token is not None else api_key
    secret = known.get(KEY_VARIABLE) if given is None else given
    if not secret:
        raise ConfigurationError(f"give api_key (a backend's), or token (a person's), or set {KEY_VARIABLE}")
    if token is not None and tenant_id is not None:
        raise ConfigurationError("a person's tenant is in the token: leave tenant_id out")
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise ConfigurationError(f"timeout must be more than 0 and at most {LONGEST_TIMEOUT:.0f} seconds")
    tenant = None
    if token is None:
        tenant = _checked_tenant(tenant_id if tenant_id is not None else known.get(TENANT_VARIABLE) or None)
    return Settings(_checked_url(url), secret if callable(secret) else _checked_secret(secret), tenant, timeout)


def _checked_secret(secret: object) -> str:
    # What no header can hold is in the texts of the exceptions of whoever finds that out later.
    if not (isinstance(secret, str) and secret and secret.isascii() and secret.isprintable() and " " not in secret):
        raise ConfigurationError("the key or token is not one: no text, empty, or with a space or a line break in it")
    return secret


def _checked_tenant(tenant: str | None) -> str | None:
    if tenant is None or (tenant and tenant.isascii() and tenant.isprintable() and tenant == tenant.strip()):
        return tenant
    raise ConfigurationError("tenant_id is empty, or holds what cannot be sent in a header")


def _checked_url(url: str) -> str:
    parts = _parts(url)
    if parts is None:
        raise ConfigurationError("base_url must be the service's address, such as https://erasure.example.com/prod")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise ConfigurationError(
            "base_url, the address, must begin with https://: keys and ids would be readable on the way"
        )
    return url.rstrip("/")


def _parts(url: str) -> SplitResult | None:
    # A "?" or "#", even with nothing behind it, would take the paths of all calls for its own.
    if not url.isascii() or not url.isprintable() or set(url) & set(" ?#@\\%"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_address = url.startswith(("http://", "https://")) and bool(parts.hostname) and port != 0
    return parts if is_address and not {".", ".."} & set(parts.path.split("/")) else None


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
