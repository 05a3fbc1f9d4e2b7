"""A service on a real port of this machine, which can hang up, say nothing, and talk nonsense."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Heard(NamedTuple):
    """A call as it came over the line."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Line:
    """``behave`` is handed each call with its handler, and answers, or does not. ``work``: how often each idempotency
    key has had something done."""

    behave: Callable[[Line, Heard, BaseHTTPRequestHandler], None]
    heard: list[Heard] = field(default_factory=list)
    work: dict[str, int] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""


def say(handler: BaseHTTPRequestHandler, status: int, body: Any = None, **headers: str) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if status != 204:
        handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@contextmanager
def served(behave: Callable[[Line, Heard, BaseHTTPRequestHandler], None]) -> Iterator[Line]:
    line = Line(behave)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Heard(self.command, self.path, headers, self.rfile.read(length))
            line.heard.append(call)
            line.behave(line, call, self)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    line.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
