"""Who is calling: every form of a key, every way in which it can be wrong, and the count of its calls."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from erasure.domain.api_key import ApiKey, PresentedKey, new_key, secret_digest
from erasure.entry.backend_auth import BELIEVED_FOR_SECONDS, KeyVerifier
from erasure.entry.exchange import Call, Caller
from erasure.errors import ForbiddenError, InvalidInputError, KeyRefusedError, RateLimitedError
from tests.fake_keys import FakeKeyStore, FakeRateCounter
from tests.fakes import FakeClock


class Gate:
    """A verifier with one tenant's key and one platform key behind it."""

    def __init__(self, *, calls_per_minute: int = 100) -> None:
        self.clock, self.store, self.elapsed = FakeClock(), FakeKeyStore(), 0.0
        self.key, self.platform = self.add("acme"), self.add("*")
        self.verifier = KeyVerifier(
            self.store,
            FakeRateCounter(),
            mode="live",
            calls_per_minute=calls_per_minute,
            now=self.clock,
            monotonic=lambda: self.elapsed,
        )

    def add(self, tenant_id: str, mode: str = "live") -> PresentedKey:
        new = new_key(mode)
        scopes = frozenset({"users:read"})
        self.store.put(ApiKey(new.key_id, mode, secret_digest(new.secret), tenant_id, scopes, "", self.clock()))
        return new

    def change(self, **changes: object) -> None:
        key = self.store.keys[self.key.key_id]
        self.store.keys[self.key.key_id] = replace(key, **changes)  # type: ignore[arg-type]

    def call(self, **headers: str) -> Call:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Call({"headers": named, "requestContext": {"requestId": "r"}}, None)

    def ask(self, scope: str = "users:read", **headers: str) -> Caller:
        return self.verifier.authenticate(self.call(**headers), scope)

    def bearer(self, scope: str = "users:read", **headers: str) -> Caller:
        return self.ask(scope, Authorization=f"Bearer {self.key.text}", **headers)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_every_form_of_the_header_lets_the_key_in(gate: Gate) -> None:
    """As the four wire families send it, in whatever case the header arrives."""
    text = gate.key.text
    encoded = base64.b64encode(f"{text}:".encode()).decode()
    forms: list[dict[str, str]] = [
        {"Authorization": f"Bearer {text}"},
        {"authorization": f"bearer {text}"},
        {"Authorization": f"Basic {text}"},
        {"Authorization": f"Basic {encoded}"},
        {"x_velt_api_key": gate.key.key_id, "x_velt_auth_token": text},
        {"X_Velt_Api_Key": gate.key.key_id, "X_Velt_Auth_Token": text},
    ]
    for form in forms:
        caller = gate.ask(**form)
        assert (caller.key_id, caller.tenant_id, caller.is_platform) == (gate.key.key_id, "acme", False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"x_velt_api_key": "a"},
        {"x_velt_auth_token": "a"},
    ],
)
def test_without_a_key_the_call_is_told_that_one_is_missing(gate: Gate, headers: dict[str, str]) -> None:
    """Half of Velt's two headers is none."""
    with pytest.raises(KeyRefusedError) as caught:
        gate.ask(**headers)
    assert caught.value.reason == "missing_token"


def refused(gate: Gate, **headers: str) -> None:
    with pytest.raises(KeyRefusedError) as caught:
        gate.ask(**headers)
    assert caught.value.reason == "invalid_api_key"
    assert gate.key.secret not in str(caught.value)


def test_wrong_keys_are_all_told_the_same(gate: Gate) -> None:
    """Unknown, wrong secret, other mode, malformed, a password, another key's id: one answer."""
    text, other = gate.key.text, new_key("live")
    test_key = gate.add("acme", mode="test")
    with_password = base64.b64encode(f"{text}:secret".encode()).decode()
    refused(gate, Authorization=f"Bearer {other.text}")
    refused(gate, Authorization=f"Bearer {replace(gate.key, secret=other.secret).text}")
    refused(gate, Authorization=f"Bearer {replace(gate.key, mode='test').text}")
    refused(gate, Authorization=f"Bearer {test_key.text}")
    refused(gate, Authorization="Bearer sk_live_abc123")
    refused(gate, Authorization=f"Basic {with_password}")
    refused(gate, Authorization="Basic !!!")
    refused(gate, Authorization="Basic " + base64.b64encode(b"\xff\xfe").decode())
    refused(gate, Authorization=f"Digest {text}")
    refused(gate, x_velt_api_key=other.key_id, x_velt_auth_token=text)


def test_a_revoked_key_stops_within_seconds(gate: Gate) -> None:
    """It is believed for a few seconds after it was last looked up, and then not any more."""
    gate.bearer()
    gate.change(revoked_at=gate.clock())
    gate.elapsed += BELIEVED_FOR_SECONDS
    refused(gate, Authorization=f"Bearer {gate.key.text}")
    refused(gate, Authorization=f"Bearer {gate.key.text}")


def test_an_expired_key_is_refused_at_its_second(gate: Gate) -> None:
    """Also while it is still believed."""
    gate.change(valid_until=gate.clock() + timedelta(seconds=2))
    gate.bearer()
    gate.clock.advance(2)
    refused(gate, Authorization=f"Bearer {gate.key.text}")


def test_a_known_key_is_not_looked_up_for_each_call(gate: Gate) -> None:
    """But its secret is compared each time."""
    for _ in range(5):
        gate.bearer()
    reads = gate.store.reads
    assert reads == 1
    refused(gate, Authorization=f"Bearer {replace(gate.key, secret=new_key('live').secret).text}")


def test_a_missing_scope_is_told(gate: Gate) -> None:
    """After the key itself has been found good."""
    with pytest.raises(ForbiddenError) as caught:
        gate.bearer("users:write")
    assert caught.value.reason == "insufficient_permissions"


def test_a_tenant_key_acts_for_its_tenant_only(gate: Gate) -> None:
    """Naming it is fine, naming another is refused, whether that one exists or not."""
    assert gate.bearer(X_Tenant_ID="acme").tenant_id == "acme"
    messages = set()
    for other in ("globex", "nobody", "*", "ACME", "acme "):
        with pytest.raises(ForbiddenError) as caught:
            gate.bearer(X_Tenant_ID=other)
        assert caught.value.reason == "tenant_mismatch"
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_platform_key_names_the_tenant_of_each_call(gate: Gate) -> None:
    """There is no call for all tenants."""
    caller = gate.ask(Authorization=f"Bearer {gate.platform.text}", X_Tenant_ID="globex")
    assert (caller.tenant_id, caller.is_platform) == ("globex", True)
    for headers in ({}, {"X_Tenant_ID": "*"}, {"X_Tenant_ID": ""}, {"X_Tenant_ID": "a" * 257}):
        with pytest.raises(InvalidInputError) as caught:
            gate.ask(Authorization=f"Bearer {gate.platform.text}", **headers)
        assert caught.value.field == "X-Tenant-ID"


def test_calls_beyond_the_limit_wait_for_the_next_minute() -> None:
    """The last one allowed sees 0 remaining; the one after it is told when to come again."""
    gate = Gate(calls_per_minute=2)
    seen = []
    for _ in range(2):
        call = gate.call(Authorization=f"Bearer {gate.key.text}")
        gate.verifier.authenticate(call, "users:read")
        seen.append(call.rate)
    resets_at = int(gate.clock().timestamp()) // 60 * 60 + 60
    assert seen == [(2, 1, resets_at), (2, 0, resets_at)]
    call = gate.call(Authorization=f"Bearer {gate.key.text}")
    with pytest.raises(RateLimitedError) as caught:
        gate.verifier.authenticate(call, "users:read")
    assert caught.value.retry_after == 60
    assert call.rate == (2, 0, resets_at)
    gate.clock.advance(60)
    gate.bearer()


def test_a_key_may_have_a_limit_of_its_own() -> None:
    """It counts instead of the stack's."""
    gate = Gate(calls_per_minute=100)
    gate.change(calls_per_minute=1)
    gate.bearer()
    with pytest.raises(RateLimitedError):
        gate.bearer()


def test_the_day_of_use_is_noted_once_a_day(gate: Gate) -> None:
    """One write, not one for each call."""
    gate.bearer()
    assert gate.store.keys[gate.key.key_id].last_used_on == "2026-03-01"
    gate.store.touch(gate.key.key_id, "noted")
    gate.bearer()
    assert gate.store.keys[gate.key.key_id].last_used_on == "noted"
    gate.clock.advance(86_400)
    gate.bearer()
    assert gate.store.keys[gate.key.key_id].last_used_on == "2026-03-02"
