"""The operator's commands about data maps: ``data-map validate | check | parameters | diff | put | show``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.entry.map_files import MapFile, read_map_file
from erasure.entry.operator_stack import Stack
from erasure.entry.wiring import utc_now
from erasure.errors import DataMapError, NotFoundError
from erasure.services.map_check import (
    ERROR,
    WARNING,
    Account,
    Finding,
    buckets_of,
    check_map,
    roles_of,
    tables_of,
)
from erasure.services.map_diff import differences

_NOTHING = {"TargetTables": "erasure-no-table-yet", "TargetBuckets": "erasure-no-bucket-yet"}
"""What the template's lists are if there is nothing to name: they may not be empty."""


def add_map_commands(actions: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Hang the commands into the parser. ``command``: makes one, as :func:`erasure.entry.operator.main` needs it."""
    validate = command(actions, "validate", "what is wrong with a data map, by line and path", _validate, "file")
    check = command(actions, "check", "the same, then hold it against the account", _check, "file")
    parameters = command(actions, "parameters", "print the stack's parameters that fit a data map", _parameters, "file")
    diff = command(actions, "diff", "what a data map would change, and what that means", _diff, "file")
    command(actions, "put", "make a data map the current one", _put, "file")
    command(actions, "show", "print the current data map", _show)
    for each in (validate, check, diff):
        each.add_argument("--json", action="store_true", help="print what is found as JSON")
    check.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="tables and buckets that hold nothing of anybody, as in 'metrics-*'; may be given several times",
    )
    for each in (check, parameters):
        each.add_argument("--offline", action="store_true", help="ask no account: what only it knows is left out")


def _validate(options: argparse.Namespace, _stack: Stack) -> int:
    file = read_map_file(Path(options.file))
    data_map, found = _read(file)
    return _tell(file, data_map, found, as_json=options.json)


def _check(options: argparse.Namespace, stack: Stack) -> int:
    file = read_map_file(Path(options.file))
    data_map, found = _read(file)
    if data_map is not None and not options.offline:
        roles = stack.roles()
        account = stack.account()
        found += check_map(data_map, account, roles=roles, own=stack.own_data(), ignored=options.ignore)
        if roles is None:
            print("permissions were not looked at: name the stack with --stack-name", file=sys.stderr)
    return _tell(file, data_map, found, as_json=options.json)


def _read(file: MapFile) -> tuple[DataMap | None, list[Finding]]:
    """The map, unless it breaks rules, and what is to be said of it without an account."""
    try:
        data_map = parse_data_map(file.document)
    except DataMapError as error:
        return None, [Finding(ERROR, path, rule) for path, rule in error.problems]
    return data_map, [Finding(WARNING, path, text) for path, text in data_map.warnings]


def _tell(file: MapFile, data_map: DataMap | None, found: Sequence[Finding], *, as_json: bool) -> int:
    """Print it; returns the exit code."""
    errors = sum(finding.level == ERROR for finding in found)
    if as_json:
        rows = [{**asdict(finding), "line": file.line_of(finding.path)} for finding in found]
        print(json.dumps({"findings": rows, "errors": errors}, indent=2, ensure_ascii=False))
        return 1 if errors else 0
    for finding in found:
        level = "" if finding.level == ERROR else f"{finding.level}: "
        print(f"{level}{file.located(finding.path)}: {finding.text}", file=sys.stderr)
    if data_map is not None:
        told = "1 error" if errors == 1 else f"{errors or 'no'} errors"
        print(f"{len(data_map.targets)} targets, {told}", file=sys.stderr)
    return 1 if errors else 0


def _parameters(options: argparse.Namespace, stack: Stack) -> None:
    data_map = _good_map(Path(options.file))
    names = {
        "TargetTables": tables_of(data_map),
        "TargetBuckets": buckets_of(data_map),
        "TargetRoles": roles_of(data_map),
    }
    if options.offline:
        print("TargetKeys was left out: only the account knows the tables' keys", file=sys.stderr)
    else:
        names["TargetKeys"] = _keys(stack.account(), names["TargetTables"])
    values = {name: ",".join(listed) or _NOTHING.get(name, "") for name, listed in names.items()}
    print(" ".join(f"{name}={shlex.quote(value) if value else chr(34) * 2}" for name, value in values.items()))


def _keys(account: Account, tables: Sequence[str]) -> list[str]:
    keys = []
    for name in tables:
        table = account.table(name)
        if table is None:
            print(f"warning: table {name}: there is no such table, so its key is not known", file=sys.stderr)
        elif table.key_arn is not None:
            keys.append(table.key_arn)
    return list(dict.fromkeys(keys))


def _good_map(path: Path) -> DataMap:
    """Raises :class:`DataMapError`, with lines."""
    file = read_map_file(path)
    try:
        return parse_data_map(file.document)
    except DataMapError as error:
        raise DataMapError([(file.located(place), rule) for place, rule in error.problems]) from None


def _diff(options: argparse.Namespace, stack: Stack) -> None:
    new = _good_map(Path(options.file))
    current = stack.data_maps().current()
    found = differences(current, new)
    if options.json:
        version = None if current is None else current.version
        rows = [asdict(difference) for difference in found]
        print(json.dumps({"current_version": version, "differences": rows}, indent=2, ensure_ascii=False))
        return
    if current is None:
        print("no data map has been put yet", file=sys.stderr)
    for difference in found:
        print(f"{difference.kind} {difference.what}: {difference.text}")
    if not found:
        print("no differences", file=sys.stderr)


def _put(options: argparse.Namespace, stack: Stack) -> int:
    file = read_map_file(Path(options.file))
    data_map, found = _read(file)
    if data_map is None:
        _tell(file, data_map, found, as_json=False)
        return 1
    version = stack.data_maps().put(data_map, utc_now())
    _tell(file, data_map, found, as_json=False)
    print(json.dumps({"version": version, "digest": data_map.digest}))
    return 0


def _show(_options: argparse.Namespace, stack: Stack) -> None:
    current = stack.data_maps().current()
    if current is None:
        raise NotFoundError("no data map has been put yet")
    document = stack.data_maps().document(current.version)
    shown = {"version": current.version, "digest": current.digest, "document": document}
    print(json.dumps(shown, indent=2, ensure_ascii=False))
