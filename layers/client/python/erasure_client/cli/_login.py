"""``erasure login`` and ``erasure profiles``."""

from __future__ import annotations

from dataclasses import replace

import click

from erasure_client.cli._command import erasure_command
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output, plain, table
from erasure_client.cli._profiles import Profiles
from erasure_client.cli._session import Session


@click.group()
def profiles() -> None:
    """See, choose and remove profiles: addresses with their keys."""


@erasure_command("list")
def list_profiles(session: Session, out: Output) -> None:
    """List the profiles. Keys are not shown."""
    kept = session.file.read()
    document = [
        {
            "name": each.name,
            "current": each.name == kept.current,
            "url": each.url,
            "tenant": each.tenant,
            "stack_name": each.stack_name,
            "region": each.region,
            "has_key": each.key is not None,
        }
        for each in (kept.by_name[name] for name in sorted(kept.by_name))
    ]
    if not document and not out.as_json:
        out.note("There is no profile yet. Make one with `erasure login`.")
        return
    rows = table("", "PROFILE", "ADDRESS", "TENANT", "STACK")
    for each in (kept.by_name[name] for name in sorted(kept.by_name)):
        mark = "→" if each.name == kept.current else ""
        rows.add_row(mark, *(plain(value or "") for value in (each.name, each.url, each.tenant, each.stack_name)))
    out.result(document, rows)


@erasure_command("use")
@click.argument("name")
def use_profile(session: Session, out: Output, name: str) -> None:
    """Use this profile from now on, if no other is named."""
    kept = _with(session, name)
    session.file.write(replace(kept, current=name))
    out.result({"current": name}, f"{name} is used from now on.")


@erasure_command("remove")
@click.argument("name")
def remove_profile(session: Session, out: Output, name: str) -> None:
    """Forget a profile and its key. The key itself stays good: revoke it with `erasure keys revoke`."""
    kept = _with(session, name)
    session.file.write(kept.without(name))
    out.result({"removed": name}, f"{name} is forgotten. Its key stays good until it is revoked.")


def _with(session: Session, name: str) -> Profiles:
    kept = session.file.read()
    if name not in kept.by_name:
        raise CommandError(
            "There is no profile of this name.", "See which there are: `erasure profiles list`.", Exit.NOT_FOUND
        )
    return kept


for _each in (list_profiles, use_profile, remove_profile):
    profiles.add_command(_each)

COMMANDS: tuple[click.Command, ...] = (profiles,)
