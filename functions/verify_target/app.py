"""Reads a unit's targets again, under a role that cannot write to them.

In: a unit, ``{"job_id", "unit", "eraser", "passes_left"}``.
Out: the unit with one pass less, ``"again"`` (whether the eraser is needed once more) and ``"wait"`` (seconds before
that, 0: at once).

In: all units of a job as their erasers answered, ``{"job_id", "units"}``. Out: ``{"units", "again"}``: each as above,
and whether any goes on.

In: a lookup, ``{"lookup": {"subject", "specs"}}``. Out: ``{"found": bool}``: whether these targets hold anything of the
subject.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("verify_target")
