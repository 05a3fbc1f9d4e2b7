"""Tokens come from a real issuer and say what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from local.issuer import issuer
from local.sample import people
from local.stack import AUDIENCE, LocalError, Stack
from local.tokens import token
from tests.functional.local_places import free_place

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack of which only the issuer runs."""
    with free_place() as place:
        issuer(place).start()
        yield Stack({**place.aws_environment(), "OIDC_ISSUER": place.issuer, "OIDC_AUDIENCE": AUDIENCE})


def _checked(encoded: str, stack: Stack) -> dict[str, Any]:
    """The claims, if the signature is by a key of the issuer's JWKS that the token names."""
    key = jwt.PyJWKClient(f"{stack['OIDC_ISSUER']}/jwks").get_signing_key_from_jwt(encoded)
    claims: dict[str, Any] = jwt.decode(
        encoded, key, algorithms=["RS256"], audience=stack["OIDC_AUDIENCE"], issuer=stack["OIDC_ISSUER"]
    )
    return claims


@pytest.mark.parametrize(
    "subject", sorted({person.user for person in people()} | {"..", "//", "a/", " edges ", '"', "a\\", "?", "sub&x=1"})
)
def test_any_subject_comes_back_byte_for_byte(subject: str, stack: Stack) -> None:
    """Slashes, percent signs, quotes, other scripts: `sub` is exactly the id, in a token that checks out."""
    claims = _checked(token(subject, "acme", stack=stack), stack)
    assert claims["sub"] == subject
    assert claims["tenant_id"] == "acme"


def test_same_id_in_two_tenants_gets_two_tokens(stack: Stack) -> None:
    """The tenant is that of the latest call, not one that the issuer remembers."""
    tenants = [_checked(token("ann", tenant, stack=stack), stack)["tenant_id"] for tenant in ("acme", "globex")]
    assert tenants == ["acme", "globex"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"audience": "another"}, jwt.InvalidAudienceError),
        ({"exp": 1}, jwt.ExpiredSignatureError),
        ({"nbf": 32_503_680_000}, jwt.ImmatureSignatureError),
        ({"iss": "https://elsewhere.example"}, jwt.InvalidIssuerError),
    ],
)
def test_wrong_tokens_can_be_had(options: dict[str, Any], error: type[Exception], stack: Stack) -> None:
    """Tests can have tokens with a good signature and one thing wrong."""
    with pytest.raises(error):
        _checked(token("ann", "acme", stack=stack, **options), stack)


def test_missing_issuer_is_said() -> None:
    """No issuer: an error of ours, not a traceback of the HTTP library's."""
    gone = Stack({"OIDC_ISSUER": "http://127.0.0.1:9", "OIDC_AUDIENCE": AUDIENCE})
    with pytest.raises(LocalError, match="is the stack up"):
        token("ann", "acme", stack=gone)
