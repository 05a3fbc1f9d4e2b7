"""The issuer's public keys: where they are published, how long they are believed, which of them may verify what.

Keys are fetched on first need and again after an hour. A key id that is not known triggers one early fetch (issuers
rotate keys), but never more than one in ``REFETCH_SECONDS``, so that made-up key ids cannot be turned into load on the
issuer. While the issuer does not answer, the keys known so far stay in use for a day.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from erasure.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from jwt import PyJWK

FRESH_SECONDS = 3600.0
STALE_SECONDS = 24 * 3600.0
REFETCH_SECONDS = 30.0
RETRY_SECONDS = 2.0
"""After a failed fetch with no keys at hand: how long callers are turned away without another attempt."""

FETCH_SECONDS = 3.0
MAX_DOCUMENT_BYTES = 256 * 1024
MIN_RSA_BITS = 2048

_LOOPBACK = re.compile(r"localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|::1")
_KEY_SHAPE = {"RS256": {"kty": "RSA"}, "ES256": {"kty": "EC", "crv": "P-256"}}

Fetch = Callable[[str], bytes]
"""Returns the document at an address. Raises ``OSError`` or ``ValueError`` when it cannot."""


class SigningKeys(Protocol):
    def find(self, key_id: str, algorithm: str) -> PyJWK:
        """The one key of that id for that algorithm.

        Raises :class:`AuthenticationError` when there is none, :class:`UnavailableError` when nobody can tell.
        """


class IssuerKeys:
    """The JWKS of ``issuer``; at ``jwks_uri``, or (None) where the issuer's OIDC discovery document says.

    ``clock`` returns seconds and never goes back. Raises ``ValueError`` for an address that is neither https nor on
    this machine: who can change the keys on their way can be anybody.
    """

    def __init__(
        self,
        issuer: str,
        jwks_uri: str | None = None,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._discovers = not jwks_uri
        self._address = check_address(jwks_uri or issuer.rstrip("/") + "/.well-known/openid-configuration")
        self._fetch = fetch or fetch_document
        self._clock = clock
        self._documents: dict[str, list[Mapping[str, Any]]] | None = None
        self._parsed: dict[tuple[str, str], PyJWK] = {}
        self._fetched_at = float("-inf")
        self._attempted_at = float("-inf")
        self._reachable = True

    def find(self, key_id: str, algorithm: str) -> PyJWK:
        """See :meth:`SigningKeys.find`."""
        if self._clock() - self._fetched_at > FRESH_SECONDS:
            self._refresh()
        if self._documents is not None and key_id not in self._documents:
            self._refresh()
        if self._documents is None or self._clock() - self._fetched_at > STALE_SECONDS:
            raise UnavailableError("the token issuer's keys cannot be fetched")
        if key_id not in self._documents and not self._reachable:
            # It may well be a new key: to call the token bad would be a guess.
            raise UnavailableError("the token issuer's keys cannot be refreshed")
        return self._key(key_id, algorithm)

    def _refresh(self) -> None:
        """Fetch the keys unless that was tried a moment ago; a failure leaves what is known as it is."""
        now = self._clock()
        if now - self._attempted_at < (RETRY_SECONDS if self._documents is None else REFETCH_SECONDS):
            return
        self._attempted_at = now
        try:
            self._documents = _by_key_id(_json_object(self._fetch(self._find_jwks_uri())))
        except (OSError, ValueError):
            self._reachable = False
            return
        self._parsed.clear()
        self._fetched_at = now
        self._reachable = True

    def _find_jwks_uri(self) -> str:
        if not self._discovers:
            return self._address
        document = _json_object(self._fetch(self._address))
        if document.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        return check_address(document.get("jwks_uri"))

    def _key(self, key_id: str, algorithm: str) -> PyJWK:
        known = self._parsed.get((key_id, algorithm))
        if known is None:
            candidates = (self._documents or {}).get(key_id, [])
            known = self._parsed[key_id, algorithm] = _parse_key(candidates, algorithm)
        return known


def check_address(address: object) -> str:
    """``address`` itself if keys may be fetched from there. Raises ``ValueError``."""
    if isinstance(address, str):
        parts = urlsplit(address)
        host = parts.hostname or ""
        if parts.scheme == "https" and host:
            return address
        if parts.scheme == "http" and _LOOPBACK.fullmatch(host):
            return address
    raise ValueError("keys are only fetched by https, or by http from this machine")


def fetch_document(address: str) -> bytes:
    """GET ``address``: a 200 with at most ``MAX_DOCUMENT_BYTES``, within ``FETCH_SECONDS``, redirects not followed.

    Raises ``OSError`` or ``ValueError``.
    """
    import http.client  # only the first request of a process comes here, and none that the caches answer

    parts = urlsplit(address)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=FETCH_SECONDS)
    give_up_at = time.monotonic() + FETCH_SECONDS
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise OSError("the issuer answered with an error")
        document = b""
        # In pieces, because the socket's own timeout starts again with every byte that arrives.
        while piece := response.read1(65536):
            document += piece
            if len(document) > MAX_DOCUMENT_BYTES or time.monotonic() > give_up_at:
                raise OSError("the issuer's answer is too long or too slow")
        return document
    except http.client.HTTPException as error:
        raise OSError("the issuer's answer is not HTTP") from error
    finally:
        connection.close()


def _json_object(document: bytes) -> dict[str, Any]:
    try:
        value = json.loads(document)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _by_key_id(jwks: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The keys that could verify a signature, by ``kid``. Raises ``ValueError`` if the set holds none."""
    documents: dict[str, list[Mapping[str, Any]]] = {}
    keys = jwks.get("keys")
    for key in keys if isinstance(keys, list) else []:
        if not isinstance(key, dict) or not isinstance(key.get("kid"), str):
            continue
        # Anything but a public key for signatures stays out, above all "oct": a published secret is no secret.
        if key.get("kty") not in ("RSA", "EC") or key.get("use", "sig") != "sig":
            continue
        if "verify" not in key.get("key_ops", ["verify"]):
            continue
        same_id = documents.setdefault(key["kid"], [])
        if key not in same_id:
            same_id.append(key)
    if not documents:
        raise ValueError("no key that verifies signatures")
    return documents


def _parse_key(candidates: list[Mapping[str, Any]], algorithm: str) -> PyJWK:
    """The one candidate for ``algorithm``. Two different keys of one id are refused: which one signs, nobody knows."""
    import jwt

    shape = _KEY_SHAPE[algorithm]
    fitting = [
        key
        for key in candidates
        if key.get("alg", algorithm) == algorithm and all(key.get(name) == value for name, value in shape.items())
    ]
    if len(fitting) != 1:
        raise AuthenticationError("ambiguous_key" if fitting else "unknown_key")
    try:
        parsed = jwt.PyJWK(dict(fitting[0]), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise AuthenticationError("unusable_key") from error
    if algorithm == "RS256" and parsed.key.key_size < MIN_RSA_BITS:
        raise AuthenticationError("unusable_key")
    return parsed
