"""The client between callers, services and machines that are not as they should be."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx
import pytest

from erasure_client import ErasureClient, ErasureRequest, SelfDeletion
from erasure_client._figures import health
from erasure_client._flow import Retries
from erasure_client._self_deletion import confirm
from erasure_client._waiting import wait
from erasure_client.errors import ConfigurationError, NoAnswerError, ServiceError
from tests.unit.client import bodies
from tests.unit.client.carriers import Driver, Service, answer, problem

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


class TestWhatCountsAsGone:
    """``is_complete`` is said of nothing that may still be there."""

    @pytest.mark.parametrize(
        "more",
        [
            {"attention": True},
            {"late_arrivals": 2, "followed_by": "er_01M80F136NHBE2JQNEWSAJ1BFC"},
            {"targets": []},
            {"targets": [bodies.target(kept_more=True)]},
            {"targets": [bodies.target(), bodies.target("reported", count=0)]},
            {"targets": [bodies.target(), bodies.target("crumpled")]},
            {"state": "nearly_finished"},
        ],
    )
    def test_a_request(self, more: dict[str, Any]) -> None:
        """Not of one that needs attention, after whose end something was found, whose targets are not told, or are at
        an end that nobody knows; nor in a state that nobody knows."""
        whole: dict[str, Any] = {"state": "finished", "targets": [bodies.target()]}
        assert ErasureRequest.of(bodies.request(**whole, late_arrivals=0)).is_complete
        assert not ErasureRequest.of(bodies.request(**{**whole, **more})).is_complete

    @pytest.mark.parametrize("more", [{"attention": True}, {"targets": []}, {"targets": [{"kept_more": True}]}])
    def test_a_deletion_of_ones_own(self, more: dict[str, Any]) -> None:
        """Nor of a person's own, by what its status says."""
        target = {"target": "documents", "category": "content", "outcome": "erased", "count": 1}
        whole = own(targets=[target])
        assert SelfDeletion.of(whole).is_complete
        told = {**more, "targets": [{**target, **each} for each in more.get("targets", [{}])]}
        assert not SelfDeletion.of({**whole, **told}).is_complete

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_the_service_has_said_so(self, kind: str) -> None:
        """A 204 for the confirmation says it, also if the status then tells of no targets."""
        gone = answer(204, x_erasure_request_id=bodies.REQUEST_ID)
        told = Driver(kind).run(confirm("d", Retries()), Service.of(gone, answer(200, own(targets=[]))))
        assert told.is_complete
        # The same status after a 202 says nothing of what became of the data.
        accepted = answer(202, {}, x_erasure_request_id=bodies.REQUEST_ID)
        told = Driver(kind).run(confirm("d", Retries()), Service.of(accepted, answer(200, own(targets=[]))))
        assert (told.is_finished, told.is_complete) == (True, False)


def own(**more: Any) -> dict[str, Any]:
    told = {"request_id": bodies.REQUEST_ID, "state": "finished", "attention": False}
    return {**told, "requested_at": bodies.AT, "due_at": bodies.LATER, **more}


@pytest.mark.parametrize("kind", ["sync", "async"])
class TestPausesThatAreAskedFor:
    @pytest.mark.parametrize("asked", ["9" * 400, "31536000", "Mon, 01 Jan 9999 00:00:00 GMT"])
    def test_years(self, kind: str, asked: str) -> None:
        """Who waits without an end does not sleep for years because one answer says so: its error is raised."""
        look = answer(200, bodies.request(state="started"))
        service = Service.of(look, problem(503, "unavailable", retry_after=asked), look)
        with pytest.raises(ServiceError) as caught:
            Driver(kind).run(wait(bodies.REQUEST_ID, Retries()), service)
        assert caught.value.request_id == bodies.REQUEST_ID
        assert sum(service.pauses) < 10

    @pytest.mark.parametrize("asked", ["nan", "-5", "1e9", "Mon, 01 Jan 99999999999 00:00:00 GMT", "²", "0x10"])
    def test_no_time(self, kind: str, asked: str) -> None:
        """What is no time is none, however it looks: the call is repeated in the client's own time."""
        service = Service.of(
            problem(503, "unavailable", retry_after=asked), answer(200, {"status": "ok", "version": "1"})
        )
        Driver(kind).run(health(Retries()), service)
        assert len(service.calls) == 2
        assert 0 < sum(service.pauses) < 10


class _Drops(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer that comes drop by drop, and never to its end."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b" "] * 1000)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for drop in self:
            yield drop


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_answer_that_drips(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for some seconds does not wait for all of an answer of which a little comes now and then."""
    seconds = count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    with pytest.raises(NoAnswerError, match="in time"):
        Driver(kind).through(
            lambda client: client.requests.wait(bodies.REQUEST_ID, timeout=20),
            base_url="https://erasure.example.com",
            api_key=KEY,
            transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=_Drops())),
        )
    assert next(seconds) < 100
