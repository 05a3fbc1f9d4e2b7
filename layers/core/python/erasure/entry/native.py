"""The native family: erasure requests as this service itself understands them. All others are translations of it.

==============================================  ===============================================================
``POST /v1/erasure-requests``                   202, one disposition for each different subject; ``dry_run``: 200,
                                                what would be covered, and nothing is written
``GET /v1/erasure-requests``                    200, a page, newest first; ``state``, ``subject_id`` (with ``type``),
                                                ``cursor``, ``limit``
``GET /v1/erasure-requests/{request_id}``       200, with the progress of each target
``POST /v1/erasure-requests/{request_id}/…``    ``cancel``: 200, while it is requested; ``retry``: 202
``GET /v1/erasure-requests/{request_id}/audit``  200, the trail, oldest first, and whether it is whole
==============================================  ===============================================================

A value that could be understood in two ways is refused: a missing type, an empty scope and a time without its offset
have no default, except that a request without ``not_before`` waits for as long as its tenant has set. Expediting one,
and the figures of the promise, are in :mod:`erasure.entry.sla`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from erasure.domain.identifiers import check_idempotency_key, check_identifier, is_request_id, new_batch_id
from erasure.domain.request import CANCELLED, CATEGORIES, FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import ORGANIZATION, SUBJECT_TYPES, USER, Subject
from erasure.entry.exchange import BACKEND, MAX_BULK_BODY_BYTES, Call, Refusal, Route, answer
from erasure.entry.fields import ListTooLongError, check_moment, check_organizations, claim_of
from erasure.entry.native_answers import shown_disposition, shown_entry, shown_plan, shown_request, shown_view
from erasure.entry.problem import problem
from erasure.errors import InvalidInputError, NotFoundError
from erasure.services.erasures import Accepted, ErasureCommand, ErasureService, IdempotencyClaim

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.ports import Clock
    from erasure.services.idempotent import Idempotency

FAMILY = "native"
WRITE, READ = "erasure:write", "erasure:read"
STATES = (REQUESTED, STARTED, HELD, FINISHED, CANCELLED)
MAX_ORGANIZATIONS = 100
MAX_PLANNED = 20_000
"""Targets in the answer to a dry run, all subjects together: a function's answer holds 6 MB."""

MAX_DAYS_AHEAD = 5 * 366
DEFAULT_LIMIT, MAX_LIMIT = 25, 100
_PATH = "/v1/erasure-requests"
ONE = f"{_PATH}/{{request_id}}"
_FIELDS = frozenset({"subjects", "categories", "scope", "not_before", "dry_run", "plan_hash"})

# What int() would take besides ("+1", "1_0", "１") is no length.
_LIMIT = re.compile("[0-9]{1,3}")
_PLAN_HASH = re.compile("[0-9a-f]{64}")


class _FirstTimeError(NotFoundError):
    """No earlier call had this idempotency key."""


class _RepeatedError(Exception):
    """An earlier call had this idempotency key and did not come to its end. No error of ours: it keeps its key."""


class NativeFamily:
    def __init__(self, erasures: ErasureService, idempotency: Idempotency, now: Clock) -> None:
        self._erasures = erasures
        self._idempotency = idempotency
        self._now = now

    def routes(self) -> list[Route]:
        return [
            Route("POST", _PATH, BACKEND, self.create, WRITE),
            Route("GET", _PATH, BACKEND, self.list, READ),
            Route("GET", ONE, BACKEND, self.show, READ),
            Route("POST", f"{ONE}/cancel", BACKEND, self.cancel, WRITE),
            Route("POST", f"{ONE}/retry", BACKEND, self.retry, WRITE),
            Route("GET", f"{ONE}/audit", BACKEND, self.audit, READ),
        ]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def create(self, call: Call) -> Response[str]:
        body = call.json_object(MAX_BULK_BODY_BYTES)
        command, is_dry_run = _command(body, call)
        if command.not_before is not None:
            self._check_moment(command, command.not_before)
        if is_dry_run:
            return self._try(command)
        accepted = self._erasures.create(command)
        results = [shown_disposition(disposition) for disposition in accepted.dispositions]
        return answer(202, {"batch_id": accepted.batch_id, "requests": results}, _request_header(accepted))

    def _try(self, command: ErasureCommand) -> Response[str]:
        plans = self._erasures.plan(command)
        if sum(len(plan.targets) + len(plan.out_of_scope) for plan in plans) > MAX_PLANNED:
            raise ListTooLongError("subjects", f"must not come to more than {MAX_PLANNED} targets in a dry run")
        return answer(200, {"dry_run": True, "plans": [shown_plan(plan) for plan in plans]})

    def list(self, call: Call) -> Response[str]:
        state, subject_id = call.query("state"), call.query("subject_id")
        if state is not None and state not in STATES:
            raise InvalidInputError("state", f"must be one of {', '.join(STATES)}")
        subject = None if subject_id is None else subject_of(call, subject_id)
        page = self._erasures.list(
            call.caller.tenant_id,
            state=state,
            subject=subject,
            cursor=call.query("cursor"),
            limit=limit_of(call),
        )
        body: dict[str, Any] = {"requests": [shown_request(request) for request in page.requests]}
        if page.cursor is not None:
            body["cursor"] = page.cursor
        return answer(200, body)

    def show(self, call: Call, request_id: str) -> Response[str]:
        return answer(200, shown_view(self._erasures.show(call.caller.tenant_id, own_id(request_id))))

    def cancel(self, call: Call, request_id: str) -> Response[str]:
        caller, request_id = call.caller, own_id(request_id)
        key = check_idempotency_key(call.header("Idempotency-Key"))

        def cancel(_run_id: str) -> None:
            self._erasures.cancel(caller.tenant_id, request_id, caller.key_id)

        self._idempotency.run(caller.tenant_id, "native.cancel", key, request_id, new_batch_id(), cancel)
        return answer(200, shown_request(self._erasures.show(caller.tenant_id, request_id).request))

    def retry(self, call: Call, request_id: str) -> Response[str]:
        caller, request_id = call.caller, own_id(request_id)
        key = check_idempotency_key(call.header("Idempotency-Key"))
        attempt = self._erasures.retry(caller.tenant_id, request_id, caller.key_id, key)
        return answer(202, {"id": request_id, "attempt": attempt}, {"X-Erasure-Request-Id": request_id})

    def audit(self, call: Call, request_id: str) -> Response[str]:
        entries, is_whole = self._erasures.audit(call.caller.tenant_id, own_id(request_id))
        return answer(200, {"id": request_id, "whole": is_whole, "entries": [shown_entry(entry) for entry in entries]})

    def _check_moment(self, command: ErasureCommand, moment: datetime) -> None:
        """The rules of ``not_before``, by the clock. A repeated call was checked when it came first."""
        now = self._now()
        if moment > now + timedelta(days=MAX_DAYS_AHEAD):
            raise InvalidInputError("not_before", "must be at most 5 years ahead")
        if moment <= now and not self._is_repeated(command.tenant_id, command.idempotency):
            raise InvalidInputError("not_before", "must be in the future")

    def _is_repeated(self, tenant_id: str, claim: IdempotencyClaim | None) -> bool:
        if claim is None:
            return False
        own_run_id = new_batch_id()

        def stop(run_id: str) -> None:
            raise _FirstTimeError if run_id == own_run_id else _RepeatedError

        try:
            self._idempotency.run(tenant_id, claim.operation, claim.key, claim.body, own_run_id, stop)
        except _FirstTimeError:
            return False
        except _RepeatedError:
            pass
        return True


def subject_of(call: Call, subject_id: str) -> Subject:
    """The caller's subject that a path or a query names, with ``type`` in the query. ``InvalidInputError``."""
    subject_type = call.query("type")
    if subject_type is not None:
        _check_type(subject_type, "type")
    return Subject(call.caller.tenant_id, check_identifier(subject_id, "subject_id"), subject_type or USER)


def _check_type(value: object, field: str) -> str:
    if not isinstance(value, str) or value not in SUBJECT_TYPES:
        raise InvalidInputError(field, f"must be one of {', '.join(SUBJECT_TYPES)}")
    return value


def limit_of(call: Call) -> int:
    """How long a page may be. Raises :class:`InvalidInputError`."""
    text = call.query("limit")
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidInputError("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _command(body: dict[str, Any], call: Call) -> tuple[ErasureCommand, bool]:
    """What is asked for, and whether it is only to be tried."""
    check_fields(body, "body", _FIELDS)
    subjects = subjects_of(body.get("subjects"), call.caller.tenant_id)
    organization_ids = organizations_of(body["scope"], subjects) if "scope" in body else ()
    categories = categories_of(body["categories"]) if "categories" in body else None
    plan_hash = _plan_hash(body["plan_hash"]) if "plan_hash" in body else None
    not_before = check_moment(body["not_before"], "not_before") if "not_before" in body else None
    is_dry_run = body.get("dry_run", False)
    if not isinstance(is_dry_run, bool):
        raise InvalidInputError("dry_run", "must be true or false")
    meant = [
        [[subject.type, subject.id] for subject in subjects],
        organization_ids,
        None if not_before is None else not_before.isoformat(),
        *([] if categories is None and plan_hash is None else [categories, plan_hash]),
    ]
    command = ErasureCommand(
        call.caller.tenant_id,
        FAMILY,
        subjects,
        call.caller.key_id,
        field_of=lambda position: f"subjects[{position}].id",
        organization_ids=organization_ids,
        categories=categories,
        not_before=not_before,
        takes_grace=True,
        plan_hash=plan_hash,
        strict=len(set(subjects)) == 1,
        idempotency=claim_of(call, "native.create", meant),
    )
    return command, is_dry_run


def categories_of(value: object) -> tuple[str, ...]:
    """At least one: an empty list must not come to mean all of them. In one order, whatever they were sent in."""
    if not isinstance(value, list) or not value or not all(category in CATEGORIES for category in value):
        raise InvalidInputError("categories", f"must be a list of {', '.join(CATEGORIES)}, at least one")
    return tuple(category for category in CATEGORIES if category in value)


def _plan_hash(value: object) -> str:
    if not isinstance(value, str) or not _PLAN_HASH.fullmatch(value):
        raise InvalidInputError("plan_hash", "must be one that a plan gave")
    return value


def check_fields(value: Mapping[str, Any], field: str, known: frozenset[str]) -> None:
    """What is not understood may have been meant to limit the call. Its name is not repeated: it may be anything."""
    if not value.keys() <= known:
        raise InvalidInputError(field, f"may only have the fields {', '.join(sorted(known))}")


def subjects_of(value: object, tenant_id: str) -> tuple[Subject, ...]:
    """How many there may be is the use case's rule."""
    if not isinstance(value, list):
        raise InvalidInputError("subjects", "must be a list of objects")
    return tuple([one_subject(entry, f"subjects[{position}]", tenant_id) for position, entry in enumerate(value)])


def one_subject(value: object, field: str, tenant_id: str) -> Subject:
    if not isinstance(value, dict):
        raise InvalidInputError(field, "must be an object with type and id")
    check_fields(value, field, frozenset({"type", "id"}))
    subject_type = _check_type(value.get("type"), f"{field}.type")
    return Subject(tenant_id, check_identifier(value.get("id"), f"{field}.id"), subject_type)


def organizations_of(scope: object, subjects: Sequence[Subject]) -> tuple[str, ...]:
    if not isinstance(scope, dict):
        raise InvalidInputError("scope", "must be an object with organization_ids")
    check_fields(scope, "scope", frozenset({"organization_ids"}))
    if any(subject.type == ORGANIZATION for subject in subjects):
        raise InvalidInputError("scope", "cannot limit the erasure of an organization")
    different = len(set(subjects))
    return check_organizations(scope.get("organization_ids"), "scope.organization_ids", MAX_ORGANIZATIONS, different)


def own_id(request_id: str) -> str:
    """Raises :class:`NotFoundError` for what cannot be a request's id, as for what is none."""
    if not is_request_id(request_id):
        raise NotFoundError("there is no such erasure request")
    return request_id


def _request_header(accepted: Accepted) -> dict[str, str]:
    requests = [entry.request for entry in accepted.dispositions if entry.request is not None]
    if not requests:
        return {}
    is_single = len(accepted.dispositions) == 1
    return {"X-Erasure-Request-Id": requests[0].request_id if is_single else accepted.batch_id}
