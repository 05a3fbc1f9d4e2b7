"""The flows of erasure requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from erasure_client._arguments import moment_text, texts_of
from erasure_client._flow import Flow, Retries, send, with_key
from erasure_client._models_plans import DryRun
from erasure_client._models_requests import Attempt, AuditTrail, Batch, ErasureRequest
from erasure_client._paging import Listing
from erasure_client._reading import Body
from erasure_client._subject_calls import subject_query
from erasure_client._subjects import Subject, SubjectLike, as_subjects, check_id
from erasure_client._waiting import check_same
from erasure_client._wire import Answer, Call, segment
from erasure_client.errors import UnexpectedAnswerError

PATH = "/v1/erasure-requests"
_ONE = f"{PATH}/{{request_id}}"


def erasure_body(
    subjects: Sequence[Subject],
    *,
    categories: Iterable[str] | None = None,
    organization_ids: Iterable[str] | None = None,
    not_before: datetime | None = None,
    plan_hash: str | None = None,
) -> dict[str, Any]:
    """What is asked for. Empty lists are sent as they are: left out, they would mean everything."""
    body: dict[str, Any] = {"subjects": [subject.to_body() for subject in subjects]}
    if categories is not None:
        body["categories"] = texts_of(categories, "categories")
    if organization_ids is not None:
        body["scope"] = {"organization_ids": texts_of(organization_ids, "organization_ids")}
    if not_before is not None:
        body["not_before"] = moment_text(not_before, "not_before")
    if plan_hash is not None:
        body["plan_hash"] = plan_hash
    return body


def create(body: Mapping[str, Any], retries: Retries, idempotency_key: str | None = None) -> Flow[Batch]:
    """``body`` of :func:`erasure_body`."""
    call = with_key(Call("POST", PATH, f"POST {PATH}", body=body), idempotency_key)
    answer = yield from send(call, retries)
    batch = Batch.of(answer.json())
    check_subjects([each.subject for each in batch], _named(body), answer)
    return batch


def dry_run(body: Mapping[str, Any], retries: Retries) -> Flow[tuple[DryRun, ...]]:
    answer = yield from send(Call("POST", PATH, f"POST {PATH}", body={**body, "dry_run": True}), retries)
    runs = tuple([DryRun.of(each) for each in Body(answer.json()).each("plans")])
    check_subjects([each.subject for each in runs], _named(body), answer)
    return runs


def check_subjects(told: Sequence[Subject], named: Sequence[Subject], answer: Answer) -> None:
    """Whether an answer is about exactly those whom the call named, each once, in their order."""
    if list(told) != list(dict.fromkeys(named)):
        raise UnexpectedAnswerError("The answer is about other subjects than the call.", answer.status)


def get(request_id: str, retries: Retries) -> Flow[ErasureRequest]:
    return _request((yield from send(_call("GET", request_id), retries)), request_id)


def cancel(request_id: str, retries: Retries, idempotency_key: str | None = None) -> Flow[ErasureRequest]:
    call = with_key(_call("POST", request_id, "/cancel"), idempotency_key)
    return _request((yield from send(call, retries)), request_id)


def expedite(request_id: str, retries: Retries, idempotency_key: str | None = None) -> Flow[ErasureRequest]:
    call = with_key(_call("POST", request_id, "/expedite"), idempotency_key)
    return _request((yield from send(call, retries)), request_id)


def retry(request_id: str, retries: Retries, idempotency_key: str | None = None) -> Flow[Attempt]:
    call = with_key(_call("POST", request_id, "/retry"), idempotency_key)
    answer = yield from send(call, retries)
    attempt = Attempt.of(answer.json())
    check_same(attempt.id, request_id, answer)
    return attempt


def audit(request_id: str, retries: Retries) -> Flow[AuditTrail]:
    answer = yield from send(_call("GET", request_id, "/audit"), retries)
    trail = AuditTrail.of(answer.json())
    check_same(trail.id, request_id, answer)
    return trail


def listing(
    *, state: str | None, subject: SubjectLike | None, limit: int | None, page_size: int
) -> Listing[ErasureRequest]:
    query = {} if state is None else {"state": state}
    if subject is not None:
        query |= subject_query(subject)
    return Listing(Call("GET", PATH, f"GET {PATH}", query), "requests", ErasureRequest.of, page_size, limit)


def subjects_body(subjects: SubjectLike | Iterable[SubjectLike], **terms: Any) -> dict[str, Any]:
    """:func:`erasure_body` of whatever callers give."""
    return erasure_body(as_subjects(subjects), **terms)


def _named(body: Mapping[str, Any]) -> list[Subject]:
    return [Subject.of(each) for each in body["subjects"]]


def _call(method: str, request_id: str, action: str = "") -> Call:
    path = f"{PATH}/{segment(check_id(request_id, 'request_id'))}{action}"
    return Call(method, path, f"{method} {_ONE}{action}")


def _request(answer: Answer, request_id: str) -> ErasureRequest:
    request = ErasureRequest.of(answer.json())
    check_same(request.id, request_id, answer)
    return request
