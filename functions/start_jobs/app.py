"""Starts jobs: one for each message of the interactive lane, and one for up to 1,000 requests of the batch lane.

In: an SQS batch; each body is ``{"request_ids", "attempt"}``.
Out: a partial batch response, ``{"batchItemFailures": [{"itemIdentifier"}]}``.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("start_jobs")
