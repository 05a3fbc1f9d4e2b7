"""What a command has to keep to before any request of it is written, and the first entry of a request's trail."""

from __future__ import annotations

from typing import Any

from erasure.domain.audit import AuditEntry, next_entry
from erasure.domain.request import ErasureRequest
from erasure.domain.times import format_time
from erasure.errors import InvalidInputError, SubjectRefusedError
from erasure.services.commands import MAX_SUBJECTS, ErasureCommand
from erasure.services.drafts import Draft
from erasure.services.refusals import NOT_COVERED, UNCOVERED, UNNAMEABLE, whose_id


def check_command(command: ErasureCommand) -> None:
    """Raises :class:`InvalidInputError` for what a caller has done wrong, ``ValueError`` for what a family has."""
    subjects = command.different_subjects()
    if any(subject.tenant_id != command.tenant_id for subject in subjects):
        raise ValueError("a command is for subjects of its own tenant")
    if command.only_one_open and len(subjects) > 1:
        raise ValueError("only a single subject's open request can be looked for")
    if command.plan_hash is not None and len(subjects) > 1:
        raise InvalidInputError("plan_hash", "can only be sent for a single subject")
    if not subjects:
        raise InvalidInputError("subjects", "must not be empty")
    if len(subjects) > MAX_SUBJECTS:
        field = command.field_of(0).partition("[")[0]
        raise InvalidInputError(field, f"must not name more than {MAX_SUBJECTS} different ones")


def refusal_of(command: ErasureCommand, draft: Draft) -> str | None:
    """Why the subject is refused, if it is. Raises where that refuses the whole call."""
    if not draft.targets:
        # Trying again would not help, as an error of ours would say: this has to be asked for differently.
        if command.strict:
            raise SubjectRefusedError(command.field_of(draft.position), UNCOVERED, draft.position, NOT_COVERED)
        return NOT_COVERED
    error = draft.refusal
    if error is None:
        return None
    whose = whose_id(error)
    if whose is not None:
        # Not this subject's fault: no subject of the call could be erased.
        raise InvalidInputError(whose, UNNAMEABLE)
    if command.strict:
        raise SubjectRefusedError(command.field_of(draft.position), UNNAMEABLE, draft.position, error.code)
    return error.code


def first_entry(request: ErasureRequest, key_id: str) -> AuditEntry:
    details: dict[str, Any] = {
        "family": request.family,
        "subject_digest": request.subject_digest,
        "subject_type": request.subject.type,
        "key_id": key_id,
    }
    if request.not_before is not None:
        details["not_before"] = format_time(request.not_before)
    if request.batch_id is not None:
        details["batch_id"] = request.batch_id
    return next_entry(request.request_id, None, "requested", request.requested_at, details)
