"""The operator's commands about what runs by the clock: ``sla``, ``retention``, ``tenant show | set`` and
``hold put | show | lift | list``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from math import floor
from typing import Any

from erasure.adapters.retention_store import DynamoDBRetentionStore
from erasure.adapters.tenant_settings import DynamoDBTenantSettingsStore
from erasure.domain.identifiers import check_identifier, new_batch_id
from erasure.domain.sla import figures_of
from erasure.domain.subject import SUBJECT_TYPES, USER, Subject
from erasure.domain.times import format_time
from erasure.entry.holds import hold_command, shown_hold
from erasure.entry.operator_output import print_figures, print_table
from erasure.entry.operator_stack import Stack
from erasure.entry.retention import shown_rules
from erasure.entry.wiring import utc_now
from erasure.errors import InvalidInputError
from erasure.services.retention_rules import RetentionPolicy
from erasure.services.tenant_settings import set_grace

OPERATOR = "operator"
"""What stands in trails in the place of an API key's id."""

_PERIOD = re.compile(r"([0-9]{1,4})([hd])")
_PAGE = 1000
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def add_clock_commands(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Hang the commands into the parser. ``command``: makes one, as :func:`erasure.entry.operator.main` needs it."""
    made = [
        command(commands, "sla", "how all open requests stand to what was promised", _show_sla),
        command(commands, "retention", "the data map's retention rules, and what came of them", _show_retention),
    ]
    tenant = commands.add_parser("tenant", help="show or set what a tenant's requests go by")
    actions = tenant.add_subparsers(required=True, metavar="ACTION")
    made.append(command(actions, "show", "show a tenant's settings", _show_tenant, "tenant"))
    setting = command(actions, "set", "set them, for requests that are made from now on", _set_tenant, "tenant")
    setting.add_argument(
        "--grace", required=True, metavar="PERIOD", help="how long requests wait that do not say from when: 36h, 7d, 0d"
    )
    hold = commands.add_parser("hold", help="put, show, lift or list legal holds")
    actions = hold.add_subparsers(required=True, metavar="ACTION")
    put = command(actions, "put", "hold a subject: nothing of it is erased any more", _put_hold, "subject_id")
    put.add_argument("--reason", required=True, help="kept in clear: without the subject's ids")
    put.add_argument("--author", required=True, help="kept in clear: without the subject's ids")
    put.add_argument("--until", metavar="TIME", help="when it ends by itself; default: when it is lifted")
    put.add_argument("--alias", action="append", default=[], metavar="ID", help="a further id; repeatable")
    show = command(actions, "show", "show a subject's hold", _show_hold, "subject_id")
    lift = command(actions, "lift", "lift it: what was held goes on", _lift_hold, "subject_id")
    listing = command(actions, "list", "list a tenant's holds, by digests", _list_holds)
    for each in (put, show, lift, listing):
        each.add_argument("--tenant", required=True)
    for each in (put, show, lift):
        each.add_argument("--type", choices=SUBJECT_TYPES, default=USER)
    for each in (*made, setting, put, show, listing):
        each.add_argument("--json", action="store_true", help="print it as JSON")


def _show_sla(options: argparse.Namespace, stack: Stack) -> None:
    policy, now = stack.clock_policy(), utc_now()
    rows = {row.request_id: row for row in stack.clock().open_rows()}.values()
    figures = figures_of(((row.due_at, row.held) for row in rows), now, policy.sla_hours)
    left = figures.seconds_to_deadline
    next_due_at = min((row.due_at for row in rows if not row.held), default=None)
    _tell(
        options,
        {
            "sla_hours": policy.sla_hours,
            "open": figures.open,
            "held": figures.held,
            "overdue": figures.overdue,
            "oldest_age_seconds": int(figures.oldest_age_seconds),
            "seconds_to_deadline": None if left is None else floor(left),
            "next_due_at": None if next_due_at is None else format_time(next_due_at),
        },
    )


def _show_retention(options: argparse.Namespace, stack: Stack) -> None:
    policy = RetentionPolicy(
        stack.clock_policy(),
        stack.number("PURGE_DAYS"),
        timedelta(hours=stack.number("RETENTION_HOURS")),
        timedelta(hours=stack.number("RETENTION_REPORT_HOURS")),
    )
    store = DynamoDBRetentionStore(stack.dynamodb, stack.name("REGISTRY_TABLE"))
    rules = shown_rules(stack.data_maps().current(), store, policy)
    if options.json:
        print(json.dumps({"rules": rules}, indent=2))
        return
    for rule in rules:
        for name in ("last_report", "last_run"):
            ended = rule.pop(name, {})
            rule |= {name: ended.get("at"), "matched" if name == "last_report" else "erased": _count(ended)}
    columns = ("target", "older_than", "mode", "state", "last_report", "matched", "last_run", "erased", "next_at")
    print_table(columns, rules)


def _count(ended: dict[str, Any]) -> object:
    return ended.get("matched", ended.get("erased"))


def _show_tenant(options: argparse.Namespace, stack: Stack) -> None:
    grace = _settings(stack).grace(check_identifier(options.tenant, "tenant"))
    _tell(options, {"grace_hours": grace // _HOUR})


def _set_tenant(options: argparse.Namespace, stack: Stack) -> None:
    match = _PERIOD.fullmatch(options.grace)
    if match is None:
        raise InvalidInputError("--grace", "must be hours or days, such as 36h or 7d")
    tenant_id, grace = check_identifier(options.tenant, "tenant"), int(match[1]) * (_HOUR if match[2] == "h" else _DAY)
    set_grace(_settings(stack), tenant_id, grace)
    print("functions that are at work may take the former one for another minute", file=sys.stderr)
    _tell(options, {"grace_hours": grace // _HOUR})


def _settings(stack: Stack) -> DynamoDBTenantSettingsStore:
    return DynamoDBTenantSettingsStore(stack.dynamodb, stack.name("REGISTRY_TABLE"))


def _put_hold(options: argparse.Namespace, stack: Stack) -> None:
    body = {"reason": options.reason, "author": options.author, "aliases": options.alias}
    if options.until is not None:
        body["until"] = options.until
    made = stack.holds().put(hold_command(body, _subject(options), OPERATOR), new_batch_id())
    _tell(options, {**shown_hold(made.hold), "held_requests": made.held_requests})


def _show_hold(options: argparse.Namespace, stack: Stack) -> None:
    _tell(options, shown_hold(stack.holds().get(_subject(options))))


def _lift_hold(options: argparse.Namespace, stack: Stack) -> None:
    stack.holds().lift(_subject(options), OPERATOR, new_batch_id())
    print("the hold is lifted; what was held goes on", file=sys.stderr)


def _list_holds(options: argparse.Namespace, stack: Stack) -> None:
    holds, tenant_id = stack.holds(), check_identifier(options.tenant, "tenant")
    shown: list[dict[str, Any]] = []
    after = None
    while page := holds.list(tenant_id, after=after, limit=_PAGE):
        shown += [shown_hold(hold) for hold in page]
        after = page[-1].subject_digest
    if options.json:
        print(json.dumps({"legal_holds": shown}, indent=2, ensure_ascii=False))
        return
    print_table(("hold_id", "subject_type", "subject_digest", "set_at", "until", "author", "reason"), shown)


def _subject(options: argparse.Namespace) -> Subject:
    tenant_id = check_identifier(options.tenant, "tenant")
    return Subject(tenant_id, check_identifier(options.subject_id, "subject_id"), options.type)


def _tell(options: argparse.Namespace, figures: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        print_figures(figures)
