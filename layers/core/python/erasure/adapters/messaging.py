"""The queue of accepted requests, and the state machine that works them off."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.adapters.aws import error_code
from erasure.errors import UnavailableError


class SQSJobQueue:
    """:class:`erasure.ports.JobQueue` on SQS. A message holds the request's id and nothing of the subject."""

    def __init__(self, client: Callable[[], Any], queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, request_id: str, attempt: int) -> None:
        body = json.dumps({"request_id": request_id, "attempt": attempt})
        try:
            self._client().send_message(QueueUrl=self._queue_url, MessageBody=body)
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError("the queue did not take the message") from error


class StepFunctionsWorkflow:
    """:class:`erasure.ports.Workflow` on Step Functions."""

    def __init__(self, client: Callable[[], Any], state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, job_id: str, request_ids: Sequence[str]) -> bool:
        try:
            self._client().start_execution(
                stateMachineArn=self._state_machine_arn,
                name=job_id,
                input=json.dumps({"job_id": job_id, "request_ids": list(request_ids)}),
            )
        except ClientError as error:
            if error_code(error) == "ExecutionAlreadyExists":
                return False
            raise
        return True
