"""The promise over the API: how a tenant's requests stand to it, and having one begin at once that waits.

================================================  =============================================================
``GET /v1/sla``                                   200, the figures of the tenant's requests
``POST /v1/erasure-requests/{id}/expedite``       202, the request, which waits for nothing any more; 409 unless it did
================================================  =============================================================
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import check_idempotency_key
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.native import ONE, READ, WRITE, own_id
from erasure.entry.native_answers import shown_request
from erasure.entry.problem import problem

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.services.erasures import ErasureService
    from erasure.services.sla_figures import SlaReader, TenantFigures


class SlaFamily:
    def __init__(self, erasures: ErasureService, reader: SlaReader) -> None:
        self._erasures = erasures
        self._reader = reader

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/sla", BACKEND, self.show, READ),
            Route("POST", f"{ONE}/expedite", BACKEND, self.expedite, WRITE),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def show(self, call: Call) -> Response[str]:
        return answer(200, _shown(self._reader.figures(call.caller.tenant_id)))

    def expedite(self, call: Call, request_id: str) -> Response[str]:
        caller, request_id = call.caller, own_id(request_id)
        key = check_idempotency_key(call.header("Idempotency-Key"))
        self._erasures.expedite(caller.tenant_id, request_id, caller.key_id, key)
        request = self._erasures.show(caller.tenant_id, request_id).request
        return answer(202, shown_request(request), {"X-Erasure-Request-Id": request_id})


def _shown(figures: TenantFigures) -> dict[str, Any]:
    total, next_due_at, left = figures.total, figures.next_due_at, figures.total.seconds_to_deadline
    return {
        "sla_hours": figures.sla_hours,
        "open": total.open,
        **figures.by_state,
        "overdue": total.overdue,
        "at_risk": {str(level): count for level, count in figures.at_risk.items()},
        "oldest_age_seconds": int(total.oldest_age_seconds),
        "seconds_to_deadline": None if left is None else floor(left),
        "next_due_at": None if next_due_at is None else format_time(next_due_at),
        "finished": {
            "of": figures.finished,
            "within": figures.within,
            "late": figures.finished - figures.within,
        },
        "more": figures.more,
    }
