"""An application whose tables and buckets are put back as they were, beside the service on moto."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from erasure.domain.request import FINISHED, ErasureRequest
from erasure.domain.times import format_time, parse_time
from erasure.entry import backend_wiring, clock_wiring, operator_clock, operator_stack, wiring
from erasure.entry.operator import main
from erasure.entry.operator_stack import Stack
from erasure.services.replay import Replays
from tests.functional.full_application import Application, without_waiting
from tests.functional.job_stack import JobStack

WITHOUT_SCANS = ("key", "index", "detach", "redact", "retain", "prefix", "object", "identifiers", "for_each")
Item = dict[str, Any]


class ReplayWorld:
    """``items``, ``objects``: what the application had when it was last backed up."""

    def __init__(
        self, stack: JobStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ways: Iterable[str]
    ) -> None:
        self.stack = stack
        self._capsys = capsys
        without_waiting(stack)
        self.application = Application(stack, ways)
        self.key = stack.api_key()
        self.items: dict[str, list[Item]] = {}
        self.objects: dict[str, list[str]] = {}
        monkeypatch.setattr(operator_stack, "Clients", lambda: stack.clients)

    def environment(self) -> dict[str, str]:
        return {**self.stack.environment(), "VERIFY_TARGET_FUNCTION_NAME": "erasure-verify-target", "KEY_MODE": "live"}

    # Before the restore

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.stack.ask(self.key, method, path, body)
        assert status < 400, answer
        return answer

    def erase(self, user: str, **more: Any) -> ErasureRequest:
        """Through the native family, to its end."""
        body = {"subjects": [{"type": "user", "id": user}], **more}
        answer = self.ask("POST", "/v1/erasure-requests", body)
        self.stack.work()
        request = self.stack.request(answer["requests"][0]["request"]["id"])
        assert request.state == FINISHED
        return request

    def back_up(self) -> datetime:
        """Keep everything as it is now; the moment, with nothing of the service's in its millisecond or before it that
        comes later."""
        time.sleep(0.002)
        moment = parse_time(format_time(datetime.now(UTC)))
        time.sleep(0.002)
        self.items = {table: self.stack.items(table) for table in self.application.tables}
        for bucket in self.application.buckets:
            listed = self.stack.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
            self.objects[bucket] = [each["Key"] for each in listed]
        return moment

    # The restore

    def restore(self, *places: str) -> None:
        """Put tables and buckets back, all of them unless they are named."""
        for table, items in self.items.items():
            if not places or table in places:
                self._empty(table)
                for item in items:
                    self.stack.dynamodb.put_item(TableName=table, Item=item)
        for bucket, keys in self.objects.items():
            if not places or bucket in places:
                there = {each["Key"] for each in self.stack.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
                for key in set(keys) - there:
                    self.stack.s3.put_object(Bucket=bucket, Key=key, Body=b"text")

    def _empty(self, table: str) -> None:
        keys = self.stack.dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
        for item in self.stack.items(table):
            key = {each["AttributeName"]: item[each["AttributeName"]] for each in keys}
            self.stack.dynamodb.delete_item(TableName=table, Key=key)

    # The replay

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command of the operator: its exit code, and what it said."""
        self._capsys.readouterr()
        code = main(arguments, self.environment())
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def replay(self, since: datetime, *arguments: str) -> dict[str, Any]:
        """The report; all that was named unless something is. It is followed by the jobs."""
        places = [] if {"--table", "--bucket"} & set(arguments) else ["--all-targets"]
        code, out, _ = self.run("replay", "--since", format_time(since), "--json", *places, *arguments)
        report: dict[str, Any] = json.loads(out)
        assert code == (0 if report["complete"] else 1)
        self.stack.work()
        return report

    def replays(self) -> Replays:
        return Stack(None, self.environment()).replays()

    def requests(self) -> list[ErasureRequest]:
        items = self.stack.items("Requests")
        names = [item["request_id"]["S"] for item in items if item["pk"]["S"].startswith("REQUEST#")]
        return list(self.stack.requests.get_many(names).values())

    def made(self) -> list[ErasureRequest]:
        """The requests of replays."""
        return [request for request in self.requests() if request.purpose == "replay"]

    def move_clock(self, monkeypatch: pytest.MonkeyPatch, days: float) -> Callable[[], datetime]:
        """The service's clock, and the operator's."""

        def now() -> datetime:
            return datetime.now(UTC) + timedelta(days=days)

        for module in (wiring, backend_wiring, clock_wiring, operator_stack, operator_clock):
            monkeypatch.setattr(module, "utc_now", now)
        self.stack.handlers.clear()
        return now
