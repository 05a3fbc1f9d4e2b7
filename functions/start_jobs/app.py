"""Starts one job per message of the interactive lane.

In: an SQS batch; each body is ``{"request_id", "attempt"}``.
Out: a partial batch response, ``{"batchItemFailures": [{"itemIdentifier"}]}``.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("start_jobs")
