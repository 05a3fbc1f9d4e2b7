"""The envelope of the native API's errors: problem details as of RFC 9457.

Besides the standard's ``type``, ``title``, ``status`` and ``detail`` there are ``code``, the last part of the type,
``message``, equal to the detail, and, where it is known what is wrong with a call, ``errors``: ``{"field", "rule"}``
each; of a subject that is refused with ``reason``, as a disposition has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from erasure.entry.exchange import Call, Refusal, answer
from erasure.errors import DataMapError, InvalidInputError, SubjectRefusedError

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

PROBLEM_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:erasure:problem:"


def problem(
    call: Call,  # noqa: ARG001 - families hand over what they were asked with
    error: Exception,
    refusal: Refusal,
    errors: Iterable[tuple[str, str]] | None = None,
) -> Response[str]:
    """``errors``: pairs of field and rule; by default those that ``error`` knows."""
    body: dict[str, Any] = {
        "type": f"{_TYPE_PREFIX}{refusal.code}",
        "title": refusal.code.replace("_", " ").capitalize().replace("api", "API"),
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        "message": refusal.message,
    }
    listed = _broken_rules(error) if errors is None else errors
    broken = [{"field": field, "rule": rule} for field, rule in listed]
    if isinstance(error, SubjectRefusedError):
        broken = [{**each, "reason": error.reason} for each in broken]
    if broken:
        body["errors"] = broken
    return answer(refusal.status, body, {**refusal.headers, "Content-Type": PROBLEM_TYPE})


def _broken_rules(error: Exception) -> list[tuple[str, str]]:
    if isinstance(error, DataMapError):
        return error.problems
    return [(error.field, error.rule)] if isinstance(error, InvalidInputError) else []
