"""Commands for whoever runs the service: ``erasure …``, or ``python -m erasure.entry.operator …``.

::

    data-map validate FILE                    what is wrong with a data map, by line and path
    data-map check FILE [--ignore PATTERN]    the same, then hold it against the account (--offline: not)
    data-map parameters FILE                  the stack's parameters with which the erasers reach what it names
    data-map diff FILE [--stack-name NAME]    what it would change, and what that means
    data-map put FILE [--stack-name NAME]     make it the current one
    data-map show [--stack-name NAME]         the current one
    retry REQUEST_ID [--stack-name NAME]      work on a request again that needs attention
    audit REQUEST_ID [--stack-name NAME]      the request's audit trail, and whether it is whole
    replay --since TIME (--table NAME …)      after a restore, erase again whom was erased since
    sla                                       how all open requests stand to what was promised
    retention                                 the data map's retention rules, and what came of them
    tenant show|set TENANT [--grace 7d]       how long a tenant's requests wait by default
    hold put|show|lift SUBJECT_ID             legal holds (--tenant TENANT, --type TYPE)
    hold list --tenant TENANT                 a tenant's holds
    key create --tenant TENANT [--scopes …]   an API key of a backend, printed once
    key list --tenant TENANT                  a tenant's keys, without their secrets
    key revoke KEY_ID                         end a key; it stops working within seconds

The stack's names come from ``REGISTRY_TABLE`` and its siblings in the environment (``.local/stack.env``), or from the
outputs of the CloudFormation stack ``--stack-name``. Results go to stdout, everything else to stderr. Exit codes: 0
done, 1 refused (the message says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.adapters.messaging import SQSJobQueue
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.domain.api_key import SCOPES
from erasure.domain.audit import broken_at
from erasure.entry.api_keys import shown_key
from erasure.entry.operator_clock import add_clock_commands
from erasure.entry.operator_maps import add_map_commands
from erasure.entry.operator_replay import add_replay_command
from erasure.entry.operator_stack import Stack
from erasure.entry.wiring import utc_now
from erasure.errors import DataMapError, ErasureError, NotFoundError
from erasure.services.api_keys import KeyCommand
from erasure.services.retries import send_again, take_up


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        stack = Stack(options.stack_name, os.environ if environment is None else environment)
        code: int | None = options.run(options, stack)
        return code or 0
    except DataMapError as error:
        for path, rule in error.problems:
            print(f"{path}: {rule}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        return 1
    except (ErasureError, BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m erasure.entry.operator", description=(__doc__ or "").split("\n")[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data_map = commands.add_parser("data-map", help="check, compare, put or show data maps")
    actions = data_map.add_subparsers(required=True, metavar="ACTION")
    add_map_commands(actions, _command)
    _command(commands, "retry", "work on a request again that needs attention", _retry, "request_id")
    _command(commands, "audit", "print a request's audit trail", _show_audit, "request_id")
    add_replay_command(commands, _command)
    add_clock_commands(commands, _command)

    key = commands.add_parser("key", help="make, list or revoke API keys of backends")
    actions = key.add_subparsers(required=True, metavar="ACTION")
    create = _command(actions, "create", "make an API key and print it: it cannot be shown again", _create_key)
    create.add_argument("--tenant", required=True, help="whom it acts for; * for a platform key, which acts for all")
    create.add_argument(
        "--scopes", default=",".join(SCOPES), help="what it may do, comma-separated; default: everything"
    )
    create.add_argument("--name", default="", help="to tell it from others")
    create.add_argument("--valid-days", type=int, help="after which it stops working; default: never")
    create.add_argument("--calls-per-minute", type=int, help="default: the stack's CallsPerMinute")
    listing = _command(actions, "list", "list a tenant's API keys", _list_keys)
    listing.add_argument("--tenant", required=True)
    _command(actions, "revoke", "end an API key", _revoke_key, "key_id")
    return parser


def _command(actions: Any, name: str, text: str, run: Any, *positionals: str) -> argparse.ArgumentParser:
    command = actions.add_parser(name, help=text, description=text)
    for positional in positionals:
        command.add_argument(positional)
    command.add_argument("--stack-name", default=None, help="CloudFormation stack; default: names from the environment")
    command.set_defaults(run=run)
    return command  # type: ignore[no-any-return]


def _retry(options: argparse.Namespace, stack: Stack) -> None:
    request = DynamoDBRequestStore(stack.dynamodb, stack.name("REQUESTS_TABLE")).get(options.request_id)
    if request is None:
        raise NotFoundError("there is no such erasure request")
    queue = SQSJobQueue(lambda: stack.clients.get("sqs"), stack.name("INTERACTIVE_QUEUE_URL"))
    take_up(request, clock=stack.clock(), now=utc_now, policy=stack.clock_policy())
    attempt = send_again(request, audit=stack.audit(), queue=queue, now=utc_now)
    print(json.dumps({"request_id": request.request_id, "attempt": attempt}))


def _show_audit(options: argparse.Namespace, stack: Stack) -> None:
    entries = stack.audit().entries(options.request_id)
    if not entries:
        raise NotFoundError("there is no such erasure request")
    broken = broken_at(entries)
    print(json.dumps({"entries": [asdict(entry) for entry in entries], "whole": broken is None}, indent=2))
    if broken is not None:
        raise ErasureError(f"the audit trail is broken at entry {broken}")


def _create_key(options: argparse.Namespace, stack: Stack) -> None:
    days = options.valid_days
    command = KeyCommand(
        tenant_id=options.tenant,
        scopes=frozenset(scope.strip() for scope in options.scopes.split(",") if scope.strip()),
        name=options.name,
        valid_until=None if days is None else utc_now() + timedelta(days=days),
        calls_per_minute=options.calls_per_minute,
    )
    key, text = stack.api_keys().create(command)
    print(f"key {key.key_id}: keep its text, it cannot be shown again", file=sys.stderr)
    print(text)


def _list_keys(options: argparse.Namespace, stack: Stack) -> None:
    print(json.dumps([shown_key(key) for key in stack.api_keys().list(options.tenant)], indent=2))


def _revoke_key(options: argparse.Namespace, stack: Stack) -> None:
    stack.api_keys().revoke(None, options.key_id)
    print(f"key {options.key_id} is revoked; it stops working within seconds", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
