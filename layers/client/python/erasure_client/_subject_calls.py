"""Calls that name a subject."""

from __future__ import annotations

from typing import Any

from erasure_client._subjects import SubjectLike, as_subject, check_id
from erasure_client._wire import Call, segment


def call_about(path: str, method: str, subject: SubjectLike, body: Any = None) -> Call:
    """A call whose path names a subject. The type is always sent: left out, it would mean the user of that id."""
    meant = as_subject(subject)
    one = f"{path}/{segment(check_id(meant.id, 'the id of a subject'))}"
    return Call(method, one, f"{method} {path}/{{subject_id}}", {"type": meant.type}, body)


def subject_query(subject: SubjectLike) -> dict[str, str]:
    """The parameters by which a list is limited to a subject's."""
    meant = as_subject(subject)
    return {"subject_id": check_id(meant.id, "the id of a subject"), "type": meant.type}
