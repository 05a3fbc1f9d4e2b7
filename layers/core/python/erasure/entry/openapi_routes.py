"""What the document says of the routes: one entry for each method and path of the families' own lists of routes.

For development time only. Who may call, with which scope, the headers that every answer has, and what API Gateway says
by itself are added by :mod:`erasure.entry.openapi`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from aws_lambda_powertools.event_handler.openapi.params import Header, Query
from pydantic import Field

from erasure.entry import openapi_models as models
from erasure.entry.h2o import _META
from erasure.entry.june import STATES as JUNE_STATES

USER = "usr_01HABCDEF123456"
REQUEST = "er_01JZ0QJ4Y8W3N2V5T7R9K1M3P5"
BATCH = "eb_01JZ0QJ4Y8W3N2V5T7R9K1M3P6"
AT, DUE, PURGED = "2026-01-31T12:00:00.000Z", "2026-02-03T12:00:00.000Z", "2026-05-01T12:00:00.000Z"
JUNE = "/api/platform/data_management"

H2O, HELLOJOHN, VELT, JUNE_TAG, NATIVE, SERVICE = "H2O", "HelloJohn", "Velt", "June", "Native", "Service"
TAGS = {
    H2O: "Two steps with which people delete their own data; for end users, with a token of theirs.",
    HELLOJOHN: "Users of an application: show, delete, disable and enable them.",
    VELT: "Delete several users' data, and ask how far that is.",
    JUNE_TAG: "Requests to delete a user or a group, which suppress them as well.",
    NATIVE: "Erasure requests as this service itself understands them, and what it needs to know.",
    SERVICE: "What is open to everybody.",
}


class Answer(NamedTuple):
    """``model=None``: no body. ``accepted``: whether it has ``X-Erasure-Request-Id`` (None: it may have)."""

    description: str
    model: Any = None
    example: Any = None
    accepted: bool | None = False
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


class Operation(NamedTuple):
    """``refused``: statuses of the family's own refusals, besides those of every route with the same kind of caller.
    ``accepted_anyway``: those of them that may come with ``X-Erasure-Request-Id``. ``query``: by name."""

    name: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    refused: tuple[int, ...] = ()
    accepted_anyway: tuple[int, ...] = ()
    description: str = ""
    body: Any = None
    example: Any = None
    query: Mapping[str, Any] = {}
    headers: Mapping[str, Any] = {}
    repeatable: bool = False


def query(kind: Any, description: str) -> Any:
    return Annotated[kind, Query(description=description)]


def whole(most: int, description: str) -> Any:
    return query(Annotated[int, Field(ge=1, le=most)], description)


_TIMEOUT = query(
    Annotated[str, models.text(r"^[0-9]{1,9}(\.[0-9]{0,9})?$")],
    "Seconds that the caller will wait, a whole or decimal number; 300 if left out. Waited is as long as API Gateway"
    " allows, whatever is asked for.",
)
_CLIENT_VERSION = Annotated[
    str, models.text("^[!-~]+$"), Header(description="The client's version, which a handshake echoes.")
]
_ACCEPTED_DELETION = {"request_id": REQUEST, "status_url": f"/prod/users/current/erasure-requests/{REQUEST}"}
_OUTCOMES = [{"target": "documents", "category": "content", "outcome": "erased", "count": 12}]
_OWN_REQUEST = {"request_id": REQUEST, "state": "finished", "attention": False, "requested_at": AT, "due_at": DUE}
_HANDSHAKE = {
    "version": "1.7.5",
    "build": "0.4.0",
    "username": "ann",
    "user_id": "ann",
    "subject": "ann",
    "email": "ann@example.com",
    **_META,
}


def _h2o(prefix: str) -> dict[tuple[str, str], Operation]:
    """The client puts /api/v1 before the paths; they are served without as well."""
    suffix = "V1" if prefix else ""
    return {
        ("DELETE", f"{prefix}/users/current"): Operation(
            f"requestDeletion{suffix}",
            H2O,
            "Step one: ask for a delete id",
            {
                200: Answer(
                    "The id, which can be confirmed once, until it expires.",
                    models.IssuedDeleteId,
                    {"delete_id": "q2J0dGhlLWlkLXRoYXQtbm9ib2R5LWd1ZXNzZXM", "expires_at": AT},
                )
            },
            refused=(400, 409),
            description="Nothing is deleted yet. Earlier ids stay valid until they expire.",
            repeatable=True,
        ),
        ("POST", f"{prefix}/users/current/confirm-delete"): Operation(
            f"confirmDeletion{suffix}",
            H2O,
            "Step two: confirm the deletion",
            {
                204: Answer("Everything is erased, and that has been verified.", accepted=True),
                202: Answer(
                    "Accepted, and not finished within the time that the caller allowed.",
                    models.AcceptedDeletion,
                    _ACCEPTED_DELETION,
                    accepted=True,
                    headers=("Retry-After",),
                ),
            },
            refused=(400, 409),
            accepted_anyway=(409, 500),
            description=(
                "Erases what is of category content and preference, unless the data map says otherwise. A wrong user's,"
                " reused, malformed, unknown or expired id is told the same. A 409 or 500 with `request_id` says that"
                " the deletion was accepted and does not come to its end by itself."
            ),
            body=models.ConfirmedDeletion,
            example={"delete_id": "q2J0dGhlLWlkLXRoYXQtbm9ib2R5LWd1ZXNzZXM"},
            query={"timeout": _TIMEOUT},
            repeatable=True,
        ),
        ("GET", f"{prefix}/users/current/erasure-requests/{{request_id}}"): Operation(
            f"showOwnRequest{suffix}",
            H2O,
            "How far one of the caller's own deletions is",
            {
                200: Answer(
                    "The deletion.", models.OwnRequest, {**_OWN_REQUEST, "finished_at": AT, "targets": _OUTCOMES}
                )
            },
            refused=(400, 404),
        ),
    }


_SERVICE: dict[tuple[str, str], Operation] = {
    ("GET", "/users/current/deletion-preview"): Operation(
        "previewDeletion",
        H2O,
        "What a deletion would find now",
        {
            200: Answer(
                "What would be done, target by target.",
                models.DeletionPreview,
                {
                    "plan_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "targets": [{"target": "documents", "category": "content", "action": "delete", "count": 12}],
                },
            )
        },
        description="Nothing is written. Counts end at 1,000; what could not be counted in time is told.",
    ),
    ("GET", "/rpc/meta"): Operation(
        "handshake",
        H2O,
        "The handshake that the client makes first",
        {200: Answer("Who is calling.", models.Meta, _HANDSHAKE)},
        headers={"x_client_version": _CLIENT_VERSION},
    ),
    ("GET", "/health"): Operation(
        "health",
        SERVICE,
        "Whether the service is there",
        {200: Answer("It is.", models.Health, {"status": "ok", "message": "ok", "version": "0.4.0"})},
    ),
    ("GET", "/openapi.json"): Operation(
        "showDocument", SERVICE, "This document", {200: Answer("OpenAPI 3.1.", dict[str, Any])}
    ),
    ("GET", "/docs"): Operation(
        "showPage",
        SERVICE,
        "This document as a page",
        {200: Answer("A page that loads nothing from elsewhere.", str, media_type="text/html")},
    ),
}

_HELLOJOHN: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/users/{user_id}"): Operation(
        "showUser",
        HELLOJOHN,
        "Show a user",
        {200: Answer("The user, who is active or disabled.", models.User, {"id": USER, "status": "active"})},
        refused=(400, 404, 422),
    ),
    ("DELETE", "/v1/users/{user_id}"): Operation(
        "deleteUser",
        HELLOJOHN,
        "Delete a user",
        {204: Answer("Account, sessions and credentials are gone; everything else follows.", accepted=True)},
        refused=(400, 404, 409, 422),
        accepted_anyway=(500,),
        description=(
            "The user counts as deleted from now on: a second call answers 404. A 500 with `X-Erasure-Request-Id` says"
            " that the deletion is accepted and goes on, but has not taken effect yet; calling again is safe."
        ),
        repeatable=True,
    ),
    ("POST", "/v1/users/{user_id}/disable"): Operation(
        "disableUser",
        HELLOJOHN,
        "Disable a user, and delete it later unless it is enabled again",
        {
            200: Answer(
                "The user is disabled; with `revoke_sessions`, its sessions are gone.",
                models.UserStatus,
                {"status": "disabled", "disabled_at": AT, "delete_at": "2026-03-02T12:00:00.000Z"},
                accepted=None,
            )
        },
        refused=(400, 404, 409, 422),
        body=models.DisableUser,
        example={"revoke_sessions": True, "delete_after_days": 30},
        repeatable=True,
    ),
    ("POST", "/v1/users/{user_id}/enable"): Operation(
        "enableUser",
        HELLOJOHN,
        "Enable a user again; a deletion that waits is called off",
        {200: Answer("The user is active.", models.UserStatus, {"status": "active"})},
        refused=(400, 404, 409, 422),
        repeatable=True,
    ),
    ("POST", "/v1/users/bulk-delete"): Operation(
        "deleteUsers",
        HELLOJOHN,
        "Delete up to 1,000 users",
        {
            202: Answer(
                "One disposition for each different id.",
                models.DeletedUsers,
                {
                    "batch_id": BATCH,
                    "results": [
                        {"user_id": USER, "status": "accepted", "request_id": REQUEST},
                        {"user_id": "usr_gone", "status": "not_found"},
                    ],
                },
                accepted=True,
            )
        },
        refused=(400, 422),
        description=(
            "Those that are accepted count as deleted at once; their sessions and accounts are erased with everything"
            " else, a little later. One user's failure is nobody else's."
        ),
        body=models.DeleteUsers,
        example={"user_ids": [USER, "usr_gone"]},
        repeatable=True,
    ),
}

_VELT: dict[tuple[str, str], Operation] = {
    ("POST", "/v2/users/data/delete"): Operation(
        "deleteUserData",
        VELT,
        "Delete users' data",
        {
            202: Answer(
                "Begun.",
                models.UserDataDeletion,
                {
                    "status": "success",
                    "message": "Data deletion process has been initiated.",
                    "data": {"jobId": BATCH, "tasksCount": 3},
                    "statusCode": 202,
                },
                accepted=True,
            )
        },
        refused=(400, 409),
        body=models.DeleteUserData,
        example={"data": {"userIds": [USER], "organizationIds": ["org_1"]}},
        repeatable=True,
    ),
    ("POST", "/v2/users/data/delete/status"): Operation(
        "showUserDataDeletion",
        VELT,
        "How far a deletion is",
        {
            200: Answer(
                "Where it is.",
                models.DeletionStatus,
                {
                    "result": {
                        "status": "success",
                        "message": "Data fetched successfully.",
                        "data": {"isDeleteCompleted": True, "tasksLeft": 0, "lastTaskCompletedTime": 1769860800000},
                    }
                },
            )
        },
        refused=(400, 404),
        body=models.AskDeletionStatus,
        example={"data": {"jobId": BATCH}},
    ),
}


def _june(kind: str, request: Any, page: Any, body: Any, subject_id: str) -> dict[tuple[str, str], Operation]:
    shown = {"id": REQUEST, f"{kind}_id": subject_id, "state": "requested", "requested_at": AT}
    shown.update({"due_at": DUE, "purged_by": PURGED})
    return {
        ("POST", f"{JUNE}/{kind}_deletion_request"): Operation(
            f"request{kind.capitalize()}Deletion",
            JUNE_TAG,
            f"Delete and suppress a {kind}",
            {200: Answer(f"The request; the open one, if the {kind} has one.", request, shown, accepted=True)},
            refused=(400, 409),
            description="Erases the group's data, not its members." if kind == "group" else "",
            body=body,
            example={f"{kind}_id": subject_id},
            repeatable=True,
        ),
        ("GET", f"{JUNE}/{kind}_deletion_requests"): Operation(
            f"list{kind.capitalize()}Deletions",
            JUNE_TAG,
            f"Requests to delete {kind}s, newest first",
            {
                200: Answer(
                    "A page; past the end, an empty one.",
                    page,
                    {"data": [shown], "page": 1, "per_page": 25, "total": 1},
                )
            },
            refused=(400,),
            query={
                "state": query(Annotated[str, models.one_of(*JUNE_STATES)], "Only those in this state."),
                "page": whole(999_999_999, "The page's number; 1 if left out."),
            },
        ),
    }


SOURCES: Mapping[tuple[str, str], Operation] = {
    **_h2o(""),
    **_h2o("/api/v1"),
    **_SERVICE,
    **_HELLOJOHN,
    **_VELT,
    **_june("user", models.UserDeletionRequest, models.UserDeletionRequests, models.DeleteJuneUser, USER),
    **_june("group", models.GroupDeletionRequest, models.GroupDeletionRequests, models.DeleteJuneGroup, "grp_7"),
}
"""Of the families that come from elsewhere, and of what is open, by method and path."""
