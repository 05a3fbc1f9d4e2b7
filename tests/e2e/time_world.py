"""What the tests of time need on the deployed stack: people of their own, records that grow old, messages that get
lost, and an ear on the event bus."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from erasure.adapters.request_items import request_key, waiting_key
from erasure.domain.times import format_time, parse_time
from local.inventory import canonical
from local.sample import BUCKETS, TABLES, Person
from local.stack import Stack
from tests.e2e.calls import wait_for

_MOMENTS = (
    "requested_at", "started_at", "closed_at", "finished_at", "not_before", "scan_at", "follow_up_at", "due_at",
    "purged_by", "clock_at",
)  # fmt: skip
_BATCH = 25


@dataclass(frozen=True, slots=True)
class Thing:
    """An item, with its table's name and all of it, or an object (``item`` is ``None``), with bucket and ``key``."""

    place: str
    category: str
    item: Mapping[str, Any] | None = None
    key: str = ""

    @property
    def item_key(self) -> dict[str, Any]:
        return {name: (self.item or {})[name] for name in TABLES[self.place] if name}


def things_of(person: Person, documents: int = 2) -> list[Thing]:
    """Something of each kind that the sample's map knows of a person. ``documents``: how many of these."""
    tenant_user, name = f"{person.tenant}#{person.user}", f"{person.tenant}-{person.user}"

    def item(table: str, category: str, **attributes: str) -> Thing:
        return Thing(table, category, {name: {"S": value} for name, value in attributes.items()})

    account = f"TENANT#{person.tenant}#USER#{person.user}"
    return [
        item("app-accounts", "account", pk=account, sk="PROFILE"),
        item("app-accounts", "preference", pk=account, sk="PREFERENCE#000"),
        item("app-sessions", "session", session_id=f"session-{name}", tenant_user=tenant_user),
        item("app-comments", "content", document_id="of-the-clock", comment_id=f"comment-{name}", author=tenant_user),
        item("app-invoices", "record", tenant_user=tenant_user, invoice_id="1"),
        *(
            item("app-documents", "content", tenant_user=tenant_user, document_id=f"{number:05}")
            for number in range(documents)
        ),
        Thing("app-documents", "content", key=f"{person.tenant}/{person.user}/file"),
        Thing("app-avatars", "content", key=f"{person.tenant}/{person.user}"),
    ]


def plant(stack: Stack, things: Iterable[Thing]) -> None:
    """Write them; objects in two versions."""
    things = list(things)
    requests: list[Any] = [(thing.place, {"PutRequest": {"Item": thing.item}}) for thing in things if thing.item]
    for start in range(0, len(requests), _BATCH):
        batch: dict[str, list[Any]] = {}
        for table, request in requests[start : start + _BATCH]:
            batch.setdefault(table, []).append(request)
        assert not stack.client("dynamodb").batch_write_item(RequestItems=batch)["UnprocessedItems"]
    s3 = stack.client("s3")
    for thing in things:
        if thing.item is None:
            for content in (b"first", b"second"):
                s3.put_object(Bucket=thing.place, Key=thing.key, Body=content)


def still_there(stack: Stack, things: Iterable[Thing], but: Collection[str] = ()) -> list[Thing]:
    """Those of which something is left, without those of the categories ``but``."""
    dynamodb, s3 = stack.client("dynamodb"), stack.client("s3")

    def is_there(thing: Thing) -> bool:
        if thing.item is not None:
            return "Item" in dynamodb.get_item(TableName=thing.place, Key=thing.item_key, ConsistentRead=True)
        listed = s3.list_object_versions(Bucket=thing.place, Prefix=thing.key)
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        return any(version["Key"] == thing.key for version in found)

    return [thing for thing in things if thing.category not in but and is_there(thing)]


def everything(stack: Stack, but: Iterable[Thing] = ()) -> dict[tuple[str, str], str]:
    """Every item and every version of an object of the sample application, by place and key, but for these things."""
    left_out = {(thing.place, canonical(thing.item_key) if thing.item else thing.key) for thing in but}
    found: dict[tuple[str, str], str] = {}
    dynamodb, s3 = stack.client("dynamodb"), stack.client("s3")
    for table, keys in TABLES.items():
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            for item in page["Items"]:
                found[table, canonical({name: item[name] for name in keys if name})] = canonical(item)
    for bucket in BUCKETS:
        for listed in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions: list[Any] = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
            for version in versions:
                of_key = found.get((bucket, version["Key"]), "")
                found[bucket, version["Key"]] = f"{of_key} {version['VersionId']} {version.get('ETag')}"
    return {name: content for name, content in found.items() if name not in left_out}


def grow_older(stack: Stack, request_id: str, by: timedelta) -> None:
    """Let everything that the request's record says have been so much earlier, its place on the list of those that wait
    included. Nobody else has written to it in between."""

    def done() -> bool:
        dynamodb = stack.client("dynamodb")
        table: Any = {"TableName": stack["REQUESTS_TABLE"]}
        item = dynamodb.get_item(**table, Key=request_key(request_id), ConsistentRead=True)["Item"]
        moments = {name: parse_time(item[name]["S"]) for name in _MOMENTS if name in item}
        earlier: dict[str, Any] = {f":{name}": {"S": format_time(at - by)} for name, at in moments.items()}
        update = {
            "Key": request_key(request_id),
            "UpdateExpression": "SET " + ", ".join(f"{name} = :{name}" for name in moments),
            "ConditionExpression": "#state = :state AND clock_at = :read",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {**earlier, ":state": item["state"], ":read": item["clock_at"]},
        }
        actions: list[Any] = [{"Update": table | update}]
        for until in {at for name, at in moments.items() if name in ("not_before", "scan_at", "follow_up_at")}:
            listed = waiting_key(request_id, until)
            if "Item" in dynamodb.get_item(**table, Key=listed, ConsistentRead=True):
                actions.append({"Delete": table | {"Key": listed, "ConditionExpression": "attribute_exists(pk)"}})
                actions.append({"Put": table | {"Item": waiting_key(request_id, until - by)}})
        try:
            dynamodb.transact_write_items(TransactItems=actions)
        except dynamodb.exceptions.TransactionCanceledException:
            return False
        return True

    wait_for(done, "a moment at which nobody else writes to the request")


class Listener:
    """Hears all events of the stack's bus from when it is made, by a queue of its own."""

    def __init__(self, stack: Stack, name: str) -> None:
        client: Any = stack.client
        self._events, self._sqs = client("events"), client("sqs")
        self._rule = {"Rule": name, "EventBusName": stack["EVENT_BUS_NAME"]}
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        self._events.put_rule(
            Name=name, EventBusName=stack["EVENT_BUS_NAME"], EventPattern=json.dumps({"source": ["erasure"]})
        )
        self._events.put_targets(**self._rule, Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}])
        self.bodies: list[str] = []

    def heard(self) -> list[dict[str, Any]]:
        """All events so far, in the order in which they came."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.bodies.append(message["Body"])
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(body) for body in self.bodies]

    def of(self, request_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Kind and details of the events about a request."""
        about = [event for event in self.heard() if event["detail"]["request_id"] == request_id]
        return [(event["detail-type"], event["detail"]) for event in about]

    def close(self) -> None:
        self._events.remove_targets(**self._rule, Ids=["queue"])
        self._events.delete_rule(Name=self._rule["Rule"], EventBusName=self._rule["EventBusName"])
        self._sqs.delete_queue(QueueUrl=self._queue)


class BatchLane:
    """The queue of the batch lane while nothing is taken from it."""

    def __init__(self, stack: Stack) -> None:
        client: Any = stack.client
        self._sqs, self._queue = client("sqs"), stack["BATCH_QUEUE_URL"]

    def holds(self, request_ids: Iterable[str]) -> bool:
        """Whether messages about all these requests lie there; they do so afterwards, too. Who asks six times has them
        taken for dead letters."""
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
        text = " ".join(message["Body"] for message in answer.get("Messages", []))
        return all(request_id in text for request_id in request_ids)

    def purge(self) -> None:
        self._sqs.purge_queue(QueueUrl=self._queue)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def is_empty() -> bool:
            counts = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=names)["Attributes"]
            return set(counts.values()) == {"0"}

        wait_for(is_empty, "the purged queue to be empty")


@contextmanager
def stopped_batch_lane(stack: Stack) -> Iterator[BatchLane]:
    """For as long as this lasts, start_jobs takes no messages of the batch lane."""
    client: Any = stack.client
    functions = client("lambda")
    (mapping,) = functions.list_event_source_mappings(EventSourceArn=stack["BATCH_QUEUE_ARN"])["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield BatchLane(stack)
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@dataclass(frozen=True, slots=True)
class Execution:
    name: str
    status: str
    started_at: datetime
    stopped_at: datetime | None


def executions_of(stack: Stack, request_id: str) -> list[Execution]:
    """The executions whose job has the request among its own, the first one first."""
    client: Any = stack.client
    states = client("stepfunctions")
    found = []
    for page in states.get_paginator("list_executions").paginate(stateMachineArn=stack["STATE_MACHINE_ARN"]):
        for listed in page["executions"]:
            execution = states.describe_execution(executionArn=listed["executionArn"])
            if request_id in json.loads(execution["input"])["request_ids"]:
                times = execution["startDate"], execution.get("stopDate")
                found.append(Execution(execution["name"], execution["status"], *times))
    return sorted(found, key=lambda execution: execution.started_at)


def metric_values(stack: Stack, function: str, metric: str, since: datetime) -> list[float]:
    """What a function's log has as values of a metric of CloudWatch's embedded format, from a moment on."""
    values: list[float] = []
    logs, group = stack.client("logs"), f"/aws/lambda/{stack[f'{function.upper()}_FUNCTION_NAME']}"
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
        for event in page["events"]:
            if '"_aws"' in event["message"]:
                line = json.loads(event["message"])
                known = {each["Name"] for each in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
                if metric in known and line["_aws"]["Timestamp"] >= since.timestamp() * 1000:
                    values += _values(line[metric])
    return values


def _values(value: float | Sequence[float]) -> list[float]:
    return [value] if isinstance(value, int | float) else list(value)


def own_items(stack: Stack) -> list[str]:
    """Every item of the service's own tables, as text."""
    tables = [stack[f"{name}_TABLE"] for name in ("DELETE_IDS", "REQUESTS", "REGISTRY", "AUDIT")]
    pages = stack.client("dynamodb").get_paginator("scan")
    return [canonical(item) for table in tables for page in pages.paginate(TableName=table) for item in page["Items"]]
