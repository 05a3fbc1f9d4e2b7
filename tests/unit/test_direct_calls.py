"""Workers that are called while a caller waits: what comes back, how long they take, and what is never told."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Mapping
from typing import Any

import pytest
from aws_lambda_powertools.logging.logger import Logger
from botocore.exceptions import ClientError, ReadTimeoutError

from erasure.adapters.messaging import LambdaAccountReader, LambdaFunctions
from erasure.adapters.sessions import SessionName
from erasure.domain.subject import GROUP, Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec
from erasure.entry.workers import Handler, make_eraser, make_verify_target
from erasure.errors import UnavailableError
from erasure.services.erase_unit import EraseUnitDependencies
from erasure.services.verify_unit import VerifyUnitDependencies
from erasure.targets.protocol import Deadline, VerifyResult
from tests import fake_jobs, fakes
from tests.fake_clock_stores import FakeHoldStore

ANN = Subject("acme", "zq9xwv-secret-person")
ACCOUNTS = TargetSpec(
    "accounts", "account", dynamodb=DynamoDBRule("app-accounts", KeyRule("pk", "{tenant_id}#{user_id}"))
)
FILES = TargetSpec("files", "content", s3=S3Rule("app-files", prefix="{tenant_id}/{user_id}/{organization_id}/"))
TEAMS = TargetSpec(
    "teams", "content", dynamodb=DynamoDBRule("app-teams", KeyRule("pk", "{tenant_id}#{group_id}")), subjects=(GROUP,)
)


class Context:
    aws_request_id = "call"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


class Client:
    """Lambda, as a caller sees it: ``answer`` is what comes back, or what goes wrong."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def payload(text: str) -> dict[str, Any]:
    return {"StatusCode": 200, "Payload": io.BytesIO(text.encode())}


def functions(client: Client) -> LambdaFunctions:
    return LambdaFunctions(lambda: client, {"verify_target": "erasure-verify-target"})


def test_a_function_is_called_and_answers() -> None:
    """The function of that name is called, waited for, and its answer comes back."""
    client = Client(payload('{"more":false}'))
    assert functions(client).call("verify_target", {"unit": "s3-00"}) == {"more": False}
    (call,) = client.calls
    assert (call["FunctionName"], call["InvocationType"]) == ("erasure-verify-target", "RequestResponse")
    assert json.loads(call["Payload"]) == {"unit": "s3-00"}


@pytest.mark.parametrize(
    "answer",
    [
        {**payload(json.dumps({"errorMessage": ANN.id})), "FunctionError": "Unhandled"},
        payload(ANN.id),
        payload(json.dumps(ANN.id)),
        payload("null"),
        payload(""),
        {"StatusCode": 200, "Payload": io.BytesIO(b"\xff")},
        ClientError({"Error": {"Code": "TooManyRequestsException", "Message": ANN.id}}, "Invoke"),
        ReadTimeoutError(endpoint_url=ANN.id),
    ],
)
def test_no_answer_is_unavailable_and_says_nothing(
    answer: dict[str, Any] | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that fails, is throttled, takes too long or answers nonsense is unavailable, and neither what went in
    nor what came out is in the error or in a log."""
    with caplog.at_level(logging.DEBUG), pytest.raises(UnavailableError) as caught:
        functions(Client(answer)).call("verify_target", {"lookup": ANN.id})
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert ANN.id not in told


class Verifier:
    """The verifier behind a reader, on a fake target; ``events`` went over the wire."""

    def __init__(self) -> None:
        self.target = fake_jobs.FakeTarget()
        self.requests = fakes.FakeRequestStore(fakes.FakeAuditLog())
        self.tasks = fake_jobs.FakeTaskStore()
        self.targets = {"dynamodb": self.target, "s3": self.target}
        use = VerifyUnitDependencies(self.requests, self.tasks, self.targets, holds=FakeHoldStore())
        self.handler: Handler = make_verify_target(use, 15, SessionName(), Logger(service="direct-calls"))
        self.reader = LambdaAccountReader(fake_jobs.FakeFunctions({"verify_target": self._answer}))

    def _answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(self.handler(json.loads(json.dumps(event)), Context())))
        return answer


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


def test_what_is_there_is_found(verifier: Verifier) -> None:
    """A subject is there if any of the targets holds something of it, and only then; nobody else's things count."""
    assert verifier.reader.exists(ANN, [ACCOUNTS, FILES]) is False
    verifier.target.put(ACCOUNTS, Subject("acme", "somebody else").values(), 1)
    verifier.target.put(ACCOUNTS, Subject("other", ANN.id).values(), 1)
    assert verifier.reader.exists(ANN, [ACCOUNTS, FILES]) is False
    verifier.target.put(ACCOUNTS, ANN.values(), 1)
    assert verifier.reader.exists(ANN, [FILES, ACCOUNTS]) is True
    assert verifier.reader.exists(ANN, [FILES]) is False
    assert verifier.reader.exists(ANN, []) is False


def test_a_group_is_looked_up_by_its_own_name(verifier: Verifier) -> None:
    """A group of the same id as a person is not that person."""
    group = Subject("acme", ANN.id, GROUP)
    verifier.target.put(TEAMS, group.values(), 1)
    assert verifier.reader.exists(group, [TEAMS]) is True
    assert verifier.reader.exists(ANN, [ACCOUNTS]) is False


@pytest.mark.parametrize(
    "result",
    [
        VerifyResult(0, complete=False),
        VerifyResult(0, complete=False, problem="throttled"),
        VerifyResult(0, complete=False, problem="access_denied", permanent=True),
    ],
)
def test_what_cannot_be_told_is_not_absent(verifier: Verifier, result: VerifyResult) -> None:
    """A target that could not be looked at to its end leaves the question open, unless another one has something."""
    verifier.target.always["accounts:verify"] = result
    with pytest.raises(UnavailableError):
        verifier.reader.exists(ANN, [ACCOUNTS, FILES])
    verifier.target.always["files:verify"] = VerifyResult(1, complete=False)
    assert verifier.reader.exists(ANN, [ACCOUNTS, FILES]) is True


@pytest.mark.parametrize("answer", [{}, {"found": None}, {"found": "false"}, {"found": 0}])
def test_an_answer_that_says_nothing_is_not_absent(answer: dict[str, Any]) -> None:
    """Only a clear yes or no is taken for one."""
    reader = LambdaAccountReader(fake_jobs.FakeFunctions({"verify_target": lambda _event: answer}))
    with pytest.raises(UnavailableError):
        reader.exists(ANN, [ACCOUNTS])


def test_looking_up_logs_nobody(verifier: Verifier, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the person nor a table is in the verifier's logs, whether somebody is found, not found, or it fails."""
    verifier.reader.exists(ANN, [ACCOUNTS])
    verifier.target.put(ACCOUNTS, ANN.values(), 1)
    verifier.reader.exists(ANN, [ACCOUNTS])
    verifier.target.always["accounts:verify"] = VerifyResult(0, complete=False, problem="throttled")
    with pytest.raises(UnavailableError) as caught:
        verifier.reader.exists(ANN, [ACCOUNTS])
    told = "".join(capsys.readouterr()) + str(caught.value)
    assert ANN.id not in told
    assert "app-" not in told


UNIT: dict[str, Any] = {"job_id": "job-1", "unit": "dynamodb-00", "eraser": "erase_dynamodb", "passes_left": 3}


@pytest.mark.parametrize(("given", "most"), [({"seconds": 4.5}, 4.5), ({"seconds": 10_000}, 885), ({}, 885)])
def test_a_waiting_caller_says_how_long(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], most: float
) -> None:
    """A call with ``seconds`` works no longer than that, nor than the function may; the unit keeps them on its way."""
    seen: list[float] = []

    def note(*arguments: Any) -> bool:
        seen.extend(argument.remaining() for argument in arguments if isinstance(argument, Deadline))
        return False

    monkeypatch.setattr("erasure.entry.workers.erase_unit", note)
    use = EraseUnitDependencies(verifier.requests, verifier.tasks, verifier.targets, holds=FakeHoldStore())
    erased = make_eraser(use, 15, SessionName(), Logger(service="direct-calls"))({**UNIT, **given}, Context())
    assert erased == {**UNIT, **given, "more": False, "again": True, "wait": 0}
    (seconds,) = seen
    assert most / 2 < seconds <= most
    verified = verifier.handler(erased, Context())
    assert verified == {**UNIT, **given, "passes_left": 2, "again": False, "wait": 0}
