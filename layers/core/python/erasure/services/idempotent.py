"""One way to make a repeated call do its work once and answer alike, whatever the call does.

The key's record is written first, with an id from which the call derives everything it creates (request ids, attempts).
A call that died half-way is repeated under the same id, so it completes what there is. What it came to is kept as a
``result`` from which the answer can be made again, without any subject's id in it. A call that was refused, or whose
work was taken back, leaves its key free: the corrected call may use it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from erasure.domain.subject import keyed_digest
from erasure.errors import ErasureError, IdempotencyMismatchError, UnavailableError, WithdrawnError
from erasure.ports import Clock, IdempotencyRecord, IdempotencyStore

WINDOW = timedelta(hours=24)
"""How long a key is remembered."""


class Idempotency:
    def __init__(self, store: IdempotencyStore, digest_key: Callable[[], bytes], now: Clock) -> None:
        self._store = store
        self._digest_key = digest_key
        self._now = now

    def run(
        self,
        tenant_id: str,
        operation: str,
        key: str | None,
        body: str,
        run_id: str,
        action: Callable[[str], Any],
    ) -> Any:
        """``action(run_id)`` once for each key; its result (JSON, no subject's id) again when the key comes again.

        ``run_id``: the id to work under if the key is new; without a key it is used as it is. The same key means
        the same thing only within a tenant and an ``operation``. Raises :class:`IdempotencyMismatchError`.

        An error of ours that ``action`` raises says that there is nothing to complete, and frees the key;
        :class:`UnavailableError` says so only as :class:`WithdrawnError`. After any other error, the repeated call goes
        on under the same ``run_id``.
        """
        if key is None:
            return action(run_id)
        now = self._now()
        secret = self._digest_key()
        key_digest = keyed_digest(secret, "idempotency", tenant_id, operation, key)
        # Keyed too: a body may be nothing but a subject's id, which somebody could guess from a plain digest.
        wanted = IdempotencyRecord(key_digest, keyed_digest(secret, "body", body), run_id, now + WINDOW)
        record = self._store.begin(wanted, now)
        if not hmac.compare_digest(record.body_digest, wanted.body_digest):
            raise IdempotencyMismatchError("Idempotency-Key: was used with another body")
        if record.result is not None:
            return json.loads(record.result)
        try:
            result = action(record.run_id)
        except ErasureError as error:
            if not isinstance(error, UnavailableError) or isinstance(error, WithdrawnError):
                self._store.give_up(key_digest, record.run_id)
            raise
        self._store.finish(key_digest, json.dumps(result))
        return result
