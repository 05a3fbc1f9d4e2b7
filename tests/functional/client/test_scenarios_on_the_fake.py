"""The scenarios pass against the service in memory that users of the client test with, as they do against a stack."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

import erasure_client
from erasure_client.testing import FakeService
from tests.client.scenario_run import EXPECTED, people_of, run_scenarios

THINGS = {"accounts": 1, "documents": 2, "sessions": 1, "files": 3}
CLIENTS = ("sync", "async")


@contextmanager
def served(service: FakeService) -> Iterator[str]:
    """Its address for other processes. What is accepted is worked on by itself, a moment later."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = httpx.Request(
                self.command, f"{service.url}{self.path}", headers=dict(self.headers.items()), content=content
            )
            answer = service.handle_request(request)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() != "content-length":
                    self.send_header(name, value)
            if answer.status_code != 204:
                self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815 - the names are http.server's

        def log_message(self, *_arguments: object) -> None:
            """Silence."""

    def work() -> None:
        while not ended.wait(0.2):
            service.run()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threads = [threading.Thread(target=work), threading.Thread(target=server.serve_forever, args=(0.02,))]
    for thread in threads:
        thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


def test_the_scenarios_pass_on_the_fake(tmp_path: Path) -> None:
    """Every scenario, with either client: none fails, none is left out. The command line, which takes a process for
    each of its steps, goes through them on the deployed stack."""
    service = FakeService(*CLIENTS)
    own: dict[str, Any] = {}
    for hand in CLIENTS:
        people = people_of(hand)
        for user_id in people.values():
            service.add_user(user_id, tenant_id=hand, **THINGS)
        service.suppress(people["suppressed"], tenant_id=hand)
        token = service.token(people["herself"], tenant_id=hand)
        own[hand] = {"api_key": service.make_key(hand), "people": people, "token": token}
    package = str(Path(erasure_client.__file__).parent.parent)
    variables = {"PYTHONPATH": package, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with served(service) as url:
        world = {"url": url, "things": THINGS, "hands": own, "command": []}
        result = run_scenarios(Path(sys.executable), tmp_path, world, hands=CLIENTS, variables=variables)
    assert result.others == [], result.output
    assert result.passed == {hand: EXPECTED[hand] for hand in CLIENTS}, result.output
