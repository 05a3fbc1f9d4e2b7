"""``erasure keys``, ``data-map`` and ``completion``: what is set up once, and looked at now and then."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from erasure_client.cli._command import CommandGroup, erasure_command
from erasure_client.cli._map_file import read_map
from erasure_client.cli._operator import MAP_COMMANDS
from erasure_client.cli._output import Output, clean, plain, table
from erasure_client.cli._people import question, told
from erasure_client.cli._people_arguments import WHEN, idempotency_key_option, yes_option
from erasure_client.cli._session import Session
from erasure_client.cli._times import day

if TYPE_CHECKING:
    from erasure_client import ApiKey

SCOPES = ("users:read", "users:write", "erasure:read", "erasure:write", "map:write", "keys:write", "holds:write")
SHELLS = ("bash", "zsh", "fish")


@click.group(cls=CommandGroup)
def keys() -> None:
    """API keys of backends."""


@erasure_command("create")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    metavar="SCOPE",
    help=f"What it may do (may be repeated): {', '.join(SCOPES)}. Nothing that your own key may not.",
)
@click.option("--name", default="", metavar="TEXT", help="By which to tell it from others.")
@click.option("--valid-until", type=WHEN, metavar="WHEN", help="It stops working then.")
@click.option("--calls-per-minute", type=click.IntRange(1, 60_000), metavar="N", help="Its own limit.")
@idempotency_key_option
def create_key(
    session: Session,
    out: Output,
    *,
    scopes: tuple[str, ...],
    name: str,
    valid_until: datetime | None,
    calls_per_minute: int | None,
    idempotency_key: str | None,
) -> None:
    """Make a key. Its text, which is shown this once, is all that stdout gets, so that it can go where it is kept."""
    made = session.client().api_keys.create(
        scopes, name=name, valid_until=valid_until, calls_per_minute=calls_per_minute, idempotency_key=idempotency_key
    )
    out.note(f"Key {clean(made.key_id)} ({', '.join(made.scopes)}). Keep its text: it cannot be shown again.")
    out.result(_key_document(made), made.text or "")


@erasure_command("list")
def list_keys(session: Session, out: Output) -> None:
    """List the tenant's keys, oldest first, revoked ones included. Their texts are kept nowhere."""
    found = session.client().api_keys.list()
    rows = table("KEY", "NAME", "STATE", "LAST USED", "SCOPES", whole=["KEY"])
    for each in found:
        rows.add_row(*map(plain, (each.key_id, each.name, _state(each), each.last_used_on or "", _scopes(each))))
    out.result({"keys": [_key_document(each) for each in found]}, rows)


@erasure_command("revoke")
@click.argument("key_id", metavar="KEY_ID")
@yes_option
def revoke_key(session: Session, out: Output, *, key_id: str, yes: bool) -> None:
    """End a key: whoever uses it is refused within seconds. It cannot be undone, so it asks first."""
    client = session.client()
    out.confirm(question(session, f"This ends the key {clean(key_id)} for whoever uses it."), yes=yes)
    client.api_keys.revoke(key_id)
    out.result({"revoked": key_id}, "The key is revoked. It stops working within seconds.")


def _key_document(key: ApiKey) -> dict[str, Any]:
    document = told(key)
    text = document.pop("text", None)
    return document if text is None else {"key": text, **document}


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.valid_until is None else f"until {day(key.valid_until)}"


def _scopes(key: ApiKey) -> str:
    return "all" if set(SCOPES) <= set(key.scopes) else " ".join(key.scopes)


@click.group("data-map", cls=CommandGroup)
def data_map() -> None:
    """The data map: what is erased, and where it is. One for all tenants, in versions that never change."""


@erasure_command("show")
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="That version; without it, the current one.")
def show_map(session: Session, out: Output, *, version: int | None) -> None:
    """Print the data map as YAML, as `data-map put` takes it."""
    import yaml

    found = session.client().data_map.get(version)
    out.note(f"Version {found.version}, digest {clean(found.digest)}")
    text = yaml.safe_dump(dict(found.document), sort_keys=False, default_flow_style=False, width=100)
    out.result({"version": found.version, "digest": found.digest, "document": found.document}, text.rstrip("\n"))


@erasure_command("put")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@yes_option
def put_map(session: Session, out: Output, *, file: Path, yes: bool) -> None:
    """Make FILE (YAML, or JSON if its name ends so) the current data map.

    From then on it decides what is erased, for every tenant, so it asks first. Needs a platform key. See before what
    it would change with `erasure data-map diff`.
    """
    document, client = read_map(file), session.client()
    out.confirm(question(session, "This decides from now on what is erased, for every tenant."), yes=yes)
    done = client.data_map.put(document)
    for each in done.warnings:
        out.note(f"warning: {clean(each.field)}: {clean(each.warning)}", "yellow")
    warnings = [{"field": each.field, "warning": each.warning} for each in done.warnings]
    out.result(
        {"version": done.version, "digest": done.digest, "warnings": warnings},
        f"Version {done.version} is the current data map.",
    )


@erasure_command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, session: Session, out: Output, *, shell: str) -> None:  # noqa: ARG001
    """Print the script by which a shell completes commands and options.

    \b
    bash: eval "$(erasure completion bash)" in ~/.bashrc
    zsh:  eval "$(erasure completion zsh)" in ~/.zshrc
    fish: erasure completion fish > ~/.config/fish/completions/erasure.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError("This version of click does not know the shell.")
    script = kind(context.find_root().command, {}, "erasure", "_ERASURE_COMPLETE").source()
    if out.as_json:
        out.result({"shell": shell, "script": script}, "")
    else:
        click.echo(script)


for _each in (create_key, list_keys, revoke_key):
    keys.add_command(_each)
for _each in (show_map, put_map, *MAP_COMMANDS):
    data_map.add_command(_each)

COMMANDS: tuple[click.Command, ...] = (keys, data_map, completion)
