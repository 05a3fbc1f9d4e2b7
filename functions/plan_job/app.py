"""Writes a job's tasks and groups them into units.

In: ``{"job_id", "request_ids", "attempt"}``.
Out: ``{"job_id", "request_ids", "units": [{"job_id", "unit", "eraser", "passes_left"}]}``; ``eraser`` is a
function name.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("plan_job")
