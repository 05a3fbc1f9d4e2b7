"""API Gateway in front of a handler, for tests: HTTP in, REST proxy event to the handler, its answer out."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from erasure.entry.exchange import Route

Handler = Callable[[Mapping[str, Any], Any], Mapping[str, Any]]


class Gateway:
    """Serves ``handler`` below ``base_path``, as a custom domain's base path mapping does. A context manager.

    What no route matches never reaches the handler, as on AWS: it gets the gateway's own 403.
    """

    def __init__(self, handler: Handler, routes: Sequence[Route], base_path: str = "") -> None:
        self._handler = handler
        self._routes = routes
        self._base_path = base_path
        self._one_at_a_time = threading.Lock()  # as in a Lambda worker
        gateway = self

        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet: in two, the second waits for the first one's receipt

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                answer = gateway.call(self.command, self.path, dict(self.headers.items()), body or None)
                text = (answer["body"] or "").encode()
                self.send_response(answer["statusCode"])
                for name, values in answer["multiValueHeaders"].items():
                    for value in values:
                        self.send_header(name, value)
                if answer["statusCode"] != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815 - the names are http.server's

            def log_message(self, *_arguments: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}{base_path}"

    def call(self, method: str, target: str, headers: dict[str, str], body: str | None) -> Mapping[str, Any]:
        url = urlsplit(target)
        inner = url.path.removeprefix(self._base_path)
        for route in self._routes:
            values = _match(route.path, inner)
            if route.method == method and values is not None:
                event = self._event(method, url.path, route.path, values, parse_qs(url.query), headers, body)
                with self._one_at_a_time:
                    return self._handler(event, None)
        return {"statusCode": 403, "body": '{"message":"Missing Authentication Token"}', "multiValueHeaders": {}}

    def _event(
        self,
        method: str,
        path: str,
        resource: str,
        values: dict[str, str],
        query: dict[str, list[str]],
        headers: dict[str, str],
        body: str | None,
    ) -> dict[str, Any]:
        return {
            "resource": resource,
            "path": path,
            "httpMethod": method,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": values or None,
            "stageVariables": None,
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "resourcePath": resource,
                "httpMethod": method,
                "path": path,
                "stage": "prod",
                "domainName": "127.0.0.1",
                "identity": {"sourceIp": "127.0.0.1"},
            },
            "body": body,
            "isBase64Encoded": False,
        }

    def __enter__(self) -> Gateway:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _match(template: str, path: str) -> dict[str, str] | None:
    """The values of the template's placeholders, or None."""
    wanted, given = template.split("/"), path.rstrip("/").split("/")
    if len(wanted) != len(given):
        return None
    values = {}
    for name, text in zip(wanted, given, strict=True):
        if name.startswith("{"):
            values[name[1:-1]] = unquote(text)
        elif name != text:
            return None
    return values
