"""Tokens: real keys and signatures, every way of being wrong, and how the issuer's keys are kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from erasure.domain.subject import Subject
from erasure.entry import signing_keys
from erasure.entry.settings import OidcSettings
from erasure.entry.signing_keys import (
    FRESH_SECONDS,
    MAX_DOCUMENT_BYTES,
    REFETCH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    IssuerKeys,
    check_address,
    fetch_document,
)
from erasure.entry.tokens import CACHE_ENTRIES, CACHE_SECONDS, CLOCK_SKEW_SECONDS, TokenVerifier
from erasure.errors import AuthenticationError, UnavailableError
from tests.client.token_issuer import AUDIENCE, TokenIssuer, ec_key, make_token, public_jwk, rsa_key

ISSUER = "https://issuer.example"
TENANT_CLAIM = "tenant_id"


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Published:
    """What the issuer serves, by address; ``fetches`` lists what was asked for. ``down``: it does not answer."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys) or [public_jwk(rsa_key(), "rsa-0"), public_jwk(ec_key(), "ec-0")]
        self.issuer = ISSUER
        self.down = False
        self.fetches: list[str] = []

    def fetch(self, address: str) -> bytes:
        self.fetches.append(address)
        if self.down:
            raise OSError("down")
        if address == f"{ISSUER}/.well-known/openid-configuration":
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"}).encode()
        return json.dumps({"keys": self.keys}).encode()


class Bench:
    """A verifier, the clock it goes by, and the issuer behind it."""

    def __init__(self, *keys: dict[str, Any], algorithms: tuple[str, ...] = ("RS256", "ES256"), **claims: str) -> None:
        self.clock = Clock(time.time())
        self.published = Published(*keys)
        self.monotonic = Clock(1000.0)
        self.verifier = TokenVerifier(
            issuer=ISSUER,
            audience=AUDIENCE,
            algorithms=algorithms,
            user_claim=claims.get("user_claim", "sub"),
            tenant_claim=claims.get("tenant_claim", TENANT_CLAIM),
            keys=IssuerKeys(ISSUER, f"{ISSUER}/keys", fetch=self.published.fetch, clock=self.monotonic),
            clock=self.clock,
        )

    def reason(self, token: str) -> str:
        """Why the token is refused."""
        with pytest.raises(AuthenticationError) as caught:
            self.verifier.verify(f"Bearer {token}")
        return caught.value.reason


@pytest.fixture
def bench() -> Bench:
    return Bench()


def rs256(**claims: Any) -> str:
    return make_token(ISSUER, rsa_key(), **claims)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


# ---------------------------------------------------------------- good tokens


def test_a_good_token_names_its_subject(bench: Bench) -> None:
    """User and tenant from their claims; name and address for the handshake."""
    token = rs256(preferred_username="alice.a", email="alice@example.com")
    principal = bench.verifier.verify(f"Bearer {token}")
    assert principal.subject == Subject("acme", "alice")
    assert (principal.token_subject, principal.username, principal.email) == ("alice", "alice.a", "alice@example.com")


def test_es256_is_as_good(bench: Bench) -> None:
    """The other algorithm of the list."""
    token = make_token(ISSUER, ec_key(), kid="ec-0", algorithm="ES256")
    assert bench.verifier.verify(f"Bearer {token}").subject.id == "alice"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_read_in_any_case(bench: Bench, scheme: str) -> None:
    """HTTP's rule for schemes."""
    assert bench.verifier.verify(f"{scheme} {rs256()}").subject.id == "alice"


def test_claims_may_have_names_like_addresses() -> None:
    """Namespaced claims, as several issuers require for their own."""
    bench = Bench(tenant_claim="https://app.example/tenant", user_claim="https://app.example/user")
    token = rs256(**{"https://app.example/tenant": "t-1", "https://app.example/user": "u-1"})
    principal = bench.verifier.verify(f"Bearer {token}")
    assert principal.subject == Subject("t-1", "u-1")
    assert (principal.token_subject, principal.username, principal.email) == ("alice", "u-1", "")


def test_ids_are_taken_byte_for_byte(bench: Bench) -> None:
    """Spaces and composed characters stay."""
    token = rs256(sub=" e\u0301 ", tenant_id="Ä")
    principal = bench.verifier.verify(f"Bearer {token}")
    assert principal.subject == Subject("Ä", " e\u0301 ")


def test_a_principal_shows_nobody(bench: Bench) -> None:
    """Its repr, which ends up in tracebacks, holds no id."""
    principal = bench.verifier.verify(f"Bearer {rs256(email='alice@example.com')}")
    assert "alice" not in repr(principal)
    assert "acme" not in repr(principal)


def test_half_a_character_in_a_name_can_still_be_answered(bench: Bench) -> None:
    """A name with half of a surrogate pair, which no answer in UTF-8 could carry, is shown with a question mark."""
    token = rs256(name="Al\ud800ice", email="\udfff@example.com")
    principal = bench.verifier.verify(f"Bearer {token}")
    assert (principal.username, principal.email) == ("Al?ice", "?@example.com")


def test_one_of_several_audiences_suffices(bench: Bench) -> None:
    """A list of audiences that holds ours."""
    assert bench.verifier.verify(f"Bearer {rs256(aud=['other', AUDIENCE])}").subject.id == "alice"


# ---------------------------------------------------------------- bad headers


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "missing_token"),
        ("", "missing_token"),
        ("Bearer", "missing_token"),
        ("Bearer ", "missing_token"),
        ("Basic YWxpY2U6", "scheme"),
        ("Bearer-AD x", "scheme"),
        ("Bearer x", "malformed"),
        ("Bearer a.b.c", "malformed"),
        ("Bearer ..", "malformed"),
        ("Bearer é.é.é", "malformed"),
        ("Bearer " + "x" * 8193, "too_long"),
    ],
)
def test_what_is_no_bearer_token_is_refused(bench: Bench, authorization: str | None, reason: str) -> None:
    """And the issuer is not asked for it."""
    with pytest.raises(AuthenticationError) as caught:
        bench.verifier.verify(authorization)
    assert caught.value.reason == reason
    assert bench.published.fetches == []


def test_spaces_around_the_token_are_no_part_of_it(bench: Bench) -> None:
    """A second space makes it another token."""
    assert bench.reason(f" {rs256()}") == "malformed"


@pytest.mark.parametrize("depth", [500, 2900])
def test_deeply_nested_json_is_malformed(bench: Bench, depth: int) -> None:
    """Hostile nesting is a refusal, not a crash."""
    nested = base64.urlsafe_b64encode(b"[" * depth + b"]" * depth).decode().rstrip("=")
    assert bench.reason(f"{nested}.e30.") == "malformed"


# ---------------------------------------------------------------- bad signatures and keys


def test_alg_none_is_refused(bench: Bench) -> None:
    """Even with all the claims right."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "tenant_id": "acme", "exp": now + 60}
    for algorithm in ("none", "None", "NONE"):
        assert bench.reason(unsigned({"alg": algorithm, "kid": "rsa-0", "typ": "JWT"}, claims)) == "algorithm"


def test_a_public_key_is_no_shared_secret(bench: Bench) -> None:
    """HS256 keyed with the published RSA key, the classic confusion."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "tenant_id": "acme", "exp": int(time.time()) + 60}
    head = unsigned({"alg": "HS256", "kid": "rsa-0"}, claims).rpartition(".")[0]
    mac = hmac.new(pem, head.encode(), hashlib.sha256).digest()
    assert bench.reason(f"{head}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}") == "algorithm"


def test_algorithms_outside_the_list_are_refused() -> None:
    """RS512 is fine cryptography and still not allowed; nor is RS256 where only ES256 is."""
    assert Bench().reason(make_token(ISSUER, rsa_key(), algorithm="RS512")) == "algorithm"
    assert Bench(algorithms=("ES256",)).reason(rs256()) == "algorithm"


def test_a_foreign_signature_is_refused(bench: Bench) -> None:
    """Signed by somebody else under a known key id."""
    assert bench.reason(make_token(ISSUER, rsa_key(1))) == "signature"


def test_changed_claims_are_refused(bench: Bench) -> None:
    """One claim changed, signature kept: even right after the original was believed."""
    token = rs256()
    bench.verifier.verify(f"Bearer {token}")
    header, _claims, signature = token.split(".")
    forged = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "bob", "tenant_id": "acme", "exp": 9999999999})
    payload = base64.urlsafe_b64encode(forged.encode()).decode().rstrip("=")
    assert bench.reason(f"{header}.{payload}.{signature}") == "signature"


@pytest.mark.parametrize("kid", [None, ""])
def test_a_token_without_a_key_id_is_refused(bench: Bench, kid: str | None) -> None:
    """No trying of all the keys."""
    assert bench.reason(make_token(ISSUER, rsa_key(), kid=kid)) == "missing_key_id"


def test_a_key_is_only_used_for_its_own_type(bench: Bench) -> None:
    """An ES256 token that points to the RSA key, and the other way round."""
    assert bench.reason(make_token(ISSUER, ec_key(), kid="rsa-0", algorithm="ES256")) == "unknown_key"
    assert bench.reason(make_token(ISSUER, rsa_key(), kid="ec-0")) == "unknown_key"


@pytest.mark.parametrize(
    "members",
    [{"alg": "RS512"}, {"use": "enc"}, {"key_ops": ["encrypt"]}, {"kty": "oct", "k": "c2VjcmV0"}, {"kid": 5}],
)
def test_keys_for_other_purposes_are_not_used(members: dict[str, Any]) -> None:
    """Another algorithm, encryption, shared secrets and keys without a proper id."""
    unfit = {**public_jwk(rsa_key(), "rsa-0"), **members}
    assert Bench(unfit, public_jwk(ec_key(), "ec-0")).reason(rs256()) == "unknown_key"


def test_two_keys_of_one_id_are_refused() -> None:
    """Which of them is meant is not guessed; the same key listed twice is one key."""
    one, other = public_jwk(rsa_key(), "rsa-0"), public_jwk(rsa_key(1), "rsa-0")
    assert Bench(one, other).reason(rs256()) == "ambiguous_key"
    assert Bench(one, dict(one)).verifier.verify(f"Bearer {rs256()}").subject.id == "alice"


def test_two_keys_of_one_id_but_two_types_are_told_apart() -> None:
    """The algorithm decides."""
    bench = Bench(public_jwk(rsa_key(), "k"), public_jwk(ec_key(), "k"))
    assert bench.verifier.verify(f"Bearer {make_token(ISSUER, rsa_key(), kid='k')}").subject.id == "alice"
    token = make_token(ISSUER, ec_key(), kid="k", algorithm="ES256")
    assert bench.verifier.verify(f"Bearer {token}").subject.id == "alice"


def test_short_rsa_keys_are_not_used() -> None:
    """1,024 bits are too few."""
    short = rsa_key(9, bits=1024)
    assert Bench(public_jwk(short, "rsa-0")).reason(rs256()) == "unusable_key"


def test_broken_keys_are_not_used() -> None:
    """A JWK that is none."""
    assert Bench({"kty": "RSA", "kid": "rsa-0", "n": "!", "e": 3}).reason(rs256()) == "unusable_key"


def test_keys_named_by_the_token_are_ignored(bench: Bench) -> None:
    """jwk and jku in the header are an attacker's keys."""
    own = public_jwk(rsa_key(1), "mine")
    for header in ({"jwk": own}, {"jku": "https://evil.example/keys"}):
        assert bench.reason(make_token(ISSUER, rsa_key(1), kid="mine", header=header)) == "unknown_key"
    assert set(bench.published.fetches) == {f"{ISSUER}/keys"}


def test_unknown_critical_headers_are_refused(bench: Bench) -> None:
    """A token that says it must be understood, and is not."""
    assert bench.reason(make_token(ISSUER, rsa_key(), header={"crit": ["exp2"], "exp2": 1})) in ("malformed",)


# ---------------------------------------------------------------- bad claims


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": f"{ISSUER}/"}, "issuer"),
        ({"iss": None}, "missing_claim"),
        ({"aud": "other"}, "audience"),
        ({"aud": []}, "missing_claim"),
        ({"aud": None}, "missing_claim"),
        ({"exp": None}, "missing_claim"),
        ({"exp": "9999999999"}, "malformed_time"),
        ({"exp": True}, "malformed_time"),
        ({"exp": 1e300}, "malformed_time"),
        ({"nbf": "soon"}, "malformed_time"),
        ({"exp": 1}, "expired"),
        ({"sub": None}, "missing_user_claim"),
        ({"sub": ""}, "invalid_user_claim"),
        ({"sub": " "}, "invalid_user_claim"),
        ({"sub": "a\x00b"}, "invalid_user_claim"),
        ({"sub": "x" * 257}, "invalid_user_claim"),
        ({"tenant_id": None}, "missing_tenant_claim"),
        ({"tenant_id": ""}, "invalid_tenant_claim"),
        ({"tenant_id": 7}, "invalid_tenant_claim"),
        ({"tenant_id": ["acme"]}, "invalid_tenant_claim"),
    ],
)
def test_claims_that_do_not_hold_are_refused(bench: Bench, claims: dict[str, Any], reason: str) -> None:
    """Each with its own reason for the log."""
    assert bench.reason(rs256(**claims)) == reason


def test_a_user_id_that_is_no_text_is_refused() -> None:
    """No number becomes a text: 7 and "7" may be two people."""
    assert Bench(user_claim="uid").reason(rs256(uid=7)) == "invalid_user_claim"


def test_nothing_sensitive_is_in_a_refusal(bench: Bench) -> None:
    """The error's text is its reason."""
    with pytest.raises(AuthenticationError) as caught:
        bench.verifier.verify(f"Bearer {rs256(sub='a' + chr(0))}")
    assert str(caught.value) == "invalid_user_claim"
    assert caught.value.__cause__ is None


# ---------------------------------------------------------------- times and the cache


def test_a_remembered_token_is_not_verified_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """DELETE and confirmation carry the same token: one signature check."""
    import jwt

    calls: list[str] = []
    real = jwt.decode

    def counted(token: str, *rest: Any, **options: Any) -> Any:
        calls.append(token)
        return real(token, *rest, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    token = f"Bearer {rs256()}"
    assert bench.verifier.verify(token) == bench.verifier.verify(token)
    assert len(calls) == 1
    bench.clock.now += CACHE_SECONDS
    bench.verifier.verify(token)
    assert len(calls) == 2


def test_a_remembered_token_still_expires(bench: Bench) -> None:
    """To the second, with no grace."""
    expires_at = int(bench.clock.now) + 100
    token = rs256(exp=expires_at)
    bench.clock.now = expires_at - 0.001
    bench.verifier.verify(f"Bearer {token}")
    bench.clock.now = expires_at
    assert bench.reason(token) == "expired"


def test_a_token_is_not_good_before_its_time(bench: Bench) -> None:
    """Except for a small difference between two clocks."""
    not_before = int(bench.clock.now) + 100
    token = rs256(nbf=not_before)
    assert bench.reason(token) == "not_yet_valid"
    bench.clock.now = not_before - CLOCK_SKEW_SECONDS - 0.1
    assert bench.reason(token) == "not_yet_valid"
    bench.clock.now = not_before - CLOCK_SKEW_SECONDS
    assert bench.verifier.verify(f"Bearer {token}").subject.id == "alice"


def test_refused_tokens_are_not_remembered(bench: Bench) -> None:
    """A token whose key appears later is looked at again."""
    token = make_token(ISSUER, rsa_key(1), kid="rsa-1")
    assert bench.reason(token) == "unknown_key"
    bench.published.keys.append(public_jwk(rsa_key(1), "rsa-1"))
    bench.monotonic.now += REFETCH_SECONDS
    assert bench.verifier.verify(f"Bearer {token}").subject.id == "alice"


def test_the_memory_is_bounded_and_forgets_the_least_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more tokens than it holds, the one that was not used for longest goes first."""
    monkeypatch.setattr("erasure.entry.tokens.CACHE_ENTRIES", 2)
    first, second, third = (f"Bearer {rs256(jti=str(number))}" for number in range(3))
    principals = {token: bench.verifier.verify(token) for token in (first, second)}
    assert bench.verifier.verify(first) is principals[first]
    bench.verifier.verify(third)
    assert bench.verifier.verify(first) is principals[first]
    assert bench.verifier.verify(second) is not principals[second]
    assert CACHE_ENTRIES >= 100


# ---------------------------------------------------------------- the issuer's keys


def test_keys_are_fetched_once_and_again_when_they_are_old(bench: Bench) -> None:
    """One fetch an hour, however many tokens."""
    for number in range(3):
        bench.verifier.verify(f"Bearer {rs256(jti=str(number))}")
    assert len(bench.published.fetches) == 1
    bench.monotonic.now += FRESH_SECONDS + 1
    bench.verifier.verify(f"Bearer {rs256(jti='later')}")
    assert len(bench.published.fetches) == 2


def test_a_new_key_is_found_without_waiting_for_the_hour(bench: Bench) -> None:
    """The issuer rotated its keys."""
    bench.verifier.verify(f"Bearer {rs256()}")
    bench.published.keys.append(public_jwk(rsa_key(1), "rsa-1"))
    bench.monotonic.now += REFETCH_SECONDS
    token = make_token(ISSUER, rsa_key(1), kid="rsa-1")
    assert bench.verifier.verify(f"Bearer {token}").subject.id == "alice"


def test_made_up_key_ids_do_not_become_load_on_the_issuer(bench: Bench) -> None:
    """At most one early fetch in the interval, for however many of them."""
    bench.verifier.verify(f"Bearer {rs256()}")
    for number in range(50):
        assert bench.reason(make_token(ISSUER, ec_key(), kid=f"made-up-{number}", algorithm="ES256")) == "unknown_key"
    assert len(bench.published.fetches) == 1
    bench.monotonic.now += REFETCH_SECONDS
    for number in range(50):
        assert bench.reason(make_token(ISSUER, ec_key(), kid=f"made-up-{number}", algorithm="ES256")) == "unknown_key"
    assert len(bench.published.fetches) == 2


def test_a_withdrawn_key_is_believed_no_longer(bench: Bench) -> None:
    """After the hour, and once the token is forgotten."""
    token = rs256()
    bench.verifier.verify(f"Bearer {token}")
    bench.published.keys.pop(0)
    bench.monotonic.now += FRESH_SECONDS + 1
    bench.clock.now += CACHE_SECONDS
    assert bench.reason(token) == "unknown_key"


def test_known_keys_stay_in_use_while_the_issuer_is_away(bench: Bench) -> None:
    """For a day, asking again at intervals; then nobody can tell any more."""
    bench.verifier.verify(f"Bearer {rs256()}")
    bench.published.down = True
    bench.monotonic.now += FRESH_SECONDS + 1
    for number in range(5):
        assert bench.verifier.verify(f"Bearer {rs256(jti=str(number))}").subject.id == "alice"
    assert len(bench.published.fetches) == 2
    bench.monotonic.now += STALE_SECONDS
    with pytest.raises(UnavailableError):
        bench.verifier.verify(f"Bearer {rs256(jti='much later')}")


def test_an_unknown_key_cannot_be_judged_while_the_issuer_is_away(bench: Bench) -> None:
    """It may be a new one: unavailable, not a bad token."""
    bench.verifier.verify(f"Bearer {rs256()}")
    bench.published.down = True
    bench.monotonic.now += REFETCH_SECONDS
    with pytest.raises(UnavailableError):
        bench.verifier.verify(f"Bearer {make_token(ISSUER, rsa_key(1), kid='rsa-1')}")


def test_no_keys_at_all_is_unavailable_and_not_unauthorized(bench: Bench) -> None:
    """Good tokens are not called bad, the issuer is not hammered, and it is asked again soon."""
    bench.published.down = True
    for _ in range(5):
        with pytest.raises(UnavailableError):
            bench.verifier.verify(f"Bearer {rs256()}")
    assert len(bench.published.fetches) == 1
    bench.published.down = False
    bench.monotonic.now += RETRY_SECONDS
    assert bench.verifier.verify(f"Bearer {rs256()}").subject.id == "alice"


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 5}', b'{"keys": [5, {}]}', b"[" * 100_000])
def test_a_broken_key_set_is_unavailable(document: bytes) -> None:
    """An issuer that serves nonsense counts as one that does not answer."""
    with pytest.raises(UnavailableError):
        IssuerKeys(ISSUER, f"{ISSUER}/keys", fetch=lambda _address: document).find("rsa-0", "RS256")


def test_the_keys_are_found_by_discovery() -> None:
    """Without an address of the keys, the issuer's discovery document has it."""
    published = Published()
    IssuerKeys(ISSUER, fetch=published.fetch).find("rsa-0", "RS256")
    assert published.fetches == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


def test_another_issuers_discovery_document_is_not_believed() -> None:
    """Its issuer must be ours, to the letter."""
    published = Published()
    published.issuer = f"{ISSUER}/"
    with pytest.raises(UnavailableError):
        IssuerKeys(ISSUER, fetch=published.fetch).find("rsa-0", "RS256")
    assert len(published.fetches) == 1


def test_discovery_cannot_send_us_to_an_unprotected_address() -> None:
    """A jwks_uri without TLS is not followed."""
    fetches: list[str] = []

    def fetch(address: str) -> bytes:
        fetches.append(address)
        return json.dumps({"issuer": ISSUER, "jwks_uri": "http://issuer.example/keys"}).encode()

    with pytest.raises(UnavailableError):
        IssuerKeys(ISSUER, fetch=fetch).find("rsa-0", "RS256")
    assert len(fetches) == 1


@pytest.mark.parametrize(
    "address",
    [
        "https://issuer.example/x",
        "http://localhost:80/",
        "http://127.0.0.1:5/k",
        "http://[::1]/",
        "http://a.localhost/",
    ],
)
def test_addresses_that_keys_may_come_from(address: str) -> None:
    """https anywhere, http on this machine."""
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "http://issuer.example", "ftp://localhost/", "file:///etc/passwd", "https://", "", None, 5,
        "http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "http://localhost@evil.example/",
    ],
)  # fmt: skip
def test_addresses_that_keys_may_not_come_from(address: object) -> None:
    """Everything else, look-alikes of this machine included."""
    with pytest.raises(ValueError, match="https"):
        check_address(address)


def test_a_verifier_for_an_unprotected_issuer_is_not_built() -> None:
    """A wrong setting shows at once, not at the first token."""
    settings = OidcSettings("http://issuer.example", AUDIENCE, None, "sub", TENANT_CLAIM, ("RS256",))
    with pytest.raises(ValueError, match="https"):
        TokenVerifier.from_settings(settings)


# ---------------------------------------------------------------- over HTTP


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with TokenIssuer() as running:
        yield running


@pytest.mark.parametrize("discover", [True, False])
def test_keys_come_over_http(issuer: TokenIssuer, discover: bool) -> None:
    """From a real server, with and without discovery."""
    uri = None if discover else f"{issuer.url}/keys"
    settings = OidcSettings(issuer.url, AUDIENCE, uri, "sub", TENANT_CLAIM, ("RS256",))
    verifier = TokenVerifier.from_settings(settings)
    assert verifier.verify(f"Bearer {issuer.token('zoë', 'acme')}").subject == Subject("acme", "zoë")
    assert len(issuer.hits) == (2 if discover else 1)


def test_what_is_not_a_small_200_is_not_a_document(issuer: TokenIssuer) -> None:
    """An error status and an answer that is too long are failures."""
    with pytest.raises(OSError, match="error"):
        fetch_document(f"{issuer.url}/nowhere")
    issuer.keys = [{"kid": "x" * MAX_DOCUMENT_BYTES}]
    with pytest.raises(OSError, match="too long"):
        fetch_document(f"{issuer.url}/keys")


def test_nobody_listening_is_unavailable(issuer: TokenIssuer) -> None:
    """A refused connection."""
    url = issuer.url
    issuer.__exit__(None, None, None)
    with pytest.raises(UnavailableError):
        IssuerKeys(url).find("rsa-0", "RS256")


def test_an_issuer_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit, which is three seconds outside this test."""
    import socket

    assert signing_keys.FETCH_SECONDS == 3.0
    monkeypatch.setattr(signing_keys, "FETCH_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UnavailableError):
        IssuerKeys(f"http://127.0.0.1:{server.getsockname()[1]}").find("rsa-0", "RS256")


# ---------------------------------------------------------------- cold start


def test_importing_the_api_loads_no_cryptography() -> None:
    """What only a first token needs is not part of the cold start, nor is what the API does not need at all."""
    code = """
import sys
import erasure.entry.subject_api
heavy = {"jwt", "cryptography", "pydantic", "boto3", "botocore.session", "http.client", "aws_xray_sdk", "jsonschema"}
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]", run.stderr
