"""Unfinished uploads of the buckets that several targets of a unit have: listed once for all of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from erasure.domain.target_spec import TargetSpec
from erasure.errors import TargetError
from erasure.targets.protocol import Deadline
from erasure.targets.s3_errors import MISSING
from erasure.targets.s3_pages import PAGE_ENTRIES, Entry, NotSharedError, upload_pages
from erasure.targets.s3_scope import Owners, Scope


class UploadsOfUnit:
    """For one call of an eraser or the verifier, and no longer: what it has listed is as old as that.

    ``specs``: the unit's targets. A bucket is listed whole, when it is first asked about: its targets' keys need not
    begin alike. Nothing of that gets out but what :class:`Owners` finds to be a subject's own. Thread-safe.
    """

    def __init__(self, specs: Sequence[TargetSpec]) -> None:
        buckets = Counter(spec.s3.bucket for spec in specs if spec.s3 is not None)
        self._shared = {bucket for bucket, targets in buckets.items() if targets > 1}
        self._listed: dict[str, list[Entry] | None] = {}
        self._lock = threading.Lock()

    def are_shared(self, bucket: str) -> bool:
        return bucket in self._shared

    def of(self, client: Any, scopes: Mapping[int, Scope], deadline: Deadline) -> dict[int, list[Entry]]:
        """Every unfinished upload of these scopes of one bucket, by owner. Raises :class:`NotSharedError` if the
        bucket has a page of them or more, or if listing all of it is refused; else as :func:`upload_pages`."""
        anyone = next(iter(scopes.values()))
        with self._lock:  # whoever comes meanwhile waits for the same answer
            if anyone.bucket not in self._listed:
                whole = Scope(anyone.bucket, "", exact=False, owner=anyone.owner)
                self._listed[anyone.bucket] = _all_uploads(client, whole, deadline)
            listed = self._listed[anyone.bucket]
        if listed is None:
            raise NotSharedError
        owners, found = Owners(scopes), dict[int, list[Entry]]()
        for upload in listed:
            for owner in owners.of(upload["Key"]):
                found.setdefault(owner, []).append(upload)
        return found


def _all_uploads(client: Any, whole: Scope, deadline: Deadline) -> list[Entry] | None:
    """``None``: too many to look through for some subjects, or not for us to see."""
    uploads: list[Entry] = []
    try:
        for page in upload_pages(client, whole, deadline):
            uploads += page
            if len(uploads) >= PAGE_ENTRIES:
                return None
    except TargetError as error:
        if error.permanent and error.code != MISSING:
            return None
        raise
    return uploads
