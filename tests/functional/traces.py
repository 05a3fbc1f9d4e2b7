"""Where the service holds a text, in whatever spelling: every item of its tables, every version in its bucket, its
queues, the input of its executions, what it told the outside, and its logs."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from tests.functional.job_stack import CONTROL_BUCKET, JobStack

SERVICE_TABLES = ("Requests", "Registry", "Audit", "DeleteIds")


def spellings(text: str) -> frozenset[str]:
    """The text and what anybody can make of it, or find out from: escaped, encoded, folded, and digests without key."""
    forms = {text, text.casefold(), *(unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC"))}
    found = set(forms)
    for form in forms:
        data = form.encode()
        found |= {quote(form), quote(form, safe=""), quote_plus(form), repr(form)[1:-1], data.hex()}
        found |= {
            json.dumps(form)[1:-1],
            json.dumps(json.dumps(form))[3:-3],
            json.dumps(form, ensure_ascii=False)[1:-1],
        }
        found |= {base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("=")}
        found |= {hashlib.new(name, data).hexdigest() for name in ("sha256", "sha1", "md5", "sha512")}
        found.add(base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("="))
    return frozenset(found)


class Traces:
    """What leaves the service is collected from the beginning: messages before they are taken, and events."""

    def __init__(self, stack: JobStack) -> None:
        self._stack = stack
        self._left: list[tuple[str, str]] = []

    def note(self, place: str, text: str) -> None:
        self._left.append((place, text))

    def of(self, texts: Iterable[str], logs: str = "") -> set[str]:
        """The places that have any of the texts in any spelling."""
        looked_for = frozenset[str]().union(*map(spellings, texts))
        return {place for place, text in self._everything(logs) if any(each in text for each in looked_for)}

    def _everything(self, logs: str) -> Iterator[tuple[str, str]]:
        yield "logs", logs
        yield from self._left
        for table in SERVICE_TABLES:
            for page in self._stack.dynamodb.get_paginator("scan").paginate(TableName=table):
                for item in page["Items"]:
                    yield f"{table} {item['pk']['S']}", "\n".join(_leaves(item))
        for page in self._stack.s3.get_paginator("list_object_versions").paginate(Bucket=CONTROL_BUCKET):
            for version in page.get("Versions", []):
                named = {"Key": version["Key"], "VersionId": version["VersionId"]}
                body = self._stack.s3.get_object(Bucket=CONTROL_BUCKET, **named)["Body"].read()
                yield "bucket", f"{version['Key']}\n{body.decode('utf-8', 'replace')}"
        for name, text in self._stack.executions().items():
            yield "executions", f"{name}\n{text}"
        for queue_url in (self._stack.queue_url, self._stack.batch_queue_url):
            while taken := self._stack.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
                for message in taken:
                    yield "queues", message["Body"]


def _leaves(value: Any) -> Iterator[str]:
    """Every text in an item: names of attributes, and values of whatever type."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _leaves(each)
    elif isinstance(value, (list, set, tuple)):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
        yield base64.b64encode(value).decode()
    else:
        yield str(value)
