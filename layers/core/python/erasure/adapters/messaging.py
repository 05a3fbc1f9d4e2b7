"""What the service sends off: messages, executions, and calls of its own functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.adapters.aws import error_code
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import UnavailableError
from erasure.ports import Functions

_LIVING = ("RUNNING", "PENDING_REDRIVE")
"""Of an execution that has failed and is about to be run again by Step Functions, more is to come."""


class SQSJobQueue:
    """:class:`erasure.ports.JobQueue` on SQS. A message holds requests' ids and nothing of their subjects."""

    def __init__(self, client: Callable[[], Any], queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, request_ids: Sequence[str], attempt: int, *, delay_seconds: int = 0) -> None:
        body = json.dumps({"request_ids": list(request_ids), "attempt": attempt}, separators=(",", ":"))
        try:
            self._client().send_message(QueueUrl=self._queue_url, MessageBody=body, DelaySeconds=delay_seconds)
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError("the queue did not take the message") from error


class StepFunctionsWorkflow:
    """:class:`erasure.ports.Workflow` and :class:`erasure.ports.Executions` on Step Functions."""

    def __init__(self, client: Callable[[], Any], state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, job_id: str, request_ids: Sequence[str], attempt: int) -> bool:
        job = {"job_id": job_id, "request_ids": list(request_ids), "attempt": attempt}
        try:
            self._client().start_execution(
                stateMachineArn=self._state_machine_arn, name=job_id, input=json.dumps(job, separators=(",", ":"))
            )
        except ClientError as error:
            if error_code(error) == "ExecutionAlreadyExists":
                return False
            raise
        return True

    def is_living(self, job_id: str) -> bool:
        # arn:aws:states:<region>:<account>:stateMachine:<name>
        machine = self._state_machine_arn.split(":")
        execution = ":".join([*machine[:5], "execution", machine[6], job_id])
        try:
            answer = self._client().describe_execution(executionArn=execution)
        except ClientError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return False
            raise UnavailableError("the workflow did not answer") from error
        except BotoCoreError as error:
            raise UnavailableError("the workflow did not answer") from error
        return answer["status"] in _LIVING


class LambdaFunctions:
    """:class:`erasure.ports.Functions` on Lambda. ``names``: what each function is called in this deployment.

    ``client`` must wait longer for an answer than the functions take, and must not repeat calls: a function that is
    called again while it still works only takes its tasks over from itself.
    """

    def __init__(self, client: Callable[[], Any], names: Mapping[str, str]) -> None:
        self._client = client
        self._names = names

    def call(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        # What went in and came out may name a subject, so nothing of it gets into an error, not even as its cause.
        try:
            answer = self._client().invoke(
                FunctionName=self._names[function],
                InvocationType="RequestResponse",
                Payload=json.dumps(event, separators=(",", ":")).encode(),
            )
            result = None if answer.get("FunctionError") else json.loads(answer["Payload"].read())
        except (ClientError, BotoCoreError, ValueError):
            result = None
        if not isinstance(result, dict):
            raise UnavailableError("a function did not answer")
        return result


class LambdaAccountReader:
    """:class:`erasure.ports.AccountReader` by asking the verifier, whose role may read the targets."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def exists(self, subject: Subject, specs: Sequence[TargetSpec]) -> bool:
        if not specs:
            return False
        lookup = {
            "subject": {"tenant_id": subject.tenant_id, "type": subject.type, "id": subject.id},
            "specs": [json.loads(spec.to_json()) for spec in specs],
        }
        found = self._functions.call("verify_target", {"lookup": lookup}).get("found")
        if not isinstance(found, bool):
            raise UnavailableError("a function did not answer")
        return found
