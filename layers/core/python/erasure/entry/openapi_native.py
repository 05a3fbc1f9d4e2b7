"""The bodies of our own API, as models from which :mod:`erasure.entry.openapi` makes schemas.

For development time only, like :mod:`erasure.entry.openapi_models`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from erasure.domain.api_key import MODES, SCOPES
from erasure.domain.data_map_schema import Document
from erasure.domain.outcome import FAILED, FINAL_OUTCOMES
from erasure.entry.native import MAX_LIMIT, MAX_ORGANIZATIONS
from erasure.entry.openapi_clock import Job, LateArrivals, Promise, Purpose, Seconds
from erasure.entry.openapi_models import (
    NOT_BLANK,
    Absent,
    Basis,
    BatchId,
    Category,
    Count,
    Day,
    Digest,
    FollowedBy,
    FollowUpAt,
    Identifier,
    Kept,
    KeyId,
    Model,
    Moment,
    RequestId,
    ScanAt,
    State,
    Strict,
    SubjectType,
    Until,
    _Preview,
    one_of,
    text,
)
from erasure.services.api_keys import MAX_CALLS_PER_MINUTE, MAX_NAME_LENGTH
from erasure.services.commands import ACCEPTED, ALREADY_DELETED, ALREADY_OPEN, MAX_SUBJECTS, REFUSED
from erasure.services.erasure_plans import MAX_SUBJECTS as MAX_PLANNED_SUBJECTS
from erasure.services.requests_view import ERASING, VERIFYING, WAITING


class BrokenRule(Model):
    field: str
    rule: str
    reason: Annotated[str, Field(description="Why a subject is refused, as in a disposition.")] | Absent = None


class Problem(Model):
    """Problem details as of RFC 9457."""

    type: Annotated[str, text("^urn:erasure:problem:[a-z_]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: Annotated[str, Field(description="The last part of the type.")]
    message: Annotated[str, Field(description="The detail once more.")]
    errors: Annotated[list[BrokenRule], Field(min_length=1)] | Absent = None


# Erasure requests.


class Subject(Strict):
    type: SubjectType
    id: Identifier


class Organizations(Strict):
    organization_ids: Annotated[list[Identifier], Field(min_length=1, max_length=MAX_ORGANIZATIONS)]


Categories = Annotated[
    list[Category] | Absent, Field(min_length=1, description="Only what is of these. Without: of all categories.")
]


class CreateErasureRequests(Strict):
    subjects: Annotated[
        list[Subject],
        Field(min_length=1, max_length=MAX_SUBJECTS, description="One that is named twice counts once."),
    ]
    categories: Categories = None
    scope: Annotated[Organizations | Absent, Field(description="Erase within these organizations only.")] = None
    not_before: Annotated[
        Moment | Absent,
        Field(
            description="Not to be started earlier. In the future, 5 years ahead at most. Without: when the tenant's"
            " grace is over, at once if it has none."
        ),
    ] = None
    dry_run: Annotated[bool, Field(description="Only tell what would be covered; nothing is written.")] = False
    plan_hash: Annotated[
        Digest | Absent,
        Field(description="Of a plan, with a single subject only: if it would be erased by another plan now, 409."),
    ] = None


NotBefore = Annotated[
    Moment | Absent, Field(description="When it would be started first, by what was asked for or the tenant has set.")
]


class MakeErasurePlans(Strict):
    """Either ``subject`` or ``subjects``."""

    subject: Subject | Absent = None
    subjects: Annotated[list[Subject] | Absent, Field(min_length=1, max_length=MAX_PLANNED_SUBJECTS)] = None
    categories: Categories = None
    scope: Annotated[Organizations | Absent, Field(description="Within these organizations only.")] = None


class KnownSubject(Model):
    type: SubjectType
    id: Annotated[Identifier | None, Field(description="null once the request's own copy of the id is purged.")]


class ErasureRequest(Model):
    id: RequestId
    subject: KnownSubject
    state: State
    attention: Annotated[bool, Field(description="Something could not be erased; a person or a retry is needed.")]
    requested_at: Moment
    due_at: Moment
    purged_by: Moment
    not_before: Annotated[
        Moment | Absent, Field(description="Not to be started earlier; due_at and purged_by count from then.")
    ] = None
    started_at: Moment | Absent = None
    scan_at: ScanAt = None
    finished_at: Moment | Absent = None
    follow_up_at: FollowUpAt | Absent = None
    held_since: Annotated[Moment | Absent, Field(description="When it is held: its time stands still since then.")] = (
        None
    )
    parked_at: Annotated[Moment | Absent, Field(description="Since when it is not tried again by itself any more.")] = (
        None
    )
    purged_at: Annotated[Moment | Absent, Field(description="When its own copy of the ids was purged.")] = None
    organization_ids: list[Identifier] | Absent = None
    batch_id: BatchId | Absent = None
    followed_by: FollowedBy | Absent = None
    purpose: Annotated[Purpose | Absent, Field(description="Why the service has made it by itself.")] = None
    follows: Annotated[RequestId | Absent, Field(description="The request for which it has.")] = None
    late_arrivals: LateArrivals | Absent = None


class Disposition(Model):
    subject: Subject
    status: Annotated[str, one_of(ACCEPTED, ALREADY_OPEN, ALREADY_DELETED, REFUSED)]
    request: ErasureRequest | Absent = None
    reason: Annotated[str, Field(description="A fixed code, with refused.")] | Absent = None


class AcceptedErasures(Model):
    batch_id: BatchId
    requests: Annotated[list[Disposition], Field(min_length=1)]


class PlannedTarget(Model):
    name: str
    category: Category
    kind: Annotated[str, one_of("dynamodb", "s3")]
    action: Annotated[str, one_of("delete", "detach", "redact")]
    reason: Annotated[str, Field(description="Why it cannot be erased safely for this subject.")] | Absent = None


class SubjectPlan(Model):
    subject: Subject
    not_before: NotBefore = None
    targets: list[PlannedTarget]
    out_of_scope: Annotated[list[str], Field(description="Targets that cannot be limited to the scope.")]


class DryRun(Model):
    dry_run: Literal[True]
    plans: Annotated[list[SubjectPlan], Field(min_length=1)]


class Preview(_Preview):
    name: str


class ErasurePlan(Model):
    subject: Subject
    plan_hash: Digest
    not_before: NotBefore = None
    targets: list[Preview]
    out_of_scope: Annotated[list[str], Field(description="Targets that cannot be limited to the scope.")]


class ErasurePlans(Model):
    plans: Annotated[list[ErasurePlan], Field(min_length=1, max_length=MAX_PLANNED_SUBJECTS)]


class ErasureRequests(Model):
    requests: Annotated[list[ErasureRequest], Field(max_length=MAX_LIMIT)]
    cursor: Annotated[RequestId, Field(description="For the next page; left out on the last one.")] | Absent = None


class TargetProgress(Model):
    name: str
    category: Category
    state: Annotated[str, one_of(WAITING, ERASING, VERIFYING, *sorted(FINAL_OUTCOMES), FAILED)]
    count: Count
    at_least: Literal[True] | Absent = None
    reason: str | Absent = None
    kept: Kept = None
    until: Until = None
    kept_more: Literal[True] | Absent = None
    basis: Basis = None
    age_seconds: Annotated[Count | Absent, Field(description="Unless it is at its end.")] = None
    remaining_seconds: Seconds | Absent = None


class ErasureProgress(ErasureRequest):
    sla: Annotated[Promise | Absent, Field(description="Left out when it is cancelled.")] = None
    job: Annotated[Job | Absent, Field(description="The job that has it now.")] = None
    targets: list[TargetProgress]


class Retried(Model):
    id: RequestId
    attempt: Annotated[int, Field(ge=2)]


class AuditEntry(Model):
    request_id: RequestId
    sequence: Annotated[int, Field(ge=1)]
    event_id: str
    event: str
    at: Moment
    details: dict[str, Any]
    previous_digest: Digest
    digest: Digest


class AuditTrail(Model):
    id: RequestId
    whole: Annotated[bool, Field(description="Whether every entry follows from the one before it.")]
    entries: list[AuditEntry]


# The suppression list.


class Suppression(Model):
    subject_digest: Digest
    subject_type: SubjectType
    suppressed_at: Moment
    request_id: RequestId


class Suppressions(Model):
    suppressions: Annotated[list[Suppression], Field(max_length=MAX_LIMIT)]
    cursor: Annotated[Digest, Field(description="For the next page; left out on the last one.")] | Absent = None


# The data map.


class DataMapDocument(Document):
    """Targets follow further rules, so that none can match anybody else's data; each that is broken is told."""


class KnownDataMap(Model):
    version: Annotated[int, Field(ge=1)]
    digest: Digest
    document: dict[str, Any]


class DataMapWarning(Model):
    field: str
    warning: str


class NewDataMap(Model):
    version: Annotated[int, Field(ge=1)]
    digest: Digest
    warnings: list[DataMapWarning]


# API keys.


class CreateApiKey(Strict):
    scopes: Annotated[
        list[Annotated[str, one_of(*SCOPES)]],
        Field(min_length=1, description="Only scopes that the calling key has itself."),
    ]
    name: Annotated[str, text(f"^$|{NOT_BLANK}", max_length=MAX_NAME_LENGTH)] = ""
    valid_until: Annotated[Moment | None, Field(description="In the future. Without: no end.")] = None
    calls_per_minute: Annotated[int, Field(ge=1, le=MAX_CALLS_PER_MINUTE)] | None = None


class ApiKey(Model):
    key_id: KeyId
    mode: Annotated[str, one_of(*MODES)]
    scopes: list[Annotated[str, one_of(*SCOPES)]]
    name: str
    created_at: Moment
    valid_until: Moment | Absent = None
    revoked_at: Moment | Absent = None
    last_used_on: Day | Absent = None
    calls_per_minute: Annotated[int, Field(ge=1)] | Absent = None


class NewApiKey(ApiKey):
    key: Annotated[str, text("^sk_(live|test)_[a-z0-9]{16}_[A-Za-z0-9_-]{43}$")]


class ApiKeys(Model):
    keys: list[ApiKey]
