"""Goal 4: accepting an erasure is one conditional write and one message; clients are made once for each worker.

The real handler of the API, wired as in Lambda, on moto; tokens are taken for good. Calls are counted by botocore's
own events, repetitions included. The write is one TransactWriteItems: it consumes the delete id and creates the
request with its first audit entry, or does nothing.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import moto
from botocore.session import Session

from erasure.adapters.aws import Clients
from erasure.domain.subject import Subject
from erasure.entry.tokens import Principal, TokenVerifier
from erasure.entry.wiring import build_subject_api
from tests.bench.counting import CallCounter
from tests.functional.job_stack import Context, JobStack

GOAL = 4
ERASURES = 20
READS = {"GetItem", "Query", "BatchGetItem", "GetSecretValue"}


def run(erasures: int = ERASURES) -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict`` (``pass`` or ``miss``)."""
    with _api() as (handler, counter):
        _confirm(handler, _delete(handler))  # a worker's first: the secret and the data map are read once
        counter.take()
        delete_ids = [_delete(handler) for _ in range(erasures)]
        issuing = counter.take()
        for delete_id in delete_ids:
            _confirm(handler, delete_id)
        accepting = counter.take()
        clients = counter.clients
    writes = Counter({name: count for name, count in accepting.items() if name not in READS | {"SendMessage"}})
    return [
        _row("conditional writes to accept one erasure", writes.total() / erasures, 1),
        _row("messages to accept one erasure", accepting["SendMessage"] / erasures, 1),
        _row("calls to accept one erasure and look at its progress once", accepting.total() / erasures, 3),
        _row("calls to look for legal holds and hand out a delete id", issuing.total() / erasures, 2),
        _row(f"clients of one service made by a worker in {erasures + 1} erasures", max(clients.values()), 1),
    ]


def _row(what: str, measured: float, bound: int) -> dict[str, Any]:
    ratio = round(measured / bound, 3)
    return {
        "goal": GOAL,
        "what": what,
        "measured": measured,
        "bound": bound,
        "ratio": ratio,
        "verdict": "pass" if ratio <= 1 else "miss",
    }


@contextmanager
def _api() -> Iterator[tuple[Any, CallCounter]]:
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    principal = Principal(Subject("acme", "ann"), "ann", "ann", "")
    with mock.patch.dict(os.environ, credentials), moto.mock_aws():
        stack = JobStack()
        session, counter = Session(), CallCounter()
        secret = session.create_client("secretsmanager").create_secret(Name="bench-key", SecretString="k" * 32)
        counter.watch_session(session)
        environment = {
            **stack.environment(),
            "DIGEST_KEY_SECRET_ARN": secret["ARN"],
            "OIDC_ISSUER": "https://issuer.example",
            "OIDC_AUDIENCE": "erasure",
        }
        with mock.patch.object(TokenVerifier, "verify", return_value=principal):
            yield build_subject_api(environment, Clients(session)), counter


def _delete(handler: Any) -> str:
    answer = _call(handler, "DELETE", "/users/current")
    return str(json.loads(answer["body"])["delete_id"])


def _confirm(handler: Any, delete_id: str) -> None:
    answer = _call(handler, "POST", "/users/current/confirm-delete", {"delete_id": delete_id})
    if answer["statusCode"] != 202:
        raise RuntimeError(f"not accepted: {answer['statusCode']}")


def _call(handler: Any, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    event = {
        "httpMethod": method,
        "path": path,
        "resource": path,
        "headers": {"Authorization": "Bearer token"},
        "queryStringParameters": {"timeout": "0"},
        "requestContext": {"requestId": "bench", "path": path},
        "body": None if body is None else json.dumps(body),
    }
    answer: dict[str, Any] = handler(event, Context())
    return answer
