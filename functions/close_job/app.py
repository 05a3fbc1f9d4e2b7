"""Adds up the outcomes of a job and closes its requests.

In: ``{"job_id", "request_ids"}``. Out: ``{"job_id", "finished": n, "attention": n}``, numbers of requests.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("close_job")
