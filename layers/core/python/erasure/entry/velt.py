"""The Velt family: delete several users' data, and ask later how far that is.

=====================================  ============================================================
``POST /v2/users/data/delete``         202 with ``jobId`` and ``tasksCount``
``POST /v2/users/data/delete/status``  200, whether it is completed and how many tasks are left
=====================================  ============================================================

Its client ignores the HTTP status, so the bodies say everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import is_batch_id
from erasure.domain.subject import Subject
from erasure.domain.times import milliseconds
from erasure.entry.exchange import BACKEND, MAX_BULK_BODY_BYTES, Call, Refusal, Route, answer
from erasure.entry.fields import check_identifiers, check_organizations, claim_of
from erasure.errors import InvalidInputError, NotFoundError
from erasure.services.erasures import MAX_SUBJECTS, BatchView, ErasureCommand, ErasureService

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

FAMILY = "velt"
WRITE, READ = "erasure:write", "erasure:read"
MAX_ORGANIZATIONS = 50

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
}


class VeltFamily:
    def __init__(self, erasures: ErasureService) -> None:
        self._erasures = erasures

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v2/users/data/delete", BACKEND, self.delete, WRITE),
            Route("POST", "/v2/users/data/delete/status", BACKEND, self.show_status, READ),
        ]

    def delete(self, call: Call) -> Response[str]:
        """Without organizations: in all of the tenant's."""
        data = _data(call)
        user_ids = check_identifiers(data.get("userIds"), "data.userIds", MAX_SUBJECTS)
        organization_ids: tuple[str, ...] = ()
        if data.get("organizationIds") is not None:
            organization_ids = check_organizations(
                data["organizationIds"], "data.organizationIds", MAX_ORGANIZATIONS, len(set(user_ids))
            )
        tenant_id = call.caller.tenant_id
        accepted = self._erasures.create(
            ErasureCommand(
                tenant_id,
                FAMILY,
                tuple([Subject(tenant_id, user_id) for user_id in user_ids]),
                call.caller.key_id,
                field_of=lambda position: f"data.userIds[{position}]",
                organization_ids=organization_ids,
                named_batch=True,
                takes_grace=True,
                idempotency=claim_of(call, "velt.delete", [user_ids, organization_ids]),
            )
        )
        body = {
            "status": "success",
            "message": "Data deletion process has been initiated.",
            "data": {"jobId": accepted.batch_id, "tasksCount": accepted.tasks},
            "statusCode": 202,
        }
        return answer(202, body, {"X-Erasure-Request-Id": accepted.batch_id})

    def show_status(self, call: Call) -> Response[str]:
        job_id = _data(call).get("jobId")
        if not isinstance(job_id, str):
            raise InvalidInputError("data.jobId", "must be text")
        if not is_batch_id(job_id):
            raise NotFoundError("there is no such job")
        view = self._erasures.batch(call.caller.tenant_id, job_id)
        data: dict[str, Any] = {"isDeleteCompleted": view.is_finished, "tasksLeft": view.tasks_left}
        if view.last_completed_at is not None:
            data["lastTaskCompletedTime"] = milliseconds(view.last_completed_at)
        return answer(200, {"result": {"status": "success", "message": _message(view), "data": data}})

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:  # noqa: ARG002 - the protocol's
        status = _STATUS.get(refusal.status, "INTERNAL")
        error_body = {"message": refusal.message, "status": status, "code": refusal.status}
        return answer(refusal.status, {"error": error_body}, refusal.headers)


def _data(call: Call) -> dict[str, Any]:
    data = call.json_object(MAX_BULK_BODY_BYTES).get("data")
    if not isinstance(data, dict):
        raise InvalidInputError("data", "must be an object")
    return data


def _message(view: BatchView) -> str:
    if view.attention:
        return "Some data could not be deleted yet. The operators have been told."
    return "Data fetched successfully."
