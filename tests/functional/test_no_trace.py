"""After its time the service holds nothing of whom it has erased, in any of its stores: whole lives of requests of
every family, through the real handlers on moto, with a clock that is moved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from erasure.adapters.clock_store import DynamoDBClockStore
from erasure.domain.audit import broken_at
from erasure.domain.data_map import parse_data_map
from erasure.domain.request import CANCELLED, FINISHED, HELD, REQUESTED, STARTED, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from erasure.entry import backend_wiring, clock_wiring, wiring
from erasure.targets.dynamodb import DynamoDBTarget
from tests.functional.job_stack import DIGEST_KEY, JobStack, stack_on_moto
from tests.functional.traces import Traces

pytestmark = pytest.mark.timeout(240)

TABLES = {"app-users": ("pk",), "app-letters": ("pk",), "app-invoices": ("pk", "sk"), "app-crews": ("pk",)}
OWNER = "{tenant_id}#{user_id}"
TARGETS: list[dict[str, Any]] = [
    {"name": "users", "category": "account", "dynamodb": {"table": "app-users", "key": {"pk": OWNER}}},
    {"name": "letters", "dynamodb": {"table": "app-letters", "key": {"pk": "{tenant_id}#{email}"}}},
    {"name": "notes", "dynamodb": {"table": "app-notes", "key": {"pk": OWNER}}},
    {
        "name": "invoices",
        "category": "record",
        "dynamodb": {"table": "app-invoices", "key": {"pk": OWNER}},
        "retain": {"basis": "tax law", "for": "10d", "from": "issued_at"},
    },
    {
        "name": "files",
        "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/{organization_id}/"},
    },
    {
        "name": "crews",
        "subjects": ["group"],
        "dynamodb": {"table": "app-crews", "key": {"pk": "{tenant_id}#crew#{group_id}"}},
    },
    {
        "name": "firms",
        "subjects": ["organization"],
        "dynamodb": {"table": "app-crews", "key": {"pk": "{tenant_id}#firm#{organization_id}"}},
    },
]
DOCUMENT = {"version": 1, "targets": TARGETS, "identifiers": {"email": {"from": "users", "attribute": "email"}}}

USERS = ("h2o", "native", "bulk-1", "bulk-2", "scoped", "cancelled", "june", "john", "waiting", "velt-1", "velt-2")
HELD_USER, BROKEN_USER = "held", "broken"
ORGANIZATION = 'nörd "firm" 1+1'


def id_of(name: str) -> str:
    """Somebody's id, which is spelled differently wherever it is encoded."""
    return f'zoë "{name}" 7+7'


def email_of(name: str) -> str:
    return f"{name}+secret@exämple.org"


def alias_of(name: str) -> str:
    return f"formerly <{name}> ü"


def subject_of(name: str, kind: str = "user") -> Subject:
    return Subject("acme", id_of(name), kind)


class World:
    """``clock`` is the service's; a call at a time that is not now tells the handlers nothing else."""

    def __init__(self, stack: JobStack) -> None:
        self.stack = stack
        self.offset = timedelta()
        self.traces = Traces(stack)
        for table, keys in TABLES.items():
            stack.create_table(table, keys)
        stack.maps.put(parse_data_map(DOCUMENT), datetime.now(UTC))
        stack.inline_units = 1
        stack.targets["dynamodb"] = DynamoDBTarget(
            stack.dynamodb, conditional="single", digest_key=DIGEST_KEY.encode, now=self.now
        )
        put_events = stack.events.put_events

        def note_and_put(**events: Any) -> Any:
            self.traces.note("events", json.dumps(events, default=str, ensure_ascii=False))
            return put_events(**events)

        stack.events.put_events = note_and_put
        self.clock = DynamoDBClockStore(lambda: stack.dynamodb, "Requests", "Audit", "Registry")
        self.key = stack.api_key()
        for name in (*USERS, HELD_USER, BROKEN_USER):
            self.put_user(name)
        for place in (f"crew#{id_of('crew')}", f"crew#{id_of('gang')}", f"firm#{id_of('firm')}"):
            stack.dynamodb.put_item(TableName="app-crews", Item={"pk": {"S": f"acme#{place}"}})

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def put_user(self, name: str) -> None:
        owner = f"acme#{id_of(name)}"
        # Without an address, one target cannot be erased: nobody can say whose letters they are.
        email = {} if name == BROKEN_USER else {"email": email_of(name)}
        self.put("users", pk=owner, **email)
        self.put("letters", pk=f"acme#{email_of(name)}")
        self.put("notes", pk=owner, sk="1")
        self.put("invoices", pk=owner, sk="1", issued_at=format_time(self.now()))
        for organization in (ORGANIZATION, "other"):
            key = f"acme/{id_of(name)}/{organization}/a.txt"
            self.stack.s3.put_object(Bucket="app-files", Key=key, Body=b"text")

    def put(self, table: str, **attributes: str) -> None:
        item = {name: {"S": value} for name, value in attributes.items()}
        self.stack.dynamodb.put_item(TableName=f"app-{table}", Item=item)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        status, answer = self.stack.ask(self.key, method, path, body, **headers)
        assert status < 400, answer
        return answer

    def work(self) -> None:
        """Messages are read before they are taken."""
        for queue_url in (self.stack.queue_url, self.stack.batch_queue_url):
            answer = self.stack.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0)
            for message in answer.get("Messages", []):
                self.traces.note("messages", message["Body"])
        self.stack.work()

    def pass_(self, days: float) -> dict[str, Any]:
        """Time, a look and a sweep, and what these have sent off."""
        self.offset += timedelta(days=days)
        self.stack.call("sla_watch", {})
        told: dict[str, Any] = self.stack.call("retention_sweep", {})
        self.work()
        return told

    def requests(self) -> list[ErasureRequest]:
        items = self.stack.items("Requests")
        names = [item["request_id"]["S"] for item in items if item["pk"]["S"].startswith("REQUEST#")]
        return list(self.stack.requests.get_many(names).values())

    def of(self, name: str, kind: str = "user") -> list[ErasureRequest]:
        return [request for request in self.requests() if request.subject == subject_of(name, kind)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for stack in stack_on_moto(monkeypatch):
        world = World(stack)
        for module in (wiring, backend_wiring, clock_wiring):
            monkeypatch.setattr(module, "utc_now", world.now)
        yield world


def secrets() -> list[str]:
    """All that the service must not know any more in the end."""
    people = (*USERS, HELD_USER, BROKEN_USER)
    others = [id_of(name) for name in ("crew", "gang", "firm")]
    return [*map(id_of, people), *map(email_of, people), alias_of(HELD_USER), *others, ORGANIZATION]


def ask_for_everybody(world: World) -> None:
    """Requests of every family, each with an idempotency key that names its subject too."""
    subjects = [{"type": "user", "id": id_of(name)} for name in ("bulk-1", "bulk-2")]
    requests = "/v1/erasure-requests"

    def ask_native(name: str, kind: str = "user", **more: Any) -> str:
        body = {"subjects": [{"type": kind, "id": id_of(name)}], **more}
        answer = world.ask("POST", requests, body, **{"Idempotency-Key": f"key of {id_of(name)}"})
        request_id: str = answer["requests"][0]["request"]["id"]
        return request_id

    service = world.stack.service()
    issued = service.issue_delete_id(subject_of("h2o"), idempotency_key=id_of("h2o"))
    service.confirm(subject_of("h2o"), issued.delete_id, idempotency_key=id_of("h2o"))
    ask_native("native")
    ask_native("firm", "organization")
    ask_native("scoped", scope={"organization_ids": [ORGANIZATION]})
    later = format_time(world.now() + timedelta(days=30))
    world.ask("POST", f"{requests}/{ask_native('cancelled', not_before=later)}/cancel")
    world.ask("POST", requests, {"subjects": subjects}, **{"Idempotency-Key": id_of("bulk-1")})
    june = "/api/platform/data_management"
    for name in ("june", BROKEN_USER):
        world.ask("POST", f"{june}/user_deletion_request", {"user_id": id_of(name)})
    for name in ("crew", "gang"):
        world.ask("POST", f"{june}/group_deletion_request", {"group_id": id_of(name)})
    users = {"userIds": [id_of("velt-1"), id_of("velt-2")]}
    world.ask("POST", "/v2/users/data/delete", {"data": users}, **{"Idempotency-Key": id_of("velt-1")})
    world.ask("DELETE", f"/v1/users/{quote(id_of('john'), safe='')}")
    disable = f"/v1/users/{quote(id_of('waiting'), safe='')}/disable"
    world.ask("POST", disable, {"delete_after_days": 100})
    hold(world)


def hold(world: World) -> None:
    """Somebody is held while their request waits, by an alias too, and goes on when the hold is lifted."""
    body = {"subjects": [{"type": "user", "id": id_of(HELD_USER)}]}
    answer = world.ask("POST", "/v1/erasure-requests", body)
    request_id = answer["requests"][0]["request"]["id"]
    path = f"/v1/legal-holds/{quote(id_of(HELD_USER), safe='')}"
    terms = {"reason": "a lawsuit", "author": "legal", "aliases": [alias_of(HELD_USER), email_of(HELD_USER)]}
    assert world.ask("PUT", path, terms)["held_requests"] == 1
    assert world.stack.request(request_id).state == HELD
    world.ask("DELETE", path)
    assert world.stack.request(request_id).state != HELD


def park(world: World) -> ErasureRequest:
    """What could not be erased, as the watch leaves it after its last try."""
    (broken,) = world.of(BROKEN_USER)
    assert (broken.state, broken.attention) == (STARTED, True)
    assert world.clock.look_again(broken, broken.purged_by, parked_at=world.now())
    return broken


def test_nothing_is_left_of_anybody(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Until the purge the ids stand in the requests' own records and nowhere else, and afterwards nowhere at all; the
    requests, their outcomes and their trails are there still."""
    ask_for_everybody(world)
    world.work()
    broken = park(world)
    world.put("notes", pk=f"acme#{id_of('native')}", sk="late")
    assert world.pass_(1.1)["late"] == 1
    assert world.pass_(10)["followed"] > 0
    world.pass_(60)

    logs = "".join(capsys.readouterr())
    before = {request.request_id: request for request in world.requests()}
    assert {request.purpose for request in before.values()} == {None, "follow_up", "second_look"}
    assert sum(bool(request.identifiers) for request in before.values()) > len(USERS) - 3
    assert world.traces.of(secrets(), logs) == {f"Requests REQUEST#{request_id}" for request_id in before}

    world.pass_(13)  # all that ended early on
    world.pass_(8)
    world.pass_(9)  # the soft-deleted one is erased
    world.pass_(90)
    logs += "".join(capsys.readouterr())
    assert world.traces.of(secrets(), logs) == set()

    after = {request.request_id: request for request in world.requests()}
    assert before.keys() <= after.keys()
    for request_id, request in after.items():
        assert (request.subject.id, request.identifiers, request.purged_at is None) == ("", {}, False)
        assert (request.state == STARTED) is (request_id == broken.request_id)
        assert request.state in (STARTED, FINISHED, CANCELLED)
        assert broken_at(world.stack.audit.entries(request_id)) is None
        if request_id in before and before[request_id].state != REQUESTED:
            assert request.outcomes == before[request_id].outcomes
    check_answers(world, broken.request_id)


def check_answers(world: World, broken_id: str) -> None:
    """What a purged request is told of as: it is its subject's still, nobody is named, nothing can be tried again; and
    nobody who asks anew is sent back to it."""
    (h2o,) = [request for request in world.requests() if request.family == "h2o"]
    assert world.stack.service().status(subject_of("h2o"), h2o.request_id).state == FINISHED
    assert world.ask("GET", f"/v1/erasure-requests/{broken_id}")["subject"]["id"] is None
    status, _ = world.stack.ask(world.key, "POST", f"/v1/erasure-requests/{broken_id}/retry")
    assert status == 409
    june = "/api/platform/data_management/user_deletion_request"
    assert world.ask("POST", june, {"user_id": id_of(BROKEN_USER)})["id"] != broken_id
    listed = world.ask("GET", "/api/platform/data_management/group_deletion_requests")["data"]
    assert [entry["group_id"] for entry in listed] == [None, None]


def test_the_walk_sees_every_spelling(world: World) -> None:
    """A trace in any store, under any name and in any spelling, is found where it is."""
    name = id_of("native")
    stores = {
        "Registry SOME#thing": {"pk": {"S": "SOME#thing"}, "sk": {"S": "META"}, "note": {"L": [{"B": name.encode()}]}},
        "Audit A": {"pk": {"S": "A"}, "sk": {"S": "1"}, "details": {"M": {quote(name): {"N": "1"}}}},
        f"DeleteIds {json.dumps(name)}": {"pk": {"S": json.dumps(name)}},
    }
    for place, item in stores.items():
        world.stack.dynamodb.put_item(TableName=place.partition(" ")[0], Item=item)
    world.stack.sqs.send_message(QueueUrl=world.stack.queue_url, MessageBody=name.encode().hex())
    world.stack.s3.put_object(Bucket="erasure-control", Key="k", Body=json.dumps([name]).encode())
    assert world.traces.of([name], f"about {name}") == {*stores, "queues", "bucket", "logs"}
    assert world.traces.of([id_of("june")]) == set()
