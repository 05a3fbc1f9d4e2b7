"""Clients are made when they are needed, once, and with the same retries everywhere."""

from __future__ import annotations

import contextlib
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session

from erasure.adapters.aws import Clients, client_config, error_code
from erasure.cold_start import kept_for_good


class CountingSession:
    """Makes plain objects, and notes whether two were being made at the same time."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.overlapped = False
        self._making = threading.Lock()
        self._slowly = threading.Event()

    def create_client(self, service: str, **_options: Any) -> object:
        self.overlapped |= not self._making.acquire(blocking=False)
        self._slowly.wait(0.02)
        self.made.append(service)
        self._making.release()
        return object()


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


def test_nothing_is_made_before_it_is_needed() -> None:
    """Neither a session nor a client exists until somebody asks."""
    session = CountingSession()
    clients = Clients(session)
    assert session.made == []
    clients.get("sqs")
    assert session.made == ["sqs"]


def test_threads_share_one_client_of_each_service() -> None:
    """Eight threads that ask at once get the same two clients, made one after the other."""
    session = CountingSession()
    clients = Clients(session)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(clients.get, ["dynamodb", "sqs"] * 8))
    assert sorted(session.made) == ["dynamodb", "sqs"]
    assert len(set(map(id, got))) == 2
    assert not session.overlapped


def test_overrides_replace_clients() -> None:
    """A test's own client is used as it is, and no other is made for its service."""
    session, own = CountingSession(), object()
    assert Clients(session, {"sqs": own}).get("sqs") is own
    assert session.made == []


def test_real_client_has_the_timeouts_and_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the configuration says arrives in the client: a dead connection costs seconds, not a slice."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    config = Clients().get("sqs").meta.config
    assert (config.connect_timeout, config.read_timeout) == (3.0, 10.0)
    # One call and four repetitions: botocore counts those.
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert client_config(max_pool_connections=40).max_pool_connections == 40


def test_a_client_may_wait_longer_and_call_once() -> None:
    """Where repeating a call is of no use, its client makes one, and waits for it."""
    session = get_session()
    session.set_credentials("test", "test")
    session.set_config_variable("region", "eu-central-1")
    clients = Clients(session)
    config = clients.get("lambda", read_timeout=22.0, total_max_attempts=1).meta.config
    assert (config.read_timeout, config.retries) == (22.0, {"mode": "standard", "total_max_attempts": 1})
    assert clients.get("lambda").meta.config is config
    assert clients.get("sqs").meta.config.read_timeout == 10.0


def test_error_code_of_an_odd_answer_is_empty() -> None:
    """An answer without a code is no reason to fail in error handling."""
    assert error_code(ClientError({}, "Operation")) == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_as_it_was_afterwards(enabled: bool) -> None:
    """Within, the garbage collector is off; after it, and after an error, it is as it was before."""
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with contextlib.suppress(ZeroDivisionError), kept_for_good():
            within = gc.isenabled()
            raise ZeroDivisionError
        assert (within, gc.isenabled()) == (False, enabled)
    finally:
        (gc.enable if was_enabled else gc.disable)()
        gc.unfreeze()


def test_what_was_kept_is_not_searched() -> None:
    """What is made within belongs to no generation that a collection looks at."""
    try:
        with kept_for_good():
            kept = [{} for _ in range(1000)]
        assert gc.get_freeze_count() >= 1000
        assert not any(thing is kept[500] for thing in gc.get_objects())
    finally:
        gc.unfreeze()
