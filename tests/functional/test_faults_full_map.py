"""What goes wrong while a job runs, over a map with every way in which data is kept: real services and targets on moto.

In every case nothing of others is touched, the outcome is honest, and a retry heals.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.outcome import ALREADY_ABSENT, FAILED, TargetOutcome
from erasure.domain.request import FINISHED, STARTED
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from tests.functional.full_application import TABLES, WAYS, Application, put_document, without_waiting
from tests.functional.job_stack import JobStack, stack_on_moto
from tests.functional.wire import Call, Wire, denied, missing, partly_deleted, throttled

pytestmark = pytest.mark.timeout(120)

ANN = Subject("acme", "ann")
OTHERS = ("bob", "ann2")


class Person:
    """Ann's request, in an application in which others have the same as she."""

    def __init__(self, stack: JobStack, wire: Wire, application: Application) -> None:
        self.stack, self.wire, self.application = stack, wire, application
        for user in OTHERS:
            application.put_all(user)
        self.others = application.things()
        application.put_all(ANN.id)
        self.confirm(ANN)

    def confirm(self, subject: Subject) -> None:
        """A request of this subject in the place of the one before."""
        self.request_id, self.attempts = self.stack.confirm(subject), 0
        self._end_window()

    def _end_window(self) -> None:
        """What has to be scanned is due."""
        if self.application.scans:
            self.stack.dynamodb.update_item(
                TableName="Requests",
                Key={"pk": {"S": f"REQUEST#{self.request_id}"}, "sk": {"S": "META"}},
                UpdateExpression="SET scan_at = :now",
                ExpressionAttributeValues={":now": {"S": format_time(datetime.now(UTC))}},
            )

    def run(self, between: Callable[[str], None] | None = None) -> dict[str, TargetOutcome]:
        """The job of the next attempt; the outcomes. ``between`` as in :meth:`JobStack.run_job`."""
        self.attempts += 1
        job_id = f"{self.request_id}-{self.attempts}"
        job = {"job_id": job_id, "request_ids": [self.request_id], "attempt": self.attempts}
        self.stack.run_job(job, between and (lambda state: self.wire.aside(lambda: between(state))))
        assert self.others <= self.things()
        assert broken_at(self.stack.audit.entries(self.request_id)) is None
        return self.stack.outcomes(self.request_id)

    def things(self) -> set[str]:
        found: set[str] = self.wire.aside(self.application.things)
        return found

    def failed(self, told: dict[str, TargetOutcome]) -> dict[str, str | None]:
        """Why what failed did. The request is open, and somebody has to look at it."""
        request = self.stack.request(self.request_id)
        assert (request.state, request.attention) == (STARTED, True)
        return {name: outcome.reason for name, outcome in told.items() if outcome.outcome == FAILED}

    def check_finished(self) -> None:
        """All that has to go is gone, and nothing else; the request says so."""
        request = self.stack.request(self.request_id)
        assert (request.state, request.attention) == (FINISHED, False)
        assert self.things() == self.others | self.application.remains(ANN.id)

    def heal(self) -> dict[str, TargetOutcome]:
        """The world is as it was; another attempt finishes, and all attempts together tell what was erased."""
        self.wire.before, self.wire.after = lambda _: None, lambda _: None
        self._end_window()
        told = self.run()
        self.check_finished()
        return told


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Person]]:
    for stack in stack_on_moto(monkeypatch):
        without_waiting(stack)
        yield partial(_person, stack, Wire(monkeypatch))


def _person(stack: JobStack, wire: Wire, *ways: str) -> Person:
    return Person(stack, wire, Application(stack, ways or WAYS))


Make = Callable[..., Person]


def at(state: str, work: Callable[[], None]) -> Callable[[str], None]:
    """Do something once, when the first of these states is over."""
    left = [work]
    return lambda entered: left.pop()() if left and entered == state else None


# Nothing there, or not all that is needed


def test_nothing_anywhere_is_finished(make: Make) -> None:
    """A person of whom there is nothing: every target says so, and the request is finished."""
    person = make(*(name for name in WAYS if name != "identifiers"))
    person.confirm(Subject("acme", "nobody"))
    person.others = person.things()
    told = person.run()
    assert {outcome.outcome for outcome in told.values()} == {ALREADY_ABSENT}
    assert told.keys() == person.application.outcomes().keys()
    assert person.stack.request(person.request_id).state == FINISHED
    assert person.things() == person.others


def test_an_identifier_whose_item_is_missing_fails_what_needs_it(make: Make) -> None:
    """Without the account nobody knows the address: its letters fail, all else goes; with the account back, a retry
    reads it and finishes."""
    person = make("identifiers", "key")
    person.stack.dynamodb.delete_item(TableName="app-users", Key={"pk": {"S": "acme#ann"}})
    assert person.failed(person.run()) == {"letters": "missing_value"}
    person.application.put("app-users", pk="acme#ann", email="ann@example.org")
    person.application.check_outcomes(person.heal())


def test_an_identifier_that_may_be_missing_leaves_nothing_open(make: Make) -> None:
    """If the map says that nobody without an account has letters, a person without one is finished."""
    person = make("identifiers")
    rule = {"from": "accounts", "attribute": "email", "if_missing": "absent"}
    person.stack.maps.put(person.application.data_map(email=rule), datetime.now(UTC))
    person.confirm(Subject("acme", "nobody"))
    person.others = person.things()
    assert {outcome.outcome for outcome in person.run().values()} == {ALREADY_ABSENT}
    assert person.stack.request(person.request_id).state == FINISHED


def test_an_account_that_cannot_be_read_is_no_missing_one(make: Make) -> None:
    """While the table with the addresses is throttled, nothing is planned and nothing is called absent."""
    person = make("identifiers")
    before = person.things()
    person.wire.before = lambda call: throttled(call) if call.place == "app-users" else None
    with pytest.raises(Exception, match="did not answer"):
        person.run()
    person.wire.before = lambda _: None
    assert person.things() == before
    person.attempts = 0
    person.application.check_outcomes(person.run())
    person.check_finished()


@pytest.mark.parametrize("if_missing", ["fail", "absent"])
def test_an_account_that_nobody_may_read_is_no_missing_one(make: Make, if_missing: str) -> None:
    """If the addresses may not be read, the letters fail, whatever the map says of people without one: nobody has seen
    that there is none. With the right given back, a retry finishes."""
    person = make("identifiers")
    rule = {"from": "accounts", "attribute": "email", "if_missing": if_missing}
    person.stack.maps.put(person.application.data_map(email=rule), datetime.now(UTC))
    person.wire.before = lambda call: denied(call) if call.place == "app-users" else None
    assert person.failed(person.run()).keys() == {"accounts", "letters"}
    person.application.check_outcomes(person.heal())


# A writer that goes on

STORED = ("key", "index", "prefix", "for_each")


class Writer:
    """After each of the job's calls to a table or bucket it puts something more there, ``most`` times.

    ``written``: how often, by place.
    """

    def __init__(self, person: Person, most: dict[str, float]) -> None:
        self.written: Counter[str] = Counter()
        self._person, self._most = person, most
        self._lock = threading.Lock()
        person.wire.after = self._write

    def _write(self, call: Call) -> None:
        with self._lock:
            if self.written[call.place] >= self._most.get(call.place, 0):
                return
            self.written[call.place] += 1
            name = f"new{self.written[call.place]}"
        with self._person.stack.roles.within(None):
            self._put(call.place, name)

    def _put(self, place: str, name: str) -> None:
        application = self._person.application
        match place:
            case "app-drafts":
                application.put("app-drafts", pk="acme#ann", sk=name)
            case "app-remarks":
                application.put("app-remarks", id=f"ann-{name}", author="acme#ann")
            case "app-archive":
                application.put_object("app-archive", f"acme/ann/{name}")
            case "app-docs":
                put_document(application, "ann", name)
            case "app-images":  # another page of a document that is there
                application.put_object("app-images", f"ann-doc-{name}/large")
                application.put("app-pages", doc="ann-doc", number=name, image=f"ann-doc-{name}")


def test_what_a_writer_adds_meanwhile_goes_too(make: Make) -> None:
    """Items, objects, documents with all that they lead to, pages of known documents: what comes while the job is at
    work and while it looks is erased and counted with the rest."""
    person = make(*STORED)
    most = {"app-drafts": 4, "app-remarks": 4, "app-archive": 4, "app-docs": 9, "app-images": 2}
    writer = Writer(person, dict(most))
    told = person.run()
    person.check_finished()
    assert writer.written == most
    assert {name: (outcome.count, outcome.at_least) for name, outcome in told.items()} == {
        "notes": (3 + 4, False),
        "remarks": (2 + 4, False),
        "archive": (5 + 4, False),
        "docs": (1 + 9, False),
        "pdfs": (1 + 9, False),
        "pages": (2 + 2 * 9 + 2, False),
        "images": (2 + 2 * 9 + 2, False),
    }


def test_a_writer_that_does_not_stop_is_told_of(make: Make) -> None:
    """If there is always something more, the target says so in the end; when the writer has stopped, a retry heals."""
    person = make("key", "prefix")
    writer = Writer(person, {"app-drafts": inf, "app-archive": inf})
    assert person.failed(person.run()) == {"notes": "still_present", "archive": "still_present"}
    written = dict(writer.written)
    told = person.heal()
    assert {name: outcome.count for name, outcome in told.items()} == {
        "notes": 3 + written["app-drafts"],
        "archive": 5 + written["app-archive"],
    }


# Tables, indexes, buckets and rights that go


@pytest.mark.parametrize("state", ["Plan", "Erase"])
def test_a_table_that_is_deleted_fails_its_target(make: Make, state: str) -> None:
    """Deleted before it is erased, or before anybody has looked: not confirmed, although nothing can be there any more.
    Once there is such a table again, a retry finishes."""
    person = make("key", "index")
    person.others = {thing for thing in person.others if '"app-drafts"' not in thing}
    person.application.tables.remove("app-drafts")
    told = person.run(at(state, lambda: person.stack.dynamodb.delete_table(TableName="app-drafts")))
    assert person.failed(told) == {"notes": "target_missing"}
    person.application.create_table("app-drafts")
    told = person.heal()
    assert told["notes"].count == (3 if state == "Erase" else 0)


@pytest.mark.parametrize("state", ["Plan", "Erase"])
def test_an_index_that_is_removed_fails_its_targets(make: Make, state: str) -> None:
    """Removed before items are found by it, or before anybody has looked, which is noticed although the table's
    description is still known: nothing is confirmed, the rest goes. With the index back, a retry finishes."""
    person = make("index", "detach", "redact", "key")
    indexes = {"app-remarks": "by-author", "app-threads": "by-watcher", "app-orders": "by-customer"}

    def remove() -> None:
        for table, index in indexes.items():
            update_indexes(person, table, {"Delete": {"IndexName": index}})

    told = person.run(at(state, remove))
    failed = person.failed(told)
    assert failed.keys() == {"remarks", "watching", "orders"}
    # A Query by an index that is not there any more is a ValidationException of AWS, and of moto a missing resource.
    assert set(failed.values()) <= ({"map_mismatch"} if state == "Plan" else {"rejected", "target_missing"})
    for table, index in indexes.items():
        (key,) = TABLES[table][1][index]
        schema = [{"AttributeName": key, "KeyType": "HASH"}]
        create = {"IndexName": index, "KeySchema": schema, "Projection": {"ProjectionType": "KEYS_ONLY"}}
        update_indexes(person, table, {"Create": create}, key)
    person.application.check_outcomes(person.heal())


def update_indexes(person: Person, table: str, change: dict[str, Any], *keys: str) -> None:
    definitions = [{"AttributeName": key, "AttributeType": "S"} for key in keys]
    person.stack.dynamodb.update_table(
        TableName=table,
        GlobalSecondaryIndexUpdates=[change],
        **({"AttributeDefinitions": definitions} if keys else {}),
    )


@pytest.mark.parametrize(
    ("fault", "reason", "moment"),
    [
        (denied, "access_denied", 2),
        (missing, "target_missing", 12),
        (denied, "access_denied", 30),
        (missing, "target_missing", 60),
    ],
)
def test_what_is_out_of_reach_from_some_moment_on_is_not_confirmed(
    make: Make, fault: Callable[[Call], Any], reason: str, moment: int
) -> None:
    """Access is revoked, or everything is gone, from the job's n-th call to the application on: what was verified by
    then is told as done and is, everything else has failed; a retry erases the rest and counts all."""
    person = make()
    calls = itertools.count(1)
    person.wire.before = lambda call: fault(call) if call.of_application and next(calls) >= moment else None
    told = person.run()
    failed = person.failed(told)
    assert failed
    # What could not be read when the job was planned is missing from then on.
    otherwise = {"letters": "missing_value", "docs": "children_failed", "pages": "children_failed"}
    assert all(why in (reason, otherwise.get(name)) for name, why in failed.items())
    expected = person.application.outcomes()
    assert {name for name, outcome in told.items() if outcome.outcome != expected[name][0]} == failed.keys()
    person.application.check_ways_lead_on(person.things())
    person.application.check_outcomes(person.heal())


def test_what_nobody_may_look_at_is_not_confirmed(make: Make) -> None:
    """Access is revoked between erasing and looking, each time: all is gone, and nothing is called so."""
    person = make()
    revoked: list[str] = []
    person.wire.before = lambda call: denied(call) if revoked and call.of_application else None

    def revoke(state: str) -> None:
        revoked[:] = [state] if state == "Erase" else []

    failed = person.failed(person.run(revoke))
    linked = {"docs", "pages"}  # which wait for what they lead to
    assert failed == {
        name: "children_failed" if name in linked else "access_denied" for name in person.application.outcomes()
    }
    person.application.check_outcomes(person.heal())


# Storms


def test_a_storm_that_ends_leaves_no_trace(make: Make) -> None:
    """Everything is throttled for two hundred calls: the job goes on when it is over, and finishes."""
    person = make(*STORED, "detach")
    calls = itertools.count(1)
    person.wire.before = lambda call: throttled(call) if call.of_application and next(calls) <= 200 else None
    told = person.run()
    person.check_finished()
    person.application.check_outcomes(told)
    assert not any(outcome.at_least for outcome in told.values())


def test_a_storm_in_the_middle_leaves_no_trace(make: Make) -> None:
    """The same when some has been erased already, by what writes only."""
    person = make(*STORED, "detach")
    calls = itertools.count(1)
    writes = {"DeleteItem", "BatchWriteItem", "UpdateItem", "POST delete"}

    def before(call: Call) -> Any:
        is_write = call.of_application and call.operation in writes
        return throttled(call) if is_write and 3 <= next(calls) <= 100 else None

    person.wire.before = before
    told = person.run()
    person.check_finished()
    person.application.check_outcomes(told)


def test_a_storm_without_end_is_told_of(make: Make) -> None:
    """Everything stays throttled: the job gives up, says why, and has touched nothing; a retry heals."""
    person = make("key", "prefix", "for_each")
    before = person.things()
    person.wire.before = lambda call: throttled(call) if call.of_application else None
    failed = person.failed(person.run())
    linked = {"docs", "pages"}
    assert failed == {
        name: "children_failed" if name in linked else "throttled" for name in person.application.outcomes()
    }
    assert person.things() == before
    person.application.check_outcomes(person.heal())


# Answers with errors in them


def test_keys_that_fail_for_a_while_are_erased(make: Make) -> None:
    """DeleteObjects takes some keys and not others, a few times: only these are sent again, each is counted once."""
    person = make("prefix", "for_each")
    errors = iter(
        [{"acme/ann/a.txt": "InternalError", "ann-doc-1/large": "SlowDown", "ann-doc.pdf": "InternalError"}] * 4
    )

    def before(call: Call) -> Any:
        if not call.of_application or call.operation != "POST delete":
            return None
        return person.wire.aside(lambda: partly_deleted(call, person.stack, next(errors, {})))

    person.wire.before = before
    told = person.run()
    person.check_finished()
    person.application.check_outcomes(told)
    assert not any(outcome.at_least for outcome in told.values())
    assert next(errors, None) is None


def test_keys_that_may_not_be_deleted_fail_alone(make: Make) -> None:
    """Two keys are refused and the others of the same answers go; what leads to a refused one stays to lead there.
    When they may be deleted, a retry finishes and counts all."""
    person = make("prefix", "for_each")
    errors = {"acme/ann/b/c.txt": "AccessDenied", "ann-doc-0/large": "AccessDenied"}

    def before(call: Call) -> Any:
        if not call.of_application or call.operation != "POST delete":
            return None
        return person.wire.aside(lambda: partly_deleted(call, person.stack, errors))

    person.wire.before = before
    told = person.run()
    assert person.failed(told) == {
        "archive": "access_denied",
        "images": "access_denied",
        "pages": "children_failed",
        "docs": "children_failed",
    }
    assert {name: told[name].count for name in ("archive", "images", "pdfs")} == {"archive": 3, "images": 1, "pdfs": 1}
    left = person.things() - person.others
    assert {each.split()[1] for each in left if not each.startswith("[")} == errors.keys()
    person.application.check_ways_lead_on(person.things())
    person.application.check_outcomes(person.heal())
