"""The client between callers, services and machines that are not as they should be."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from erasure_client import ErasureClient
from erasure_client.errors import ConfigurationError
from tests.unit.client.carriers import Driver

KEY = "sk_test_0123456789abcdef_secret"


@contextmanager
def listening(connections: list[int]) -> Iterator[str]:
    """The address of a service that is well, whoever asks, and keeps its connections. ``connections``: the number of
    calls that came over each."""
    answer = b'{"status": "ok", "version": "1"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)

    def serve(connection: socket.socket, place: int) -> None:
        with connection:
            while connection.recv(65536):
                connections[place] += 1
                connection.sendall(head + answer)

    def accept(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connections.append(0)
            threading.Thread(target=serve, args=(connection, len(connections) - 1), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is another one, as the child is after ``os.fork()``."""
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)


class TestProcesses:
    def test_a_forked_process_has_connections_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two processes that read from one connection would take each other's answers: the one about another's user
        would say that one's own is deleted."""
        connections: list[int] = []
        with listening(connections) as url, ErasureClient(url, api_key=KEY) as client:
            client.health()
            client.health()
            assert connections == [2]
            fork(monkeypatch)
            client.health()
            client.health()
            assert connections == [2, 2]

    def test_what_was_closed_stays_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also in a process that has forked afterwards."""
        client = ErasureClient("http://127.0.0.1:1", api_key=KEY)
        client.close()
        fork(monkeypatch)
        with pytest.raises(ConfigurationError, match="closed"):
            client.health()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks9://me:hunter2@127.0.0.1:1"),
        ("HTTPS_PROXY", "http://[::me:hunter2"),
        ("NO_PROXY", "[::1"),
        ("SSL_CERT_FILE", "/nowhere/hunter2.pem"),
    ],
)
def test_an_environment_that_cannot_be_used(kind: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and certificates that httpx does not understand are told as such, without a proxy's password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        Driver(kind).through(lambda client: client.health(), base_url="https://erasure.example.com", api_key=KEY)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__
