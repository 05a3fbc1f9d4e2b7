"""``erasure request``, ``status``, ``list``, ``cancel``, ``retry``, ``expedite``, ``audit`` and ``preview``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from erasure_client.cli._command import erasure_command
from erasure_client.cli._exits import CommandError, Exit, command_error_of
from erasure_client.cli._output import Output, clean, document_of, plain, table
from erasure_client.cli._people_arguments import (
    idempotency_key_option,
    ids_argument,
    not_before_option,
    request_id_argument,
    scope_options,
    type_option,
    yes_option,
)
from erasure_client.cli._session import Session
from erasure_client.cli._times import counted, local, now
from erasure_client.errors import (
    ConflictError,
    ErasureClientError,
    NoAnswerError,
    ServiceError,
    TooManyCallsError,
    UnexpectedAnswerError,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erasure_client import AuditTrail, Batch, Disposition, Subject

STATES = ("requested", "started", "held", "finished", "cancelled")
_SHOWN = 10
"""Of many subjects, so many are named in a question."""


@erasure_command("request")
@ids_argument
@type_option
@scope_options
@not_before_option
@click.option("--plan-hash", metavar="HASH", help="Only if it would go by this plan, which `preview` has shown.")
@click.option("--dry-run", is_flag=True, help="Say what would be covered, and request nothing.")
@yes_option
@click.option("--watch", is_flag=True, help="Follow it until it is finished.")
@idempotency_key_option
def request(
    session: Session,
    out: Output,
    *,
    ids: tuple[str, ...],
    subject_type: str,
    categories: tuple[str, ...],
    organization_ids: tuple[str, ...],
    not_before: datetime | None,
    plan_hash: str | None,
    dry_run: bool,
    yes: bool,
    watch: bool,
    idempotency_key: str | None,
) -> int:
    """Have people's data erased.

    Each ID is one user's, or with --type a group's or an organization's, 1,000 at most (see `erasure bulk` for more).
    It cannot be undone once it has begun, so it asks first. Accepted is not gone: follow it with --watch, or
    `erasure status`.
    """
    from erasure_client import Subject

    client, subjects = session.client(), [Subject(subject_type, each) for each in ids]
    how: dict[str, Any] = {
        "categories": categories or None,
        "organization_ids": organization_ids or None,
        "not_before": not_before,
        "plan_hash": plan_hash,
    }
    if dry_run:
        from erasure_client.cli._plans import dry_runs_view

        found = client.requests.dry_run(subjects, **how)
        out.result({"dry_run": True, "plans": document_of(found)}, dry_runs_view(found, now()))
        return Exit.DONE
    scope = scope_lines(categories, organization_ids)
    out.confirm(_question(session, subjects, not_before, scope), yes=yes)
    key = idempotency_key or f"cli_{uuid.uuid4().hex}"
    try:
        batch = client.requests.create(subjects, **how, idempotency_key=key)
    except (NoAnswerError, ServiceError, TooManyCallsError, UnexpectedAnswerError) as error:
        raise _in_doubt(error, key, not_before) from error
    shown, refused = batch_document(batch), Exit.PARTLY if _not_accepted(batch) else Exit.DONE
    if watch:
        out.stream(shown, _accepted(batch, followed=True))
        return max([refused, *_watched(session, out, batch)])
    out.result(shown, _accepted(batch))
    return refused


def _not_accepted(batch: Batch) -> list[Disposition]:
    """Whoever has no request, by whatever word the service says so."""
    return [each for each in batch if not each.is_accepted or each.request is None]


def _watched(session: Session, out: Output, batch: Batch) -> Iterator[int]:
    """Follow one after the other; the exit codes."""
    from erasure_client.cli._render import subject_text
    from erasure_client.cli._watch import watch_request

    for each in batch:
        if each.is_accepted and each.request_id:
            if len(batch.request_ids) > 1 and not out.as_json:
                # A screen says itself whose it is: there, a line between two will do.
                heading = f"{each.request_id}  {subject_text(each.subject)}"
                out.stream({}, "" if out.is_terminal else heading)
            yield watch_request(session, out, each.request_id)


def _question(session: Session, subjects: Sequence[Subject], not_before: datetime | None, scope: Sequence[str]) -> str:
    from erasure_client.cli._render import subject_text

    named = [f"  {subject_text(each)}" for each in subjects[:_SHOWN]]
    if len(subjects) > _SHOWN:
        named.append(f"  and {counted(len(subjects) - _SHOWN, 'other', 'others')}")
    begins = "" if not_before is None else f", not before {local(not_before)}"
    head = (
        f"This erases the data of {counted(len(subjects), 'subject', 'subjects')}{begins}. It cannot be brought back."
    )
    return "\n".join([head, *named, *scope, *whereabouts(session), "Go on?"])


def scope_lines(categories: Sequence[str], organization_ids: Sequence[str]) -> list[str]:
    """Lines for a question: of what only, and within which organizations only."""
    lines = []
    if categories:
        lines.append(f"  of these categories only: {', '.join(map(clean, categories))}")
    if organization_ids:
        within = ", ".join(map(clean, organization_ids[:_SHOWN]))
        rest = len(organization_ids) - _SHOWN
        lines.append(f"  within these organizations only: {within}{f', and {rest} others' if rest > 0 else ''}")
    return lines


def whereabouts(session: Session) -> list[str]:
    """Lines for a question: at which address, and as which tenant."""
    profile = session.profile
    tenant = profile.tenant or "the key's own"
    # Two lines: an address of API Gateway's takes up one.
    return [f"  at {clean(profile.url)}", f"  tenant: {clean(tenant)} (profile {clean(profile.name)})"]


def _in_doubt(error: ErasureClientError, key: str, not_before: datetime | None) -> CommandError:
    """It may have been accepted. The same command under the same key makes nothing twice."""
    told = command_error_of(error)
    again = f"--idempotency-key {key}"
    if not_before is not None:
        # From now on, counted from another now, would be another call.
        again += f" --not-before {document_of(not_before)}"
    told.message += " Whether it was accepted is not known."
    told.next = f"Run it again with {again}: then nothing is requested twice."
    return told


def batch_document(batch: Batch) -> dict[str, Any]:
    """As the API tells it."""
    return {"batch_id": batch.batch_id, "requests": [_disposition_document(each) for each in batch]}


def _disposition_document(disposition: Disposition) -> dict[str, Any]:
    document: dict[str, Any] = {"subject": document_of(disposition.subject), "status": disposition.status}
    if disposition.request is not None:
        document["request"] = document_of(disposition.request)
    if disposition.reason is not None:
        document["reason"] = disposition.reason
    return document


def _accepted(batch: Batch, *, followed: bool = False) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from erasure_client.cli._render import REASONS, requests_table, subject_text

    parts: list[RenderableType] = []
    if batch.requests:
        parts += [f"Accepted: {counted(len(batch.requests), 'request', 'requests')}. Nothing is gone yet.", ""]
        parts += [requests_table(batch.requests, now()), ""]
    for each in _not_accepted(batch):
        reason = REASONS.get(each.reason or "", "")
        status = "not requested" if each.is_accepted else clean(each.status)
        parts.append(Text.assemble((status, "bold red"), f"  {subject_text(each.subject)}: {clean(each.reason)}"))
        parts += [Text(f"  {reason}")] if reason else []
    if batch.request_ids and not followed:
        parts.append(Text(f"Follow it: erasure status {clean(batch.request_ids[0])} --watch"))
    return Group(*parts)


@erasure_command("status")
@request_id_argument
@click.option("--watch", is_flag=True, help="Follow it until it is finished, held, cancelled, or needs attention.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="With --watch: no longer than this.")
def status(session: Session, out: Output, *, request_id: str, watch: bool, timeout: float | None) -> int:
    """Show how far an erasure is.

    With --watch, exit code 0 says that it is finished; without, only that it was looked up. 3: it needs attention, is
    held or cancelled. 7: the time is over, and it goes on.
    """
    from erasure_client.cli._render import advice, request_view
    from erasure_client.cli._watch import exit_code, watch_request

    if watch:
        return watch_request(session, out, request_id, timeout)
    if timeout is not None:
        raise click.UsageError("--timeout goes with --watch.")
    found, at = session.client().requests.get(request_id), now()
    out.result(document_of(found), request_view(found, at))
    if text := advice(found):
        out.note(f"next: {text}")
    return exit_code(found) if not found.is_open or found.attention or found.state == "held" else Exit.DONE


@erasure_command("list")
@click.option("--state", type=click.Choice(STATES), help="In this state only.")
@click.option("--subject", "subject_id", metavar="ID", help="Of this subject only.")
@type_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=25, show_default=True, metavar="N", help="At most so many."
)
def list_requests(
    session: Session, out: Output, *, state: str | None, subject_id: str | None, subject_type: str, limit: int
) -> None:
    """List erasure requests, newest first, without their targets."""
    from erasure_client import Subject
    from erasure_client.cli._render import requests_table

    subject = None if subject_id is None else Subject(subject_type, subject_id)
    # One more than asked for tells whether there are more.
    found = list(islice(session.client().requests.list(state=state, subject=subject, limit=limit + 1), limit + 1))
    shown = found[:limit]
    document = {"requests": document_of(shown), "more": len(found) > limit}
    if not shown and not out.as_json:
        out.note("There is none.")
        return
    out.result(document, requests_table(shown, now()))
    if len(found) > limit:
        out.note("There are more: give a larger --limit.")


@contextmanager
def _about(request_id: str) -> Iterator[None]:
    """An error of a request that is not in the state for it says how to look."""
    try:
        yield
    except ConflictError as error:
        told = command_error_of(error)
        told.request_id, told.next = request_id, f"Look how it stands: `erasure status {request_id}`."
        raise told from error


@erasure_command("cancel")
@request_id_argument
@idempotency_key_option
def cancel(session: Session, out: Output, *, request_id: str, idempotency_key: str | None) -> None:
    """Take a request back that has not begun."""
    from erasure_client.cli._render import request_view

    with _about(request_id):
        changed = session.client().requests.cancel(request_id, idempotency_key=idempotency_key)
    out.result(document_of(changed), request_view(changed, now()))


@erasure_command("retry")
@request_id_argument
@idempotency_key_option
def retry(session: Session, out: Output, *, request_id: str, idempotency_key: str | None) -> None:
    """Have an erasure worked on again that needs attention, by the data map that is current now."""
    with _about(request_id):
        attempt = session.client().requests.retry(request_id, idempotency_key=idempotency_key)
    told = (
        f"{attempt.id} is worked on again (attempt {attempt.attempt}).\nFollow it: erasure status {attempt.id} --watch"
    )
    out.result(document_of(attempt), told)


@erasure_command("expedite")
@request_id_argument
@yes_option
@idempotency_key_option
def expedite(session: Session, out: Output, *, request_id: str, yes: bool, idempotency_key: str | None) -> None:
    """Have an erasure begin at once that waits for its time. After that it cannot be cancelled any more."""
    from erasure_client.cli._render import request_view

    head = f"The erasure {clean(request_id)} begins at once, and cannot be cancelled after that."
    out.confirm("\n".join([head, *whereabouts(session), "Go on?"]), yes=yes)
    with _about(request_id):
        changed = session.client().requests.expedite(request_id, idempotency_key=idempotency_key)
    out.result(document_of(changed), request_view(changed, now()))


@erasure_command("audit")
@request_id_argument
def audit(session: Session, out: Output, *, request_id: str) -> int:
    """Show what has happened to a request, and whether its audit trail is whole. Exit code 1: it is not."""
    trail = session.client().requests.audit(request_id)
    document = {"id": trail.id, "whole": trail.is_whole, "entries": document_of(trail.entries)}
    out.result(document, _audit_view(trail))
    out.note("All details: --json.")
    return Exit.DONE if trail.is_whole else Exit.REFUSED


def _audit_view(trail: AuditTrail) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    rows = table("AT", "EVENT", "DETAILS", whole=("AT", "EVENT"))
    for entry in trail.entries:
        rows.add_row(local(entry.at, seconds=True), clean(entry.event), plain(_details_text(entry.details)))
    verdict = (
        Text("whole: every entry is there, and as it was written", "green")
        if trail.is_whole
        else Text("NOT whole: entries are missing, or were changed", "bold red")
    )
    return Group(rows, "", verdict)


def _details_text(details: Mapping[str, Any]) -> str:
    told = (f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in details.items())
    return ", ".join(told)


@erasure_command("preview")
@ids_argument
@type_option
@scope_options
def preview(
    session: Session,
    out: Output,
    *,
    ids: tuple[str, ...],
    subject_type: str,
    categories: tuple[str, ...],
    organization_ids: tuple[str, ...],
) -> None:
    """Look for people's data, and show what an erasure would find. Nothing is changed.

    At most 10 at a time. What is found may be more by the time of an erasure.
    """
    from erasure_client import Subject
    from erasure_client.cli._plans import plans_view

    subjects = [Subject(subject_type, each) for each in ids]
    plans = session.client().preview(subjects, categories=categories or None, organization_ids=organization_ids or None)
    out.result({"plans": document_of(plans)}, plans_view(plans, now()))
    if len(plans) == 1:
        out.note("Have it erased as shown: `erasure request` with the same arguments and --plan-hash.")


COMMANDS: tuple[click.Command, ...] = (request, status, list_requests, cancel, retry, expedite, audit, preview)
