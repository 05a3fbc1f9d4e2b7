"""A request's whole way, through the real handlers: confirm, message, plan, erase, verify, close."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.outcome import ALREADY_ABSENT, ERASED, FAILED, TargetOutcome
from erasure.domain.request import CANCELLED, FINISHED, HELD, STARTED
from erasure.domain.subject import Subject
from erasure.errors import NotFoundError, UnavailableError
from tests.fake_jobs import FakeJobQueue
from tests.functional.job_stack import ERASED as COUNTS
from tests.functional.job_stack import ERASERS, Context, JobStack, example, stack_on_moto

__all__ = ["job_stack"]  # the fixture
pytestmark = pytest.mark.timeout(120)

ANN = Subject("acme", "ann")
NEIGHBOURS = [Subject("acme", "ann2"), Subject("acme", "an"), Subject("other", "ann"), Subject("acme", "ann#x")]


@pytest.fixture
def job_stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


@pytest.fixture
def stack(job_stack: JobStack) -> JobStack:
    for subject in (ANN, *NEIGHBOURS):
        job_stack.put_data(subject)
    return job_stack


def of_ann(thing: str) -> bool:
    """Whether a thing is Ann's and covered by the self-deletion."""
    names = ('"acme#ann"', "acme/ann/", "avatars/acme/ann ", '"TENANT#acme#USER#ann"')
    return any(name in thing for name in names) and '"PROFILE"' not in thing


def test_a_person_is_erased_and_nobody_else(stack: JobStack) -> None:
    """After the job, all of the person's content is gone, every other byte is there, and the request says so."""
    before = stack.data()
    request_id = stack.confirm(ANN)
    assert stack.work() == [{"job_id": f"{request_id}-1", "finished": 1, "attention": 0}]
    assert stack.data() == {thing for thing in before if not of_ann(thing)}
    assert len(before) - len(stack.data()) == sum(COUNTS.values())
    request = stack.request(request_id)
    assert (request.state, request.attention, request.data_map_version) == (FINISHED, False, 1)
    assert {name: (outcome.outcome, outcome.count) for name, outcome in stack.outcomes(request_id).items()} == {
        name: (ERASED, count) for name, count in COUNTS.items()
    }
    entries = stack.audit.entries(request_id)
    assert [entry.event for entry in entries] == ["requested", "planned", "finished"]
    assert broken_at(entries) is None
    view = stack.service().status(ANN, request_id)
    assert view.settled
    assert view.finished_at is not None


def test_the_example_events_are_what_the_functions_take(stack: JobStack) -> None:
    """The events in ``events/`` go through the functions one after the other and finish a request."""
    request_id = stack.confirm(ANN)
    stack.messages()
    assert stack.call("start_jobs", example("start_jobs/one_message.json", request_id)) == {"batchItemFailures": []}
    assert list(stack.executions()) == [f"{request_id}-1"]
    assert json.loads(stack.executions()[f"{request_id}-1"]) == example("plan_job/first_attempt.json", request_id)
    planned = stack.call("plan_job", example("plan_job/first_attempt.json", request_id))
    units = [example(f"{name}/first_slice.json", request_id) for name in ("erase_dynamodb", "erase_s3")]
    job = {"job_id": f"{request_id}-1", "request_ids": [request_id]}
    assert planned == {**job, "units": units, "manifest": None}
    erased = [stack.call(name, unit) for name, unit in zip(("erase_dynamodb", "erase_s3"), units, strict=True)]
    assert erased == [example(f"verify_target/{name}_unit.json", request_id) for name in ("dynamodb", "s3")]
    together = example("verify_target/units.json", request_id)
    assert together == {"job_id": f"{request_id}-1", "units": erased}
    done = [{**unit, "passes_left": 599, "again": False, "wait": 0} for unit in units]
    assert [stack.call("verify_target", unit) for unit in erased] == done
    assert stack.call("verify_target", together) == {"units": done, "again": False}
    closed = stack.call("close_job", example("close_job/first_attempt.json", request_id))
    assert closed == {"job_id": f"{request_id}-1", "finished": 1, "attention": 0}
    assert stack.request(request_id).state == FINISHED


def test_a_message_delivered_twice_starts_one_job(stack: JobStack) -> None:
    """The same message again, in one batch or later, is taken and starts nothing more."""
    request_id = stack.confirm(ANN)
    for _ in range(2):
        assert stack.call("start_jobs", example("start_jobs/delivered_twice.json", request_id)) == {
            "batchItemFailures": []
        }
    assert list(stack.executions()) == [f"{request_id}-1"]


def test_a_malformed_message_harms_nothing_else(stack: JobStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a batch with a malformed message, only that one goes back; the log says why, without what it held."""
    request_id = stack.confirm(ANN)
    event = example("start_jobs/malformed_among_good.json", request_id)
    bad = event["Records"][1]
    assert stack.call("start_jobs", event) == {"batchItemFailures": [{"itemIdentifier": bad["messageId"]}]}
    assert sorted(stack.executions()) == [f"{request_id}-1", f"{request_id}-2"]
    logged = capsys.readouterr().out
    assert bad["messageId"] in logged
    assert "not ours" not in logged


def test_only_malformed_messages_fail_one_by_one(stack: JobStack) -> None:
    """A batch in which every message is malformed reports each of them and does not fail as a whole."""
    record = example("start_jobs/malformed_among_good.json")["Records"][1]
    batch = {"Records": [{**record, "messageId": f"id-{number}"} for number in range(3)]}
    failures = [{"itemIdentifier": f"id-{number}"} for number in range(3)]
    assert stack.call("start_jobs", batch) == {"batchItemFailures": failures}


def test_everything_twice_is_everything_once(stack: JobStack) -> None:
    """Every function called twice with the same event, as after a lost answer: the same end, and no count doubled."""
    request_id = stack.confirm(ANN)
    job = example("plan_job/first_attempt.json", request_id)
    assert stack.call("plan_job", job) == stack.call("plan_job", job)
    for unit in stack.call("plan_job", job)["units"]:
        for function in (ERASERS[unit["eraser"]], "verify_target"):
            assert stack.call(function, unit) == stack.call(function, unit)
    closed = [stack.call("close_job", job) for _ in range(2)]
    assert [answer["finished"] for answer in closed] == [1, 1]
    assert {name: outcome.count for name, outcome in stack.outcomes(request_id).items()} == COUNTS
    assert [entry.event for entry in stack.audit.entries(request_id)] == ["requested", "planned", "finished"]


def test_a_killed_slice_is_made_good(stack: JobStack) -> None:
    """A slice whose process died after deleting, before it wrote anything: the job finishes, that count is
    "at least", the others are exact."""
    request_id = stack.confirm(ANN)
    stack.call("plan_job", example("plan_job/first_attempt.json", request_id))
    (notes,) = [task for task in stack.tasks.tasks(f"{request_id}-1") if task.spec.name == "notes"]
    stack.tasks.begin_slice(notes, "killed")
    stack.dynamodb.delete_item(TableName="app-notes", Key={"pk": {"S": "acme#ann"}, "sk": {"S": "000"}})
    stack.run_job(example("plan_job/first_attempt.json", request_id))
    assert stack.request(request_id).state == FINISHED
    assert stack.outcomes(request_id)["notes"] == TargetOutcome("notes", "content", ERASED, 29, at_least=True)
    assert not any(outcome.at_least for name, outcome in stack.outcomes(request_id).items() if name != "notes")


def test_a_unit_without_passes_left_ends_and_the_request_says_so(stack: JobStack) -> None:
    """A unit never goes on until the execution's history is full: it ends unfinished, and closing the job tells."""
    request_id = stack.confirm(ANN)
    planned = stack.call("plan_job", example("plan_job/first_attempt.json", request_id))
    for unit in planned["units"]:
        erased = stack.call(ERASERS[unit["eraser"]], {**unit, "passes_left": 1}, Context(milliseconds=0))
        assert erased["more"]
        verified = stack.call("verify_target", erased)
        assert (verified["again"], verified["passes_left"]) == (False, 0)
    closed = stack.call("close_job", example("close_job/first_attempt.json", request_id))
    assert closed == {"job_id": f"{request_id}-1", "finished": 0, "attention": 1}
    assert {outcome.reason for outcome in stack.outcomes(request_id).values()} == {"not_finished"}


def test_a_slice_without_time_erases_nothing(stack: JobStack) -> None:
    """A function that is called when its time is up begins nothing and says that there is more."""
    request_id = stack.confirm(ANN)
    stack.call("plan_job", example("plan_job/first_attempt.json", request_id))
    before = stack.data()
    unit = example("erase_dynamodb/first_slice.json", request_id)
    answer = {**unit, "more": True, "again": True, "wait": 0}
    assert stack.call("erase_dynamodb", unit, Context(milliseconds=0)) == answer
    assert stack.data() == before


def test_a_margin_longer_than_the_timeout_still_erases(stack: JobStack) -> None:
    """A slice works for half of its time at least: a wrong setting must not stop all work."""
    request_id = stack.confirm(ANN)
    stack.call("plan_job", example("plan_job/first_attempt.json", request_id))
    unit = example("erase_dynamodb/first_slice.json", request_id)
    answer = {**unit, "more": False, "again": True, "wait": 0}
    assert stack.call("erase_dynamodb", unit, Context(milliseconds=14_000)) == answer


def test_a_missing_table_fails_its_target_and_a_retry_heals(stack: JobStack) -> None:
    """A table that does not exist: that target fails with its reason, the rest is erased, the request is not
    finished. When the table is there, another attempt finishes it, with all counts."""
    stack.dynamodb.delete_table(TableName="app-comments")
    request_id = stack.confirm(ANN)
    assert stack.work() == [{"job_id": f"{request_id}-1", "finished": 0, "attention": 1}]
    request = stack.request(request_id)
    assert (request.state, request.attention, request.finished_at) == (STARTED, True, None)
    outcomes = stack.outcomes(request_id)
    assert outcomes.pop("comments") == TargetOutcome("comments", "content", FAILED, reason="target_missing")
    assert {outcome.outcome for outcome in outcomes.values()} == {ERASED}

    stack.create_table("app-comments", ("id",), {"by-author": ("author",)})
    assert stack.run_job(example("plan_job/retry.json", request_id))["finished"] == 1
    request = stack.request(request_id)
    assert (request.state, request.attention) == (FINISHED, False)
    assert stack.outcomes(request_id)["comments"].outcome == ALREADY_ABSENT
    assert stack.outcomes(request_id)["notes"] == TargetOutcome("notes", "content", ERASED, 30)
    entries = stack.audit.entries(request_id)
    assert [entry.event for entry in entries] == ["requested", "planned", "attention", "planned", "finished"]
    assert broken_at(entries) is None


def test_what_is_written_meanwhile_is_found(stack: JobStack) -> None:
    """An item that appears after the eraser is found by verification, erased, and counted."""
    request_id = stack.confirm(ANN)
    states: list[str] = []

    def write_after_first_erase(state: str) -> None:
        states.append(state)
        if states == ["Plan", "Erase"]:
            stack.dynamodb.put_item(TableName="app-notes", Item={"pk": {"S": "acme#ann"}, "sk": {"S": "late"}})

    (closed,) = stack.work(write_after_first_erase)
    assert closed["finished"] == 1
    assert states == ["Plan", "Erase", "Erase", "Verify", "Erase", "Verify"], "the second pass is of one unit"
    assert stack.entered.count("EraseAgain") == 1
    assert stack.outcomes(request_id)["notes"].count == 31
    assert not any(of_ann(thing) for thing in stack.data())


def test_what_keeps_coming_back_is_never_finished(stack: JobStack) -> None:
    """A target that is written to again and again is given up as still present, and the request has attention."""
    request_id = stack.confirm(ANN)

    def write_again(state: str) -> None:
        if state == "Erase":
            stack.dynamodb.put_item(TableName="app-notes", Item={"pk": {"S": "acme#ann"}, "sk": {"S": "again"}})

    (closed,) = stack.work(write_again)
    assert (closed["finished"], closed["attention"]) == (0, 1)
    outcome = stack.outcomes(request_id)["notes"]
    assert (outcome.outcome, outcome.reason) == (FAILED, "still_present")
    assert outcome.count >= 30


@pytest.mark.parametrize("state", [HELD, CANCELLED])
def test_stopped_in_between_means_stopped(stack: JobStack, state: str) -> None:
    """A request that is stopped after planning loses nothing more, and the job ends without an outcome."""
    request_id = stack.confirm(ANN)
    before = stack.data()

    def stop(after: str) -> None:
        if after == "Plan":
            stack.dynamodb.update_item(
                TableName="Requests",
                Key={"pk": {"S": f"REQUEST#{request_id}"}, "sk": {"S": "META"}},
                UpdateExpression="SET #state = :state",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":state": {"S": state}},
            )

    (closed,) = stack.work(stop)
    assert (closed["finished"], closed["attention"]) == (0, 0)
    assert stack.data() == before
    assert (stack.request(request_id).state, stack.request(request_id).outcomes) == (state, ())


def test_a_refused_message_means_nothing_is_erased(stack: JobStack) -> None:
    """When the queue is down, the person is told, and a message that comes up later erases nothing."""
    queue = FakeJobQueue()
    queue.down = True
    service = stack.service(queue)
    with pytest.raises(UnavailableError):
        service.confirm(ANN, service.issue_delete_id(ANN).delete_id)
    (record,) = [item for item in stack.items("Requests") if item["pk"]["S"].startswith("REQUEST#")]
    request_id = record["request_id"]["S"]
    before = stack.data()
    closed = stack.run_job(example("plan_job/first_attempt.json", request_id))
    assert (closed["finished"], closed["attention"]) == (0, 0)
    assert stack.data() == before
    assert stack.request(request_id).state == CANCELLED


def test_a_job_for_no_request_fails(stack: JobStack) -> None:
    """A job whose request does not exist must not end green."""
    with pytest.raises(NotFoundError):
        stack.call("plan_job", example("plan_job/first_attempt.json"))


def test_metrics_count_requests(stack: JobStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Closing writes one line of metrics: requests finished and with attention, and how long they took."""
    stack.confirm(ANN)
    stack.work()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"CloudWatchMetrics"' in line]
    (metrics,) = lines
    assert (metrics["RequestsFinished"], metrics["RequestsWithAttention"]) == ([1.0], [0.0])
    assert 0 <= metrics["SecondsToFinish"][0] < 120


SECRET = "zq9xwv-secret-person"


def _fail_with_everything_in_it(stack: JobStack) -> None:
    """Make one target of each kind fail with an exception whose text names the person."""

    def fail(*_arguments: Any, **_named: Any) -> Any:
        raise RuntimeError(f"no such key: acme/{SECRET}/x in app-files, TENANT#acme#USER#{SECRET}")

    stack.targets["s3"].verify = fail
    stack.dynamodb.delete_table(TableName="app-comments")


@pytest.mark.parametrize("fault", [None, _fail_with_everything_in_it])
def test_only_the_request_record_knows_the_person(
    job_stack: JobStack,
    fault: Callable[[JobStack], None] | None,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the person's id nor the delete id is in messages, executions, tasks, the trail, answers of functions,
    logs or metrics; the person's id is in the request record only, the delete id nowhere. Also when targets fail."""
    stack, subject = job_stack, Subject("acme", SECRET)
    stack.put_data(subject)
    service = stack.service()
    delete_id = service.issue_delete_id(subject, idempotency_key="the-callers-key").delete_id
    if fault is not None:
        fault(stack)
    with caplog.at_level(logging.INFO):
        request_id = service.confirm(subject, delete_id, idempotency_key="the-callers-key")
        messages = stack.messages()
        assert messages
        stack.call("start_jobs", {"Records": messages})
        executions = stack.executions()
        for text in executions.values():
            stack.run_job(json.loads(text))
    assert stack.request(request_id).state == (FINISHED if fault is None else STARTED)

    records: list[str] = []
    others: list[str] = []
    for table in ("Requests", "Audit", "Registry", "DeleteIds"):
        for item in stack.items(table):
            place = records if item["pk"]["S"] == f"REQUEST#{request_id}" else others
            place.append(json.dumps(item, ensure_ascii=False))
    assert len(others) >= 8
    (record,) = records
    assert record.count(SECRET) == 1
    assert json.loads(record)["subject_id"] == {"S": SECRET}
    captured = capsys.readouterr()
    assert request_id in captured.out
    logged = [captured.out, captured.err, caplog.text]
    told = [json.dumps([messages, executions, stack.outputs], ensure_ascii=False)]
    for text in [*others, *logged, *told]:
        assert SECRET not in text
    for text in [record, *others, *logged, *told]:
        assert delete_id not in text
        assert "the-callers-key" not in text
    for text in [*logged, *told]:
        assert "app-" not in text, "names of tables and buckets are not for logs"
