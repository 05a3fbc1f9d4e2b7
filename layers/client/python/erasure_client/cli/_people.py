"""``erasure hold``, ``suppress`` and ``users``: people, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from erasure_client.cli._command import CommandGroup, erasure_command
from erasure_client.cli._exits import command_error_of
from erasure_client.cli._output import Output, clean, document_of, plain, table
from erasure_client.cli._people_arguments import WHEN, id_argument, idempotency_key_option, type_option, yes_option
from erasure_client.cli._requests import whereabouts
from erasure_client.cli._session import Session
from erasure_client.cli._times import counted, day, local
from erasure_client.errors import NotFoundError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erasure_client import Hold, Subject, Suppression, User

_DIGEST_SHOWN = 12
limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")


def question(session: Session, what: str, *more: str) -> str:
    """Ends with where it would be done."""
    return "\n".join([what, *more, *whereabouts(session), "Go on?"])


def fields_view(rows: Sequence[tuple[str, object]]) -> RenderableType:
    """Names and values, one below the other; what there is not is left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        if value is not None:
            grid.add_row(name, Text(clean(local(value) if isinstance(value, datetime) else value)))
    return grid


def told(result: object) -> dict[str, Any]:
    """A result for ``--json``, without what it does not say."""
    document: dict[str, Any] = document_of(result)
    return {name: value for name, value in document.items() if value is not None}


@contextmanager
def _not_found(meaning: str) -> Iterator[None]:
    """What it means here that there is no such thing."""
    try:
        yield
    except NotFoundError as error:
        found = command_error_of(error)
        found.message = meaning
        raise found from error


@click.group(cls=CommandGroup)
def hold() -> None:
    """Legal holds: as long as somebody has one, nothing of theirs is erased, whoever asks."""


@erasure_command("put")
@id_argument
@type_option
@click.option(
    "--reason", required=True, metavar="TEXT", help="Why. It is kept in clear, so it must not name the person."
)
@click.option("--author", required=True, metavar="TEXT", help="Who says so. Kept in clear as well.")
@click.option("--until", type=WHEN, metavar="WHEN", help="It ends by itself then; without it, when it is lifted.")
@click.option("--alias", "aliases", metavar="ID", multiple=True, help="A further id of theirs (may be repeated).")
def put_hold(
    session: Session,
    out: Output,
    *,
    id_: str,
    subject_type: str,
    reason: str,
    author: str,
    until: datetime | None,
    aliases: tuple[str, ...],
) -> None:
    """Hold somebody, or replace all that their hold says: what is left out is gone, --until and --alias too."""
    subject = _subject(subject_type, id_)
    made = session.client().holds.put(subject, reason=reason, author=author, until=until, aliases=aliases)
    out.result(told(made), _hold_view(made))
    out.note("Held from now on." if made.is_new else "There was a hold already: this is what it says now.")


@erasure_command("show")
@id_argument
@type_option
def show_hold(session: Session, out: Output, *, id_: str, subject_type: str) -> None:
    """Show the hold that was put on an id. Exit code 5: there is none; as another id's alias it may be held all the
    same."""
    with _not_found("No hold was put on this id. If it is another id's alias, it may be held all the same."):
        found = session.client().holds.get(_subject(subject_type, id_))
    out.result(told(found), _hold_view(found))


@erasure_command("lift")
@id_argument
@type_option
@yes_option
def lift_hold(session: Session, out: Output, *, id_: str, subject_type: str, yes: bool) -> None:
    """End somebody's hold. Erasures that waited for it go on, so it asks first."""
    client = session.client()
    out.confirm(question(session, f"This ends the hold of {subject_type} {clean(id_)}. Erasures go on."), yes=yes)
    with _not_found("No hold was put on this id. One whose alias it is, is lifted by the id that it was put on."):
        client.holds.lift(_subject(subject_type, id_))
    out.result({"lifted": True}, "The hold is lifted. What it held, and no other hold does, goes on.")


@erasure_command("list")
@limit_option
def list_holds(session: Session, out: Output, *, limit: int | None) -> None:
    """List the tenant's holds. The service knows digests only: it cannot tell whom they hold."""
    found = list(session.client().holds.list(limit=limit))
    if not found and not out.as_json:
        out.note("There are no legal holds.")
        return
    rows = table("HOLD", "TYPE", "SET", "UNTIL", "REASON", whole=["HOLD"])
    for each in found:
        ends = "lifted" if each.until is None else day(each.until)
        rows.add_row(*map(plain, (each.hold_id, each.subject_type, day(each.set_at), ends, each.reason)))
    out.result({"legal_holds": [told(each) for each in found]}, rows)


def _hold_view(found: Hold) -> RenderableType:
    return fields_view(
        [
            ("hold", found.hold_id),
            ("of", f"{found.subject_type}, known by the digest {found.subject_digest[:_DIGEST_SHOWN]}…"),
            ("reason", found.reason),
            ("author", found.author),
            ("set", found.set_at),
            ("until", "it is lifted" if found.until is None else found.until),
            ("aliases", found.aliases or None),
            ("waiting", None if found.held_requests is None else counted(found.held_requests, "request", "requests")),
        ]
    )


@click.group(cls=CommandGroup)
def suppress() -> None:
    """The suppression list: whose data must not be collected again. It is asked about somebody, where data comes in."""


@erasure_command("check")
@id_argument
@type_option
def check_suppression(session: Session, out: Output, *, id_: str, subject_type: str) -> None:
    """Say whether somebody is on the list. Exit code 0: they are, 5: they are not."""
    with _not_found("They are not on the suppression list."):
        found = session.client().suppressions.get(_subject(subject_type, id_))
    out.result(told(found), _suppression_view(found))


@erasure_command("lift")
@id_argument
@type_option
@yes_option
def lift_suppression(session: Session, out: Output, *, id_: str, subject_type: str, yes: bool) -> None:
    """Take somebody off the list: their data may be collected again. Nothing puts them back, so it asks first."""
    client = session.client()
    out.confirm(question(session, f"This takes {subject_type} {clean(id_)} off the suppression list."), yes=yes)
    client.suppressions.lift(_subject(subject_type, id_))
    out.result({"lifted": True}, "They are off the list: their data may be collected again.")


@erasure_command("list")
@limit_option
def list_suppressions(session: Session, out: Output, *, limit: int | None) -> None:
    """List who is on it, by digests: the service cannot tell whom it holds."""
    found = list(session.client().suppressions.list(limit=limit))
    if not found and not out.as_json:
        out.note("Nobody is on the list.")
        return
    rows = table("DIGEST", "TYPE", "SINCE", "REQUEST", whole=["REQUEST"])
    for each in found:
        rows.add_row(*map(plain, (each.subject_digest, each.subject_type, day(each.suppressed_at), each.request_id)))
    out.result({"suppressions": [told(each) for each in found]}, rows)


def _suppression_view(found: Suppression) -> RenderableType:
    return fields_view(
        [
            ("suppressed", found.suppressed_at),
            ("type", found.subject_type),
            ("request", found.request_id),
            ("digest", found.subject_digest),
        ]
    )


@click.group(cls=CommandGroup)
def users() -> None:
    """Users of your application, as its backend sees them."""


@erasure_command("show")
@id_argument
def show_user(session: Session, out: Output, *, id_: str) -> None:
    """Show whether there is such a user, and whether they are disabled. Exit code 5: no, or they were deleted."""
    found = session.client().users.get(id_)
    out.result(told(found), _user_view(found))


@erasure_command("delete")
@id_argument
@yes_option
@idempotency_key_option
def delete_user(session: Session, out: Output, *, id_: str, yes: bool, idempotency_key: str | None) -> None:
    """Delete a user at once: when this has ended, account, sessions and credentials are gone.

    The rest follows within the promised time, and can be watched. It asks first.
    """
    client = session.client()
    head = f"This deletes user {clean(id_)} and their data. It cannot be brought back."
    stays = "  what is of the category record stays, unless the data map says otherwise"
    out.confirm(question(session, head, stays), yes=yes)
    done = client.users.delete(id_, idempotency_key=idempotency_key)
    out.result(
        told(done),
        "Account, sessions and credentials are gone. The rest is on its way.\n"
        f"Follow it: erasure status {done.request_id} --watch",
    )


@erasure_command("disable")
@id_argument
@click.option("--revoke-sessions", is_flag=True, help="Erase their sessions now.")
@click.option(
    "--delete-after-days", type=click.IntRange(1, 3650), metavar="N", help="Delete them then, unless enabled before."
)
@yes_option
def disable_user(
    session: Session, out: Output, *, id_: str, revoke_sessions: bool, delete_after_days: int | None, yes: bool
) -> None:
    """Write down that a user is disabled. Keeping them out is your application's work.

    Asks first if something is to be erased, now or later.
    """
    client, erased = session.client(), []
    if revoke_sessions:
        erased.append("  their sessions are erased now")
    if delete_after_days is not None:
        erased.append(
            f"  they are deleted in {counted(delete_after_days, 'day', 'days')}, unless they are enabled before"
        )
    if erased:
        out.confirm(question(session, f"This disables user {clean(id_)}.", *erased), yes=yes)
    found = client.users.disable(id_, revoke_sessions=revoke_sessions, delete_after_days=delete_after_days)
    out.result(told(found), _user_view(found))


@erasure_command("enable")
@id_argument
def enable_user(session: Session, out: Output, *, id_: str) -> None:
    """Undo `disable`. A deletion that waits is called off."""
    found = session.client().users.enable(id_)
    out.result(told(found), _user_view(found))


def _user_view(found: User) -> RenderableType:
    return fields_view(
        [
            ("user", found.id),
            ("status", found.status),
            ("disabled", found.disabled_at),
            ("deleted", found.delete_at),
            ("request", found.request_id),
        ]
    )


def _subject(subject_type: str, subject_id: str) -> Subject:
    from erasure_client import Subject

    return Subject(subject_type, subject_id)


for _group, _members in (
    (hold, (put_hold, show_hold, lift_hold, list_holds)),
    (suppress, (check_suppression, lift_suppression, list_suppressions)),
    (users, (show_user, delete_user, disable_user, enable_user)),
):
    for _each in _members:
        _group.add_command(_each)

COMMANDS: tuple[click.Command, ...] = (hold, suppress, users)
