"""Sends off requests that were to wait until now, and makes follow-ups of those that had to leave something.

In: an EventBridge schedule's event, which is not looked at. Out: ``{"sent": n, "released": n, "followed": n}``, numbers
of requests.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("retention_sweep")
