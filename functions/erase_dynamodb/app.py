"""One slice of a unit of DynamoDB targets.

In: a unit, ``{"job_id", "unit", "eraser", "passes_left"}``.
Out: the unit and ``"more"``: whether anything is left to erase.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("erase_dynamodb")
