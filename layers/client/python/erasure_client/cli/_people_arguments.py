"""Options and arguments that several commands have: whom it is about, of what, and from when."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

SUBJECT_TYPES = ("user", "group", "organization")
_AHEAD = re.compile(r"\+([0-9]{1,6})(m|h|d)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class When(click.ParamType):
    """A moment: ISO 8601 with an offset, or so far from now. Converts to an aware :class:`datetime` in UTC."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        ahead = _AHEAD.fullmatch(value)
        try:
            if ahead:
                # Whole seconds: it can be written down, and given again as the same moment.
                return datetime.now(UTC).replace(microsecond=0) + timedelta(**{_UNITS[ahead[2]]: int(ahead[1])})
            at = datetime.fromisoformat(value)
            if at.tzinfo is None:
                self.fail("the time has no offset. Write 2027-01-31T12:00:00+01:00, or …Z for UTC", param, ctx)
            return at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("that is no time. Write 2027-01-31T12:00:00+01:00, or +36h, +7d from now", param, ctx)


WHEN = When()

ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True)
id_argument = click.argument("id_", metavar="ID")
request_id_argument = click.argument("request_id", metavar="REQUEST_ID")
type_option = click.option(
    "--type",
    "subject_type",
    type=click.Choice(SUBJECT_TYPES),
    default="user",
    show_default=True,
    help="What the ids are of.",
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
idempotency_key_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Send the call under this key: run again with it, nothing is done twice (for 24 hours).",
)


def scope_options(function: F) -> F:
    """``--category`` and ``--organization``: ``categories`` and ``organization_ids``, tuples of str, empty if not
    given. Pass ``categories or None``."""
    for option in (
        click.option(
            "--organization",
            "organization_ids",
            metavar="ID",
            multiple=True,
            help="Within this organization only (may be repeated).",
        ),
        click.option(
            "--category", "categories", metavar="NAME", multiple=True, help="Of this category only (may be repeated)."
        ),
    ):
        function = option(function)
    return function


not_before_option = click.option(
    "--not-before",
    type=WHEN,
    metavar="WHEN",
    help="Begin then, not earlier: a time with its offset, or +90m, +36h, +7d.",
)
