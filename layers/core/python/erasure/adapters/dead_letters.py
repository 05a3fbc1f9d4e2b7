"""The queue of messages that nobody could work on, on SQS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.errors import UnavailableError

_HIDDEN_SECONDS = 240
"""As long as a call of the watch takes at most, nearly: the next one finds what stays."""


class SQSDeadLetters:
    """:class:`erasure.ports.DeadLetters` on SQS. Raises ``UnavailableError``."""

    def __init__(self, client: Callable[[], Any], queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def receive(self) -> list[tuple[str, str]]:
        try:
            answer = self._client().receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=10, VisibilityTimeout=_HIDDEN_SECONDS
            )
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError("the queue did not answer") from error
        return [(message["ReceiptHandle"], message["Body"]) for message in answer.get("Messages", [])]

    def drop(self, handle: str) -> None:
        try:
            self._client().delete_message(QueueUrl=self._queue_url, ReceiptHandle=handle)
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError("the queue did not answer") from error
