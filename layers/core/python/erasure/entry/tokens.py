"""Who is calling: checks a subject's bearer token (a JWT of the configured OIDC issuer).

A token is believed when its signature, issuer, audience and times hold and it names a user and a tenant. Every failure
is one :class:`AuthenticationError` whose ``reason`` is a fixed word for the log; callers are told only that it failed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from erasure.domain.identifiers import check_identifier
from erasure.domain.subject import Subject
from erasure.entry.settings import OidcSettings
from erasure.entry.signing_keys import IssuerKeys, SigningKeys
from erasure.errors import AuthenticationError, InvalidInputError

MAX_TOKEN_LENGTH = 8192
CACHE_SECONDS = 300.0
CACHE_ENTRIES = 1000
CLOCK_SKEW_SECONDS = 30.0
"""How far the issuer's clock may be ahead of ours. An expiry gets no such grace."""


class Principal(NamedTuple):
    """The caller. ``repr`` tells nothing about them."""

    subject: Subject
    token_subject: str
    username: str
    email: str

    def __repr__(self) -> str:
        return "Principal()"


class _Verified(NamedTuple):
    principal: Principal
    expires_at: float
    not_before: float
    forget_at: float


class TokenVerifier:
    """Verifies tokens and remembers for ``CACHE_SECONDS`` which ones were good.

    A person's DELETE and their confirmation carry the same token, and checking a signature costs more than the rest
    of the request. Remembered tokens have their times checked at each use; a key that the issuer withdraws stays
    good for ``CACHE_SECONDS`` at most. ``clock`` returns Unix time.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        user_claim: str,
        tenant_claim: str,
        keys: SigningKeys,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._user_claim = user_claim
        self._tenant_claim = tenant_claim
        self._keys = keys
        self._clock = clock
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: OidcSettings) -> TokenVerifier:
        """Raises ``ValueError`` for an issuer whose keys would travel unprotected."""
        return cls(
            issuer=settings.issuer,
            audience=settings.audience,
            algorithms=settings.algorithms,
            user_claim=settings.user_claim,
            tenant_claim=settings.tenant_claim,
            keys=IssuerKeys(settings.issuer, settings.jwks_uri),
        )

    def verify(self, authorization: str | None) -> Principal:
        """The principal of an ``Authorization`` header.

        Raises :class:`AuthenticationError`, and :class:`erasure.errors.UnavailableError` when the issuer's keys
        cannot be had: then nothing is known about the token.
        """
        token = _bearer_token(authorization)
        # The digest, so that no usable token stays in memory; BLAKE2b because it is the cheapest strong one here.
        digest = blake2b(token, digest_size=32).digest()
        now = self._clock()
        verified = self._cache.get(digest)
        if verified is None or now >= verified.forget_at:
            verified = self._verify(token.decode("ascii"), now)
            self._remember(digest, verified)
        self._cache.move_to_end(digest)
        if now >= verified.expires_at:
            raise AuthenticationError("expired")
        if now < verified.not_before:
            raise AuthenticationError("not_yet_valid")
        return verified.principal

    def _verify(self, token: str, now: float) -> _Verified:
        import jwt  # with cryptography behind it: too slow to load before it is needed

        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in self._algorithms:
                raise AuthenticationError("algorithm")
            if not isinstance(key_id, str) or not key_id:
                raise AuthenticationError("missing_key_id")
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self._keys.find(key_id, algorithm),
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options=_OPTIONS,
            )
        except jwt.PyJWTError as error:
            raise AuthenticationError(_REASONS.get(type(error).__name__, "malformed")) from None
        except (ValueError, TypeError, RecursionError, OverflowError):
            # Hostile input that PyJWT does not foresee, such as deeply nested JSON, must not become an answer of 500.
            raise AuthenticationError("malformed") from None
        return _Verified(
            principal=self._principal(claims),
            expires_at=_moment(claims, "exp"),
            not_before=_moment(claims, "nbf", 0.0) - CLOCK_SKEW_SECONDS,
            forget_at=now + CACHE_SECONDS,
        )

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        user_id = _identifier(claims, self._user_claim, "user_claim")
        tenant_id = _identifier(claims, self._tenant_claim, "tenant_claim")
        return Principal(
            subject=Subject(tenant_id=tenant_id, id=user_id),
            token_subject=_text(claims, "sub") or user_id,
            username=_text(claims, "preferred_username") or _text(claims, "name") or user_id,
            email=_text(claims, "email"),
        )

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._cache[digest] = verified
        if len(self._cache) > CACHE_ENTRIES:
            self._cache.popitem(last=False)


# The times are checked at each use of a token, new or remembered, by one piece of code: in verify().
_OPTIONS: Any = {"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}

_REASONS = {
    "InvalidSignatureError": "signature",
    "InvalidIssuerError": "issuer",
    "InvalidAudienceError": "audience",
    "MissingRequiredClaimError": "missing_claim",
    "InvalidAlgorithmError": "algorithm",
}


def _bearer_token(authorization: str | None) -> bytes:
    if not authorization:
        raise AuthenticationError("missing_token")
    scheme, _, token = authorization.partition(" ")
    if scheme != "Bearer" and scheme.lower() != "bearer":
        raise AuthenticationError("scheme")
    if not token:
        raise AuthenticationError("missing_token")
    if len(token) > MAX_TOKEN_LENGTH:
        raise AuthenticationError("too_long")
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise AuthenticationError("malformed") from None


def _moment(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A claim in seconds since 1970. Text, booleans, NaN and infinity are no times."""
    value = claims.get(name, default)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    raise AuthenticationError("malformed_time")


def _identifier(claims: Mapping[str, Any], claim: str, what: str) -> str:
    value = claims.get(claim)
    if value is None:
        raise AuthenticationError(f"missing_{what}")
    try:
        return check_identifier(value, what)
    except InvalidInputError:
        raise AuthenticationError(f"invalid_{what}") from None


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that is only shown to its owner. What UTF-8 cannot write cannot be answered with either."""
    value = claims.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
