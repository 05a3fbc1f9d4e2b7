"""``erasure doctor``: is the service well?"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from erasure_client.cli._command import erasure_command
from erasure_client.cli._doctor_checks import WORST_FIRST, Check, Status, counts, exit_code, verdict
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output, clean
from erasure_client.cli._session import Session
from erasure_client.cli._times import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from erasure_client.cli._doctor_account import StackView

_STYLES: Mapping[Status, str] = {
    "problem": "bold red",
    "warning": "yellow",
    "unknown": "magenta",
    "ok": "green",
    "skipped": "dim",
}
_WIDTH = 8
_INDENT = 2 + _WIDTH + 1
_API_ID = re.compile(r"//([a-z0-9]+)\.execute-api\.|/_aws/execute-api/([a-z0-9]+)/")
"""Addresses that tell whose they are: AWS's and the emulator's. A domain of one's own does not."""
_INSTALL = "pip install './layers/client[aws]', from a clone of the project"


@erasure_command("doctor")
@click.option("--stack-name", metavar="NAME", help="The CloudFormation stack to look at, instead of the profile's.")
@click.option("--region", metavar="REGION", help="Where the stack is, instead of the profile's.")
@click.option(
    "--ignore",
    metavar="AREA/NAME",
    multiple=True,
    help="Leave this out, such as 'alarms/ParkedAlarm' or 'roles/*' (may be repeated).",
)
def doctor(session: Session, out: Output, stack_name: str | None, region: str | None, ignore: tuple[str, ...]) -> int:
    """Look whether the service is well: its API with the profile's key, its stack with your AWS credentials.

    It only reads. Exit code 0: no problems; 1: there are some, or nothing could be looked at.
    """
    checks = _ignored(_look(session, out, stack_name, region), ignore)
    code = exit_code(checks)
    document = {"ok": code == 0, "counts": counts(checks), "checks": [check.document() for check in checks]}
    out.result(document, _view(checks, out.console.width))
    return code


def _look(session: Session, out: Output, stack_name: str | None, region: str | None) -> list[Check]:
    profile = session.profile
    name, url = stack_name or profile.stack_name, profile.url
    if not name and not url:
        step = "Sign in with `erasure login`, or give --stack-name."
        raise CommandError("There is nothing to look at: no address and no stack.", step, Exit.USAGE, "usage")
    stack, found = _stack(out, name, region or profile.region, is_asked_for=stack_name is not None)
    if url is None and stack is not None and not stack.is_emulated:
        url = stack.outputs.get("ApiUrl")
    return [*_service(session, out, url, stack), *found]


def _stack(
    out: Output, name: str | None, region: str | None, *, is_asked_for: bool
) -> tuple[StackView | None, list[Check]]:
    if name is None:
        step = "Give --stack-name, and have AWS credentials, to see the queues, schedules, alarms and tables."
        return None, [Check("stack", "status", "skipped", "no stack is named", step)]
    if find_spec("boto3") is None:
        if is_asked_for:
            raise CommandError("Looking at a stack needs boto3, which is not installed.", _INSTALL, Exit.USAGE, "usage")
        return None, [Check("stack", "status", "skipped", "boto3 is not installed", _INSTALL)]
    from erasure_client.cli._doctor_account import Account, boto3_clients
    from erasure_client.cli._doctor_aws import look_at_stack

    if out.is_terminal:
        out.note(f"Looking at the stack {name} …", "dim")
    stack, checks = look_at_stack(Account(boto3_clients(region)), name)
    if not is_asked_for and checks[0].name == "credentials":
        # The profile names the stack for whoever has credentials.
        checks = [replace(checks[0], status="unknown")]
    return stack, checks


def _service(session: Session, out: Output, url: str | None, stack: StackView | None) -> list[Check]:
    from erasure_client.cli._doctor_api import look_at_address, look_with_key

    if url is None:
        step = "Sign in with `erasure login` to see whether the API answers."
        return [Check("service", "address", "skipped", "no address is known", step)]
    checks = list(look_at_address(url, session.transport))
    if any(check.status == "problem" and check.name == "address" for check in checks):
        return checks
    if out.is_terminal:
        out.note("Looking through the API …", "dim")
    key = session.profile.key
    if key is None or session.profile.url is None:
        step = "Sign in with `erasure login` to see the data map and how the promise is kept."
        return [*checks, Check("service", "key", "skipped", "there is none", step)]
    seen = look_with_key(session.client, key)
    checks += seen.checks
    if stack is not None:
        checks += _against(stack, url, key, None if seen.data_map is None else seen.data_map.document)
    return checks


def _against(stack: StackView, url: str, key: str, document: Mapping[str, Any] | None) -> Iterable[Check]:
    """What the API says against what the stack says."""
    from erasure_client.cli._doctor_aws import check_map

    named = _API_ID.search(url)
    if named is not None and (named[1] or named[2]) != stack.outputs.get("ApiId"):
        step = "Name the stack that belongs to the address: `erasure profiles list`, --stack-name."
        yield Check("service", "stack", "problem", "the address is another API's than this stack's", step)
        return
    mode = stack.parameters.get("KeyMode", "")
    if mode and not key.startswith(f"sk_{mode}_"):
        step = f"Sign in with a key that begins with sk_{mode}_: `erasure login`."
        yield Check("service", "key mode", "problem", f"the stack takes {mode} keys, this is another", step)
    if document is None:
        step = "Let the key see the map, and run it again."
        yield Check("data map", "parameters", "unknown", "not compared: the map was not seen", step)
    else:
        yield from check_map(document, stack)


def _ignored(checks: Sequence[Check], patterns: Sequence[str]) -> list[Check]:
    def is_left_out(check: Check) -> bool:
        return any(fnmatchcase(f"{check.area}/{check.name}", pattern) for pattern in patterns)

    return [
        replace(check, status="skipped", said=f"ignored: {check.said}", next="") if is_left_out(check) else check
        for check in checks
    ]


def _view(checks: Sequence[Check], width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    lines: list[RenderableType] = []
    for area in dict.fromkeys(check.area for check in checks):
        lines.append(Text(area, "bold"))
        for status in WORST_FIRST:
            lines += _lines([each for each in checks if each.area == area and each.status == status], width)
    style = "bold red" if exit_code(checks) else "bold"
    return Group(*lines, Text(""), Text(verdict(checks), style), _summary(checks))


def _lines(checks: Sequence[Check], width: int) -> Iterator[RenderableType]:
    """Of one area and status. Where the same is said of several, once."""
    alike: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        alike.setdefault((check.said, check.next), []).append(check)
    for (said, step), group in alike.items():
        who = ", ".join(check.name for check in group)
        if group[0].status in ("ok", "skipped") and len(group) > 1:
            who = f"{group[0].name} and {counted(len(group) - 1, 'other', 'others')}"
        yield from _wrapped(f"  {group[0].status:{_WIDTH}}", _STYLES[group[0].status], f"{who}: {said}", width)
        if step:
            yield from _wrapped(f"{'':{_INDENT}}next:", "bold", step, width)


def _wrapped(head: str, style: str, text: str, width: int) -> Iterator[RenderableType]:
    from rich.text import Text

    room = max(width - _INDENT, 20)
    indent = " " * max(len(head) + 1 - _INDENT, 0)
    lines = textwrap.wrap(clean(text), room, initial_indent=indent, break_on_hyphens=False)
    for number, line in enumerate(lines or [""]):
        if number:
            yield Text(f"{'':{_INDENT}}{line}", no_wrap=True)
        else:
            yield Text.assemble((head, style), " " * max(_INDENT - len(head), 1), line.lstrip(), no_wrap=True)


def _summary(checks: Sequence[Check]) -> Text:
    from rich.text import Text

    parts = [
        Text(f"{count} {status}{'s' if count != 1 and status in ('problem', 'warning') else ''}", _STYLES[status])
        for status, count in counts(checks).items()
        if count
    ]
    return Text(", ").join(parts)


COMMANDS: tuple[click.Command, ...] = (doctor,)
