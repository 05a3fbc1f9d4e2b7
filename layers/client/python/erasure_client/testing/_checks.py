"""What the fake refuses, and by which rules: those of the service, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

CATEGORIES = ("account", "session", "credential", "membership", "content", "preference", "record")
SUBJECT_TYPES = ("user", "group", "organization")
MAX_SUBJECTS = 1000

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MAX_ORGANIZATIONS = 100
_MAX_ORGANIZATIONS_BYTES = 25 * 1024
_MAX_COPIED_BYTES = 2 * 1024 * 1024


class Refused(ValueError):  # noqa: N818 - an answer, not a fault of the fake
    """An answer that says no, before a family puts it into its envelope; and what a test is told that gives the fake
    what the service would not take. ``errors``: pairs of field and rule. ``reason``: why a subject is refused.
    ``frees_key``: the call's idempotency key may be used for another one."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[tuple[str, str]] = (),
        frees_key: bool = True,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        self.frees_key = frees_key


class BrokenRuleRefused(Refused):
    """A value breaks a rule. ``of_the_call``: what is wrong is the call as such: its body, its length."""

    def __init__(self, field: str, rule: str, *, of_the_call: bool = False, reason: str | None = None) -> None:
        super().__init__(400, "invalid_request", f"{field}: {rule}", errors=[(field, rule)], reason=reason)
        self.field = field
        self.of_the_call = of_the_call


class MismatchRefused(Refused):
    """The idempotency key came with another body before."""

    def __init__(self) -> None:
        super().__init__(409, "conflict", "Idempotency-Key: was used with another body", frees_key=False)


class MapRefused(Refused):
    """A data map that breaks rules."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        path, rule = problems[0]
        super().__init__(400, "invalid_request", f"{path}: {rule}", errors=problems)


def not_found() -> Refused:
    return Refused(404, "resource_not_found", "There is no such thing.")


def conflict(message: str) -> Refused:
    return Refused(409, "conflict", message)


def wrong_state() -> Refused:
    return conflict("The erasure request is not in a state that allows this.")


def forbidden(message: str, code: str = "insufficient_permissions") -> Refused:
    return Refused(403, code, message)


def unavailable(message: str = "This cannot be done at the moment. Please try again.") -> Refused:
    return Refused(500, "internal_error", message, headers={"Retry-After": "5"}, frees_key=False)


def check_identifier(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise BrokenRuleRefused(field, "must be text")
    if not 1 <= len(value) <= 256:
        raise BrokenRuleRefused(field, "must have 1 to 256 characters")
    if value.isspace():
        raise BrokenRuleRefused(field, "must not be blank")
    if _FORBIDDEN.search(value):
        raise BrokenRuleRefused(field, "must not hold control characters or unpaired surrogates")
    return value


def check_identifiers(value: object, field: str, most: int) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BrokenRuleRefused(field, "must be a list of texts")
    if not value:
        raise BrokenRuleRefused(field, "must not be empty")
    identifiers = tuple(check_identifier(entry, f"{field}[{position}]") for position, entry in enumerate(value))
    if len(set(identifiers)) > most:
        raise BrokenRuleRefused(field, f"must not name more than {most} different ones", of_the_call=True)
    return identifiers


def check_organizations(value: object, field: str, subjects: int) -> tuple[str, ...]:
    organization_ids = tuple(dict.fromkeys(check_identifiers(value, field, _MAX_ORGANIZATIONS)))
    longest = min(_MAX_ORGANIZATIONS_BYTES, _MAX_COPIED_BYTES // max(1, subjects))
    if sum(len(organization_id.encode()) for organization_id in organization_ids) > longest:
        raise BrokenRuleRefused(
            field, f"must not be longer than {longest} bytes together for so many subjects", of_the_call=True
        )
    return organization_ids


def check_categories(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(category in CATEGORIES for category in value):
        raise BrokenRuleRefused("categories", f"must be a list of {', '.join(CATEGORIES)}, at least one")
    return tuple(category for category in CATEGORIES if category in value)


def check_type(value: object, field: str) -> str:
    if not isinstance(value, str) or value not in SUBJECT_TYPES:
        raise BrokenRuleRefused(field, f"must be one of {', '.join(SUBJECT_TYPES)}")
    return value


def check_fields(value: Mapping[str, Any], field: str, known: Iterable[str]) -> None:
    if not value.keys() <= set(known):
        raise BrokenRuleRefused(field, f"may only have the fields {', '.join(sorted(known))}")


def check_text(value: object, field: str, most: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= most or value.isspace() or _FORBIDDEN.search(value):
        raise BrokenRuleRefused(field, f"must be a text of 1 to {most} characters, without control characters")
    return value


def check_moment(value: object, field: str) -> datetime:
    """An aware moment in UTC."""
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value.upper().replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BrokenRuleRefused(field, "must be a time with its offset, such as 2030-01-31T12:00:00Z")


def check_limit(text: str | None) -> int:
    if text is None:
        return 25
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= 100:
        raise BrokenRuleRefused("limit", "must be a whole number from 1 to 100")
    return int(text)


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
