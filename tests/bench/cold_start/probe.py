"""One cold start, run in an interpreter of its own: ``probe.py <handler module> <scenario as JSON>``.

Imports the handler's module and invokes it. Every AWS request is made as usual (serialised, endpoint resolved, signed)
and then goes to a stub instead of the network. As soon as all the services in ``scenario["until"]`` have got one, the
start is over: the clock is read and the process ends. Standard library only; prints the milliseconds.

scenario: ``until`` (service names), ``event``, and for the subject API ``jwks`` (the issuer's document) or
``principal`` (then no token is checked); ``items``: what DynamoDB has, by ``pk``.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from functools import partial
from typing import Any

STARTED_AT = time.perf_counter()
SECRET = {"ARN": "arn", "Name": "key", "SecretString": "0123456789abcdef0123456789abcdef"}
SENT: list[str] = []


class ReadyError(BaseException):
    """Not an Exception, so that nobody on the way catches it."""


class Context:
    function_name = "cold-start"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:cold-start"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def stub_network(until: set[str], items: dict[str, Any]) -> None:
    from botocore.awsrequest import AWSResponse
    from botocore.httpsession import URLLib3Session

    class Raw:
        def __init__(self, body: bytes) -> None:
            self.body = body

        def stream(self, **_: Any) -> Any:
            yield self.body

    def send(_session: Any, request: Any) -> Any:
        assert b"AWS4-HMAC-SHA256" in request.headers["Authorization"], "not signed"
        service = request.url.split("//")[1].split(".")[0]
        SENT.append(service)
        if until <= set(SENT):
            raise ReadyError
        body = SECRET if service == "secretsmanager" else {}
        if items and service == "dynamodb":
            body = answer_of_table(json.loads(request.body), items)
        return AWSResponse(
            request.url, 200, {"content-type": "application/x-amz-json-1.0"}, Raw(json.dumps(body).encode())
        )

    URLLib3Session.send = send


def answer_of_table(call: dict[str, Any], items: dict[str, Any]) -> dict[str, Any]:
    """A count of one for updates; for reads, what there is."""
    if "UpdateExpression" in call:
        return {"Attributes": {"calls": {"N": "1"}}}
    item = items.get(call["Key"]["pk"]["S"]) if "Key" in call else None
    return {"Item": item} if item else {}


def prepare(scenario: dict[str, Any]) -> None:
    if "jwks" in scenario:
        signing_keys = importlib.import_module("erasure.entry.signing_keys")
        signing_keys.fetch_document = lambda _address: json.dumps(scenario["jwks"]).encode()
    if "principal" in scenario:
        tokens = importlib.import_module("erasure.entry.tokens")
        subject = importlib.import_module("erasure.domain.subject")
        principal = tokens.Principal(subject.Subject("acme", "alice"), "alice", "alice", "")
        tokens.TokenVerifier.verify = lambda _self, _authorization: principal


def call_bare(boto3: Any, _event: Any, _context: Any) -> None:
    boto3.client("dynamodb").get_item(TableName="T", Key={"pk": {"S": "k"}})


def main() -> None:
    module, scenario = sys.argv[1], json.loads(sys.argv[2])
    if module == "bare":
        boto3 = importlib.import_module("boto3")
        stub_network({"dynamodb"}, {})
        handler = partial(call_bare, boto3)
    else:
        handler = importlib.import_module(module).handler
        stub_network(set(scenario["until"]), scenario.get("items", {}))
        prepare(scenario)
    try:
        answer = handler(scenario["event"], Context())
    except ReadyError:
        print((time.perf_counter() - STARTED_AT) * 1000)
        return
    sys.exit(f"{module} ended before it had sent to all of {scenario['until']}: {SENT}, {answer}")


main()
