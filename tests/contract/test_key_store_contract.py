"""API keys and the counts of their calls: the same claims of the stores on DynamoDB (moto) and of the fakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import botocore.session
import moto
import pytest

from erasure.adapters.key_store import DynamoDBKeyStore, DynamoDBRateCounter
from erasure.domain.api_key import ApiKey, new_key, secret_digest
from erasure.ports import KeyStore, RateCounter
from tests.fake_keys import FakeKeyStore, FakeRateCounter

NOW = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
Stores = tuple[KeyStore, RateCounter]


@pytest.fixture(params=["fake", "moto"])
def stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    if request.param == "fake":
        yield FakeKeyStore(), FakeRateCounter()
        return
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    with moto.mock_aws():
        client = botocore.session.Session().create_client("dynamodb")
        client.create_table(
            TableName="registry",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        yield DynamoDBKeyStore(lambda: client, "registry"), DynamoDBRateCounter(lambda: client, "registry")


def a_key(tenant_id: str = "acme", created_at: datetime = NOW) -> ApiKey:
    new = new_key("live")
    scopes = frozenset({"users:read", "erasure:write"})
    return ApiKey(new.key_id, "live", secret_digest(new.secret), tenant_id, scopes, "ci", created_at)


def test_a_key_is_read_back_as_it_was_put(stores: Stores) -> None:
    """With and without what is optional."""
    keys, _ = stores
    plain = a_key()
    full = replace(a_key(), valid_until=NOW + timedelta(days=1), calls_per_minute=5)
    assert keys.put(plain)
    assert keys.put(full)
    assert keys.get(plain.key_id) == plain
    assert keys.get(full.key_id) == full
    assert keys.get("nobody") is None


def test_a_key_is_never_replaced(stores: Stores) -> None:
    """A second key with the same id is refused, the first stays."""
    keys, _ = stores
    key = a_key()
    assert keys.put(key)
    assert not keys.put(replace(key, scopes=frozenset({"keys:write"})))
    assert keys.get(key.key_id) == key


def test_revoking_twice_keeps_the_first_time(stores: Stores) -> None:
    """And what does not exist cannot be revoked into existence."""
    keys, _ = stores
    key = a_key()
    keys.put(key)
    assert keys.revoke(key.key_id, NOW)
    assert keys.revoke(key.key_id, NOW + timedelta(hours=1))
    revoked = keys.get(key.key_id)
    assert revoked is not None
    assert revoked.revoked_at == NOW
    assert not keys.revoke("nobody", NOW)
    assert keys.get("nobody") is None


def test_a_tenant_sees_its_own_keys_oldest_first(stores: Stores) -> None:
    """All of them, those of a neighbour with a similar name excepted; revoked ones too."""
    keys, _ = stores
    mine = [a_key(created_at=NOW + timedelta(minutes=number)) for number in range(103)]
    for key in reversed(mine):
        keys.put(key)
    keys.put(a_key("acme-labs"))
    keys.revoke(mine[1].key_id, NOW)
    listed = keys.list("acme")
    assert [key.key_id for key in listed] == [key.key_id for key in mine]
    assert listed[1].revoked_at == NOW
    assert keys.list("nobody") == []


def test_the_day_of_the_last_use_is_noted(stores: Stores) -> None:
    """Nothing else of the key changes."""
    keys, _ = stores
    key = a_key()
    keys.put(key)
    keys.touch(key.key_id, "2026-03-01")
    assert keys.get(key.key_id) == replace(key, last_used_on="2026-03-01")


def test_calls_are_counted_by_key_and_minute(stores: Stores) -> None:
    """Each call exactly once."""
    _, counter = stores
    assert [counter.count("a", 100, NOW) for _ in range(3)] == [1, 2, 3]
    assert counter.count("b", 100, NOW) == 1
    assert counter.count("a", 101, NOW) == 1
