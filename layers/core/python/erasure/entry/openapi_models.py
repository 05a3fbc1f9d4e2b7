"""The bodies of H2O, HelloJohn, Velt and June, as models from which :mod:`erasure.entry.openapi` makes schemas.

For development time only: the functions check what they get by hand, and load neither this nor pydantic. What a
request's schema allows is taken; the few rules that schemas cannot say (times lie in the future, a key gives only the
scopes that it has) are told in descriptions. Unknown keys are refused where a model is strict, and ignored elsewhere,
as in the systems that the families come from.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from erasure.domain.identifiers import MAX_IDENTIFIER_LENGTH
from erasure.domain.outcome import FAILED, FINAL_OUTCOMES
from erasure.domain.request import CANCELLED, CATEGORIES, TRANSITIONS
from erasure.domain.subject import SUBJECT_TYPES
from erasure.entry.hellojohn import MAX_DELETE_AFTER_DAYS
from erasure.entry.june import PER_PAGE, STATES
from erasure.entry.velt import MAX_ORGANIZATIONS
from erasure.services.erasures import MAX_SUBJECTS

_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_BLANKS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_BLANK = rf"^[^{_CONTROLS}]*[^{_CONTROLS}{_BLANKS}][^{_CONTROLS}]*$"
"""No control characters, and something besides blanks."""

_ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


def text(pattern: str, **more: Any) -> Any:
    # Not pydantic's own pattern, which would have to be one that its engine can compile.
    return Field(json_schema_extra={"pattern": pattern}, **more)


def one_of(*words: str) -> Any:
    return Field(json_schema_extra={"enum": list(words)})


Identifier = Annotated[str, text(NOT_BLANK, min_length=1, max_length=MAX_IDENTIFIER_LENGTH)]
RequestId = Annotated[str, text(f"^er_{_ULID}$")]
BatchId = Annotated[str, text(f"^eb_{_ULID}$")]
KeyId = Annotated[str, text("^[a-z0-9]{16}$")]
Digest = Annotated[str, text("^[0-9a-f]{64}$")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Count = Annotated[int, Field(ge=0)]
Category = Annotated[str, one_of(*CATEGORIES)]
State = Annotated[str, one_of(*TRANSITIONS)]
Outcome = Annotated[str, one_of(*sorted(FINAL_OUTCOMES), FAILED)]
SubjectType = Annotated[str, one_of(*SUBJECT_TYPES)]
Users = Annotated[list[Identifier], Field(min_length=1, max_length=MAX_SUBJECTS)]

Absent = SkipJsonSchema[None]
"""The field may be left out, but is never null."""


Kept = Annotated[Count | Absent, Field(description="Things that are still there and may be.")]
Until = Annotated[Moment | None, Field(description="With kept: as long as that; null if nobody knows.")]
Basis = Annotated[str | Absent, Field(description="With kept, if it is the law that keeps them.")]
FollowUpAt = Annotated[Moment, Field(description="When what had to be kept is taken up again.")]
FollowedBy = Annotated[RequestId, Field(description="The request that has taken up what had to be kept.")]
ScanAt = Annotated[
    Moment | Absent,
    Field(description="All else being done, tables without an index are gone through then, for all who wait for it."),
]


class Model(BaseModel):
    model_config = ConfigDict(defer_build=True)


class Strict(Model):
    model_config = ConfigDict(defer_build=True, extra="forbid")


# Everywhere.


class PlainError(Model):
    """What API Gateway itself says, in every family."""

    code: Annotated[int, Field(ge=400, le=599, description="The HTTP status.")]
    message: str


class Health(Model):
    status: Literal["ok"]
    message: Literal["ok"]
    version: str


# H2O.


class H2OError(Model):
    code: Annotated[int, Field(ge=400, le=599, description="The HTTP status.")]
    message: str
    request_id: RequestId | Absent = None
    status_url: str | Absent = None


class IssuedDeleteId(Model):
    delete_id: str
    expires_at: Moment


class ConfirmedDeletion(Model):
    delete_id: Annotated[str, Field(description="What step one handed out.")]


class AcceptedDeletion(Model):
    request_id: RequestId
    status_url: Annotated[str, Field(description="Relative to the URL that was called.")]


class TargetOutcome(Model):
    target: str
    category: Category
    outcome: Outcome
    count: Count
    at_least: Literal[True] | Absent = None
    reason: str | Absent = None
    kept: Kept = None
    until: Until = None
    kept_more: Literal[True] | Absent = None
    basis: Basis = None


class _Preview(Model):
    category: Category
    action: Annotated[str, one_of("delete", "detach", "redact")]
    count: Annotated[
        Count | None,
        Field(description="What would be erased, detached or redacted; null if it was not counted, see problem."),
    ]
    more: Annotated[Literal[True] | Absent, Field(description="There are more than count.")] = None
    kept: Kept = None
    until: Until = None
    kept_more: Literal[True] | Absent = None
    basis: Basis = None
    problem: Annotated[
        str | Absent, Field(description="A fixed code. Without one, a count of null means a table without an index.")
    ] = None


class PreviewedTarget(_Preview):
    target: str


class DeletionPreview(Model):
    plan_hash: Digest
    targets: list[PreviewedTarget]


class OwnRequest(Model):
    request_id: RequestId
    state: State
    attention: bool
    requested_at: Moment
    due_at: Moment
    scan_at: ScanAt = None
    finished_at: Moment | Absent = None
    targets: list[TargetOutcome]


class UiConfig(Model):
    logo: str
    chat_logo: str
    primary_color: str
    chat_name: str
    greeting: str
    show_private_button: bool
    show_workers_status: bool
    show_live_logs: bool
    show_eval: bool
    show_extractors: bool
    public_mode: bool


class Meta(Model):
    version: str
    build: str
    username: str
    user_id: str
    subject: str
    email: str
    is_guest: bool
    license_expired: bool
    license_expiry_date: str
    global_configs: list[Any]
    user_configs: list[Any]
    picture: str | None
    groups: list[str] | None
    workspaces: list[Any] | None
    permissions: list[Any]
    ui_config: UiConfig


# HelloJohn.


class HelloJohnError(Model):
    error: Annotated[
        str,
        one_of(
            "invalid_request",
            "missing_token",
            "invalid_api_key",
            "insufficient_permissions",
            "tenant_mismatch",
            "resource_not_found",
            "conflict",
            "validation_error",
            "rate_limit_exceeded",
            "internal_error",
        ),
    ]
    message: str
    request_id: str
    retry_after: Annotated[int, Field(ge=1, description="Seconds; with 429 only.")] | Absent = None


class UserStatus(Model):
    status: Annotated[str, one_of("active", "disabled")]
    disabled_at: Moment | Absent = None
    delete_at: Moment | Absent = None


class User(UserStatus):
    id: Identifier


class DisableUser(Model):
    revoke_sessions: bool = False
    delete_after_days: Annotated[int, Field(ge=1, le=MAX_DELETE_AFTER_DAYS)] | None = None


class DeleteUsers(Model):
    user_ids: Annotated[Users, Field(description="One that is named twice counts once.")]


class DeletedUser(Model):
    user_id: Identifier
    status: Annotated[str, one_of("accepted", "not_found", "refused")]
    request_id: RequestId | Absent = None
    reason: Annotated[str, Field(description="A fixed code, with refused.")] | Absent = None


class DeletedUsers(Model):
    batch_id: BatchId
    results: list[DeletedUser]


# Velt.


class VeltErrorDetails(Model):
    message: str
    status: Annotated[
        str,
        one_of(
            "INVALID_ARGUMENT",
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
            "NOT_FOUND",
            "ABORTED",
            "RESOURCE_EXHAUSTED",
            "INTERNAL",
        ),
    ]
    code: Annotated[int, Field(ge=400, le=599, description="The HTTP status.")]


class VeltError(Model):
    error: VeltErrorDetails


class VeltUsers(Model):
    userIds: Annotated[Users, Field(description="One that is named twice counts once.")]  # noqa: N815 - the wire's name
    organizationIds: Annotated[  # noqa: N815
        Annotated[list[Identifier], Field(min_length=1, max_length=MAX_ORGANIZATIONS)] | None,
        Field(description="Delete within these only. Without: in all organizations of the tenant."),
    ] = None


class DeleteUserData(Model):
    data: VeltUsers


class VeltStartedJob(Model):
    jobId: BatchId  # noqa: N815
    tasksCount: Count  # noqa: N815


class UserDataDeletion(Model):
    status: Literal["success"]
    message: str
    data: VeltStartedJob
    statusCode: Literal[202]  # noqa: N815


class VeltJob(Model):
    jobId: Annotated[str, Field(description="What starting the deletion answered.")]  # noqa: N815


class AskDeletionStatus(Model):
    data: VeltJob


class VeltProgress(Model):
    isDeleteCompleted: bool  # noqa: N815
    tasksLeft: Count  # noqa: N815
    lastTaskCompletedTime: Annotated[Count, Field(description="Epoch milliseconds.")] | Absent = None  # noqa: N815


class VeltResult(Model):
    status: Literal["success"]
    message: str
    data: VeltProgress


class DeletionStatus(Model):
    result: VeltResult


# June.


class JuneError(Model):
    error: Annotated[
        str,
        one_of(
            "invalid_request",
            "missing_token",
            "invalid_api_key",
            "insufficient_permissions",
            "tenant_mismatch",
            "resource_not_found",
            "conflict",
            "rate_limit_exceeded",
            "internal_error",
        ),
    ]
    message: str


class DeleteJuneUser(Model):
    user_id: Identifier


class DeleteJuneGroup(Model):
    group_id: Identifier


class _JuneRequest(Model):
    id: RequestId
    state: Annotated[str, one_of(*STATES, CANCELLED)]
    requested_at: Moment
    started_at: Moment | Absent = None
    finished_at: Moment | Absent = None
    due_at: Moment
    purged_by: Moment
    attention: Literal[True] | Absent = None


class UserDeletionRequest(_JuneRequest):
    user_id: Annotated[Identifier | None, Field(description="null once the request's own copy is purged.")]


class GroupDeletionRequest(_JuneRequest):
    group_id: Annotated[Identifier | None, Field(description="null once the request's own copy is purged.")]


class _JunePage(Model):
    page: Annotated[int, Field(ge=1)]
    per_page: Annotated[int, Field(ge=PER_PAGE, le=PER_PAGE)]
    total: Count


class UserDeletionRequests(_JunePage):
    data: Annotated[list[UserDeletionRequest], Field(max_length=PER_PAGE)]


class GroupDeletionRequests(_JunePage):
    data: Annotated[list[GroupDeletionRequest], Field(max_length=PER_PAGE)]
