"""What an erasure would find."""

from __future__ import annotations

from collections.abc import Iterable

from erasure_client._flow import Flow, Retries, send
from erasure_client._models_plans import Plan
from erasure_client._reading import Body
from erasure_client._request_flows import check_subjects, erasure_body
from erasure_client._subjects import SubjectLike, as_subjects
from erasure_client._wire import Call

PATH = "/v1/erasure-plans"

SLOW_SECONDS = 30.0
"""To wait for the answer: the service counts for up to 20 seconds, and the gateway gives up after 29."""


def preview(
    subjects: SubjectLike | Iterable[SubjectLike],
    retries: Retries,
    *,
    categories: Iterable[str] | None = None,
    organization_ids: Iterable[str] | None = None,
) -> Flow[tuple[Plan, ...]]:
    """A plan for each different subject, up to 10. Nothing is written."""
    named = as_subjects(subjects)
    body = erasure_body(named, categories=categories, organization_ids=organization_ids)
    answer = yield from send(Call("POST", PATH, f"POST {PATH}", body=body, read_timeout=SLOW_SECONDS), retries)
    plans = tuple([Plan.of(each) for each in Body(answer.json()).each("plans")])
    check_subjects([each.subject for each in plans], named, answer)
    return plans
