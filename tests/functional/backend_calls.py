"""The backend API as API Gateway sees it, in front of a :class:`tests.functional.backend_world.BackendWorld`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

from aws_lambda_powertools.logging import Logger

from erasure.domain.api_key import SCOPES, ApiKey, new_key, secret_digest
from erasure.domain.clock import ClockPolicy
from erasure.domain.retention_runs import KnownRule
from erasure.entry.backend_api import make_backend_api
from erasure.entry.backend_auth import KeyVerifier
from erasure.entry.holds import HoldsFamily
from erasure.entry.retention import RetentionFamily
from erasure.entry.sla import SlaFamily
from erasure.services.api_keys import ApiKeyService
from erasure.services.retention_rules import RetentionPolicy
from erasure.services.sla_figures import SlaReader
from tests import fake_keys, fakes
from tests.functional.backend_world import KEY, TENANT, USER, BackendWorld

Reply = Mapping[str, Any]


class BackendApi:
    """The API as API Gateway sees it, on a world of its own."""

    def __init__(self, world: BackendWorld | None = None, *, calls_per_minute: int = 600) -> None:
        self.world = world or BackendWorld()
        self.keys = fake_keys.FakeKeyStore()
        self.log = io.StringIO()
        world = self.world
        self.rules: list[KnownRule] = []
        known_rules: Any = SimpleNamespace(list=lambda: [*self.rules])
        self.handle = make_backend_api(
            verifier=KeyVerifier(
                self.keys,
                fake_keys.FakeRateCounter(),
                mode="live",
                calls_per_minute=calls_per_minute,
                now=world.clock,
                monotonic=world.monotonic,
            ),
            erasures=world.erasures,
            plans=lambda: world.plans,
            accounts=world.accounts,
            keys=ApiKeyService(self.keys, mode="live", digest_key=lambda: KEY, now=world.clock),
            suppressions=fakes.FakeSuppressionStore(world.registry),
            data_maps=world.maps,
            holds=HoldsFamily(world.hold_service, world.once),
            retention=RetentionFamily(known_rules, world.maps, RetentionPolicy(ClockPolicy())),
            sla=SlaFamily(world.erasures, SlaReader(world.requests_by_clock, world.clock, 72)),
            idempotency=world.once,
            digest_key=lambda: KEY,
            now=world.clock,
            # Loggers of one name are one logger with the first one's stream.
            logger=Logger(service=f"backend_api-{uuid4()}", stream=self.log, level="INFO"),
        )
        self.key = self.make_key()

    def make_key(self, tenant_id: str = TENANT, scopes: Iterable[str] = SCOPES) -> str:
        """A new key's text."""
        key = new_key("live")
        self.keys.put(
            ApiKey(key.key_id, "live", secret_digest(key.secret), tenant_id, frozenset(scopes), "", self.world.clock())
        )
        return key.text

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a call with ``key`` as a bearer (default: the tenant's own; ``""``: without). ``body``: text as it is,
        anything else as JSON."""
        key = self.key if key is None else key
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        return self.handle(make_event(method, target, sent, text), None)

    def user(self, method: str, user_id: str = USER, action: str = "", body: object = None, **more: Any) -> Reply:
        """A call about one user, whose id goes into the path as a client has to write it."""
        path = f"/v1/users/{quote(user_id, safe='')}{action}"
        return self.call(method, path, body, **more)


def make_event(method: str, target: str, headers: Mapping[str, str], body: str | None) -> dict[str, Any]:
    """What API Gateway's REST API hands over: the path as it was sent, percent-encoded."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    resource = resource_of(url.path)
    return {
        "resource": resource,
        "path": url.path,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid4()),
            "resourcePath": resource,
            "httpMethod": method,
            "path": f"/v1-stage{url.path}",
            "stage": "v1-stage",
            "domainName": "api.example",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": body,
        "isBase64Encoded": False,
    }


def resource_of(path: str) -> str:
    """The template that API Gateway would have matched."""
    start, _, rest = path.partition("/v1/users/")
    if start or not rest or rest == "bulk-delete":
        return path
    _, slash, action = rest.partition("/")
    return f"/v1/users/{{user_id}}{slash}{action}"


def body_of(reply: Reply) -> Any:
    return json.loads(reply["body"])


def header_of(reply: Reply, name: str) -> str | None:
    values = reply["multiValueHeaders"].get(name, [None])
    assert len(values) == 1
    value: str | None = values[0]
    return value
