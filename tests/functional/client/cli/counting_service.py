"""A service that answers what a bulk asks, by the real one's rules for idempotency keys, and counts its requests."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

REFUSED_CHARACTER = "#"
"""Ids with it are refused."""

PATH = "/v1/erasure-requests"


@dataclass
class CountingService:
    """``now``: its clock. ``after_work``: called when a batch was made, before it is answered."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    after_work: Callable[[], None] = lambda: None
    target_names: tuple[str, ...] = ("documents", "files")
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str | None, Any]] = field(default_factory=list)
    _keys: dict[str, tuple[datetime, Any, dict[str, Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def requests_of_each(self) -> Counter[str]:
        return Counter(request["subject"]["id"] for request in self.requests.values())

    def posts(self) -> list[Any]:
        """Bodies of the calls that asked for erasures, repetitions included."""
        return [body for method, _, body in self.calls if method == "POST" and not body.get("dry_run")]

    def make(self, subjects: list[dict[str, str]], *, family: str = "native", **extra: Any) -> dict[str, Any]:
        """Requests for all but the refused, as one batch."""
        at, batch_id = self.now(), f"eb_{len(self.requests):026}"
        entries = []
        for subject in subjects:
            if REFUSED_CHARACTER in subject["id"]:
                entries.append({"subject": subject, "status": "refused", "reason": "ambiguous_identifier"})
                continue
            request = {
                "id": f"er_{len(self.requests):026}",
                "subject": subject,
                "state": "requested",
                "attention": False,
                "requested_at": at.isoformat(),
                "due_at": (at + timedelta(hours=72)).isoformat(),
                "purged_by": (at + timedelta(days=90)).isoformat(),
                "batch_id": batch_id,
                **extra,
            }
            self.requests[request["id"]] = request
            self.families[request["id"]] = family
            entries.append({"subject": subject, "status": "accepted", "request": request})
        return {"batch_id": batch_id, "requests": entries}

    def answer(self, method: str, url: str, key: str | None, content: bytes) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = json.loads(content) if content else {}
        with self._lock:
            self.calls.append((method, key, body))
            if method == "POST":
                return self._create(key, body)
            if parts.path == PATH:
                return 200, {"requests": self._listed(query)}
            request_id, _, what = parts.path.removeprefix(f"{PATH}/").partition("/")
            return 200, self._trail(request_id) if what == "audit" else self._shown(request_id)

    def _create(self, key: str | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("dry_run"):
            return 200, {"dry_run": True, "plans": [self._plan(subject) for subject in body["subjects"]]}
        kept = self._keys.get(key or "")
        if kept is not None and self.now() - kept[0] < timedelta(hours=24):
            return (202, kept[2]) if kept[1] == body else _problem(409, "conflict", "Idempotency-Key", "another body")
        moment = body.get("not_before")
        if moment is not None and datetime.fromisoformat(moment) <= self.now():
            return _problem(400, "invalid_request", "not_before", "must be in the future")
        if len(body["subjects"]) == 1 and REFUSED_CHARACTER in body["subjects"][0]["id"]:
            rule = "holds a character that separates ids where this service's data is kept"
            return _problem(400, "invalid_request", "subjects[0].id", rule, "ambiguous_identifier")
        extra = {} if moment is None else {"not_before": moment}
        if "scope" in body:
            extra["organization_ids"] = body["scope"]["organization_ids"]
        answer = self.make(body["subjects"], **extra)
        self._keys[key or ""] = (self.now(), body, answer)
        self.after_work()
        return 202, answer

    def _listed(self, query: dict[str, str]) -> list[dict[str, Any]]:
        subject = {"type": query["type"], "id": query["subject_id"]}
        found = [request for request in self.requests.values() if request["subject"] == subject]
        return sorted(found, key=lambda request: str(request["requested_at"]), reverse=True)

    def _plan(self, subject: dict[str, str]) -> dict[str, Any]:
        rest = {"category": "content", "kind": "s3", "action": "delete"}
        targets = [{"name": name, **rest} for name in self.target_names]
        return {"subject": subject, "targets": targets, "out_of_scope": []}

    def _shown(self, request_id: str) -> dict[str, Any]:
        request = self.requests[request_id]
        names = request.get("covers", self.target_names)
        targets = [{"name": name, "category": "content", "state": "waiting", "count": 0} for name in names]
        return {**request, "targets": targets}

    def _trail(self, request_id: str) -> dict[str, Any]:
        entries = [("requested", {"family": self.families[request_id]})]
        if self.requests[request_id]["state"] == "cancelled":
            entries.append(("cancelled", {"reason": self.requests[request_id]["because"]}))
        shown = [
            {
                "request_id": request_id,
                "sequence": number,
                "event_id": str(number),
                "event": event,
                "at": self.now().isoformat(),
                "details": details,
                "previous_digest": "",
                "digest": "",
            }
            for number, (event, details) in enumerate(entries)
        ]
        return {"id": request_id, "whole": True, "entries": shown}

    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            # The client's addresses do not show their paths as text.
            path = request.url.raw_path.decode()
            status, body = self.answer(request.method, path, request.headers.get("Idempotency-Key"), request.content)
            return httpx.Response(status, json=body)

        return httpx.MockTransport(handle)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address, for other processes."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = service.answer(self.command, self.path, self.headers.get("Idempotency-Key"), content)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - as http.server calls it

            def log_message(self, *_: Any) -> None:
                """Quietly."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that was killed is no news."""

        server = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _problem(status: int, code: str, name: str, rule: str, reason: str | None = None) -> tuple[int, dict[str, Any]]:
    broken = {"field": name, "rule": rule, **({} if reason is None else {"reason": reason})}
    return status, {"code": code, "message": f"{name}: {rule}", "errors": [broken]}
