"""The operator's command after a restore: ``replay``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from erasure.domain.target_spec import TargetSpec
from erasure.domain.times import format_time
from erasure.entry.fields import check_moment
from erasure.entry.operator_output import print_figures
from erasure.entry.operator_stack import Stack
from erasure.errors import InvalidInputError, NotFoundError
from erasure.services.replay import ReplayCommand, ReplayReport


def add_replay_command(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Hang the command into the parser. ``command``: makes one, as :func:`erasure.entry.operator.main` needs it."""
    replay = command(commands, "replay", "after a restore, erase again whom was erased since", _replay)
    replay.add_argument("--since", required=True, metavar="TIME", help="the moment to which the places were restored")
    replay.add_argument("--until", metavar="TIME", help="when they had been; what began later has found them so")
    replay.add_argument("--table", action="append", default=[], metavar="NAME", help="that was restored; repeatable")
    replay.add_argument("--bucket", action="append", default=[], metavar="NAME", help="that was restored; repeatable")
    replay.add_argument("--role", metavar="ARN", help="of the account whose tables are meant, if several have one")
    replay.add_argument("--all-targets", action="store_true", help="everything that the data map names was restored")
    replay.add_argument(
        "--run", dest="run_name", default="", metavar="NAME", help="another one for another restore to the same moment"
    )
    replay.add_argument("--dry-run", action="store_true", help="only count; nothing is written or sent")
    replay.add_argument("--include-returned", action="store_true", help="also whoever is seen with an account again")
    replay.add_argument("--json", action="store_true", help="print the report as JSON")


def _replay(options: argparse.Namespace, stack: Stack) -> int:
    data_map = stack.data_maps().current()
    if data_map is None:
        raise NotFoundError("no data map has been put yet")
    command = ReplayCommand(
        since=check_moment(options.since, "--since"),
        until=None if options.until is None else check_moment(options.until, "--until"),
        restored=_restored(options, data_map.targets),
        run=options.run_name,
        dry_run=options.dry_run,
        include_returned=options.include_returned,
    )
    report = stack.replays().run(command)
    shown = _shown(report, command)
    if options.json:
        print(json.dumps(shown, indent=2))
    else:
        print_figures(_figures(shown))
    for text in _remarks(report, command):
        print(text, file=sys.stderr)
    return 0 if report.is_complete else 1


def _restored(options: argparse.Namespace, targets: Sequence[TargetSpec]) -> frozenset[str]:
    """Names of the targets in the places that are named. A name that the map does not have is refused: a restored table
    that the map does not name is not the one that would be erased."""
    if options.all_targets == bool(options.table or options.bucket):
        raise InvalidInputError("--table, --bucket", "name what was restored, or all of it with --all-targets")
    if options.all_targets:
        return frozenset(spec.name for spec in targets)
    found: set[str] = set()
    for option, names, name_of in (("--table", options.table, _table), ("--bucket", options.bucket, _bucket)):
        for name in names:
            own = [spec for spec in targets if name_of(spec) == name]
            roles = {None if spec.role is None else spec.role.arn for spec in own}
            if options.role is not None:
                own = [spec for spec in own if spec.role is not None and spec.role.arn == options.role]
            elif len(roles) > 1:
                raise InvalidInputError(option, f"{name} is in several accounts: say in which with --role")
            if not own:
                raise InvalidInputError(option, f"{name} is none of the current data map's")
            found.update(spec.name for spec in own)
    return frozenset(found)


def _table(spec: TargetSpec) -> str | None:
    return None if spec.dynamodb is None else spec.dynamodb.table


def _bucket(spec: TargetSpec) -> str | None:
    return None if spec.s3 is None else spec.s3.bucket


def _shown(report: ReplayReport, command: ReplayCommand) -> dict[str, Any]:
    shown: dict[str, Any] = {"run": report.run, "dry_run": command.dry_run, "since": format_time(command.since)}
    if command.until is not None:
        shown["until"] = format_time(command.until)
    return {
        **shown,
        "targets": sorted(command.restored),
        "found": report.found,
        "replayed": report.replayed,
        "in_part": report.in_part,
        "done_before": report.done_before,
        "skipped": dict(report.skipped),
        "unreachable": list(report.unreachable),
        "under_way": report.under_way,
        "known_since": format_time(report.known_since),
        "complete": report.is_complete,
    }


def _figures(shown: dict[str, Any]) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name, value in shown.items():
        if name == "skipped":
            figures |= {f"skipped ({reason})": count for reason, count in value.items()}
        elif isinstance(value, list):
            figures[name] = ", ".join(value) or None
        else:
            figures[name] = ("yes" if value else "no") if isinstance(value, bool) else value
    return figures


def _remarks(report: ReplayReport, command: ReplayCommand) -> list[str]:
    """What somebody has to do or to know, if anything."""
    remarks = []
    if command.dry_run:
        remarks.append("nothing was written or sent: this was a dry run")
    if report.done_before:
        remarks.append(
            f"{report.done_before} were made by this run before, and are not made again; if the places have been"
            " restored once more since, that is another run: name it with --run"
        )
    if report.under_way:
        remarks.append(
            f"{report.under_way} requests are under way that may have passed these places before the restore: repeat"
            f" the command with --run {report.run} when they have ended"
        )
    if report.unreachable:
        remarks.append(
            "the unreachable targets are found through items that were not restored: what came back there stays, and"
            " has to be erased by other means"
        )
    if report.skipped.get("account_unknown") or report.skipped.get("unreadable"):
        remarks.append(
            f"of some subjects nobody can tell whether they have come back, or by which ids: repeat with --run"
            f" {report.run}"
        )
    if report.skipped.get("expired"):
        remarks.append("the time of some requests is over: what came back of their subjects stays")
    if not report.knows_all:
        remarks.append(
            "who asked before known_since has been forgotten: what came back of those who were erased after --since"
            " and had asked before stays"
        )
    return remarks
