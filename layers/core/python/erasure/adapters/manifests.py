"""The units of a job that has many, where the state machine reads them from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.errors import UnavailableError


class S3Manifests:
    """Objects ``manifests/<job id>.json`` of a bucket, which expire by its lifecycle. They hold ids and names of
    functions, nothing of any subject."""

    def __init__(self, client: Callable[[], Any], bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, job_id: str, units: Sequence[Mapping[str, Any]]) -> str:
        """Write the units as a JSON array; returns the object's key. Writing again replaces them.

        Raises ``UnavailableError``.
        """
        key = f"manifests/{job_id}.json"
        body = json.dumps(units, separators=(",", ":")).encode()
        try:
            self._client().put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError("the manifest could not be written") from error
        return key
