"""Plans: what an erasure would find. Nothing is written.

==========================================  ===========================================================================
``POST /v1/erasure-plans``                  200, a plan for each subject, with a hash that an erasure request may name
``GET /users/current/deletion-preview``     200, what a person's own deletion would find (:mod:`erasure.entry.h2o`)
==========================================  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from erasure.entry.exchange import BACKEND, MAX_BULK_BODY_BYTES, Call, Refusal, Route, answer
from erasure.entry.native import (
    FAMILY,
    READ,
    categories_of,
    check_fields,
    one_subject,
    organizations_of,
    subjects_of,
)
from erasure.entry.native_answers import shown_kept, shown_moment
from erasure.entry.problem import problem
from erasure.errors import InvalidInputError
from erasure.services.commands import ErasureCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.domain.subject import Subject
    from erasure.ports import Preview
    from erasure.services.erasure_plans import ErasurePlan, ErasurePlans

_FIELDS = frozenset({"subject", "subjects", "categories", "scope"})


class PlansFamily:
    """``plans``: made when they are first asked for."""

    def __init__(self, plans: Callable[[], ErasurePlans]) -> None:
        self._plans = plans

    def routes(self) -> list[Route]:
        return [Route("POST", "/v1/erasure-plans", BACKEND, self.make, READ)]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def make(self, call: Call) -> Response[str]:
        command = _command(call.json_object(MAX_BULK_BODY_BYTES), call)
        return answer(200, {"plans": [_shown_plan(plan) for plan in self._plans().make(command)]})


def _command(body: dict[str, Any], call: Call) -> ErasureCommand:
    """What is to be planned: for one ``subject``, or for several ``subjects``."""
    check_fields(body, "body", _FIELDS)
    tenant_id = call.caller.tenant_id
    subjects: tuple[Subject, ...]
    if "subject" in body:
        if "subjects" in body:
            raise InvalidInputError("subjects", "must not be sent together with subject")
        subjects = (one_subject(body["subject"], "subject", tenant_id),)
    else:
        subjects = subjects_of(body.get("subjects"), tenant_id)
    return ErasureCommand(
        tenant_id,
        FAMILY,
        subjects,
        call.caller.key_id,
        field_of=lambda position: f"subjects[{position}].id",
        organization_ids=organizations_of(body["scope"], subjects) if "scope" in body else (),
        categories=categories_of(body["categories"]) if "categories" in body else None,
        takes_grace=True,
    )


def _shown_plan(plan: ErasurePlan) -> dict[str, Any]:
    return {
        "subject": {"type": plan.subject.type, "id": plan.subject.id},
        "plan_hash": plan.plan_hash,
        **shown_moment(plan.not_before),
        "targets": [{"name": preview.target, **shown_preview(preview)} for preview in plan.targets],
        "out_of_scope": list(plan.out_of_scope),
    }


def shown_preview(preview: Preview) -> dict[str, Any]:
    """Without the target's name, which families call differently. ``count`` is null where nothing was counted:
    ``problem`` says why, unless a table would have to be scanned."""
    shown: dict[str, Any] = {"category": preview.category, "action": preview.action, "count": preview.count}
    if preview.more:
        shown["more"] = True
    shown.update(shown_kept(preview.kept, preview.basis))
    if preview.problem is not None:
        shown["problem"] = preview.problem
    return shown
