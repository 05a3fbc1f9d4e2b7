"""The key of the subject digests, from Secrets Manager, read once for each worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class DigestKey:
    """Call it for the key. It is never rotated by itself: digests made with another key would not be found again."""

    def __init__(self, client: Callable[[], Any], secret_arn: str) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._key: bytes | None = None

    def __call__(self) -> bytes:
        if self._key is None:
            answer = self._client().get_secret_value(SecretId=self._secret_arn)
            self._key = answer["SecretString"].encode()
        return self._key
