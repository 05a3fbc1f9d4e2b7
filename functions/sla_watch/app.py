"""Looks whether open requests are on time, tells of those that are not, and puts back those that got lost.

In: an EventBridge schedule's event, which is not looked at. Out: numbers of requests: ``open``, ``held``, ``overdue``,
``alerts``, ``resent``, ``parked``.
"""

from erasure.entry.wiring import handler_for

handler = handler_for("sla_watch")
