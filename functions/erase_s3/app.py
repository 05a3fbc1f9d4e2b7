"""One slice of a unit of S3 targets: every version, delete marker and unfinished upload.

In: a unit, ``{"job_id", "unit", "eraser", "passes_left"}``.
Out: the unit and ``"more"`` (whether anything is left to erase), ``"again"`` and ``"wait"`` (true and 0: only the
verifier can tell that the unit needs no more).
"""

from erasure.entry.wiring import handler_for

handler = handler_for("erase_s3")
