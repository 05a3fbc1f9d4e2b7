"""Commands for whoever runs the service: ``python -m erasure.entry.operator …``.

::

    data-map check FILE                       what is wrong with a data map, by path
    data-map put FILE [--stack-name NAME]     make it the current one
    data-map show [--stack-name NAME]         the current one
    retry REQUEST_ID [--stack-name NAME]      work on a request again that needs attention
    audit REQUEST_ID [--stack-name NAME]      the request's audit trail, and whether it is whole
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
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from erasure.adapters.audit_log import DynamoDBAuditLog
from erasure.adapters.aws import Clients
from erasure.adapters.data_map_store import DynamoDBDataMapStore
from erasure.adapters.key_store import DynamoDBKeyStore
from erasure.adapters.messaging import SQSJobQueue
from erasure.adapters.request_store import DynamoDBRequestStore
from erasure.adapters.secret import DigestKey
from erasure.domain.api_key import SCOPES
from erasure.domain.audit import broken_at
from erasure.domain.data_map import DataMap, parse_data_map
from erasure.entry.api_keys import shown_key
from erasure.entry.wiring import utc_now
from erasure.errors import DataMapError, ErasureError, InvalidInputError, NotFoundError
from erasure.services.api_keys import ApiKeyService, KeyCommand
from erasure.services.retries import send_again

_OUTPUTS = {
    "REGISTRY_TABLE": "RegistryTable",
    "REQUESTS_TABLE": "RequestsTable",
    "AUDIT_TABLE": "AuditTable",
    "INTERACTIVE_QUEUE_URL": "InteractiveQueueUrl",
    "DIGEST_KEY_SECRET_ARN": "DigestKeySecretArn",
    "KEY_MODE": "KeyMode",
}


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        stack = _Stack(options.stack_name, os.environ if environment is None else environment)
        options.run(options, stack)
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
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m erasure.entry.operator", description=(__doc__ or "").split("\n")[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data_map = commands.add_parser("data-map", help="check, put or show the data map")
    actions = data_map.add_subparsers(required=True, metavar="ACTION")
    _command(actions, "check", "what is wrong with a data map, by path", _check_data_map, "file")
    _command(actions, "put", "make a data map the current one", _put_data_map, "file")
    _command(actions, "show", "print the current data map", _show_data_map)
    _command(commands, "retry", "work on a request again that needs attention", _retry, "request_id")
    _command(commands, "audit", "print a request's audit trail", _show_audit, "request_id")

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


class _Stack:
    """Names of a stack's tables and queue, found when first needed."""

    def __init__(self, stack_name: str | None, environment: Mapping[str, str]) -> None:
        self._stack_name = stack_name
        self._environment = environment
        self._outputs: dict[str, str] | None = None
        self.clients = Clients()

    def name(self, variable: str) -> str:
        if self._stack_name is None:
            value = self._environment.get(variable)
            if not value:
                raise InvalidInputError(variable, "is not in the environment; name the stack with --stack-name")
            return value
        if self._outputs is None:
            stacks = self.clients.get("cloudformation").describe_stacks(StackName=self._stack_name)["Stacks"]
            self._outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
        if _OUTPUTS[variable] not in self._outputs:
            raise NotFoundError(f"the stack has no output {_OUTPUTS[variable]}")
        return self._outputs[_OUTPUTS[variable]]

    def dynamodb(self) -> Any:
        return self.clients.get("dynamodb")

    def data_maps(self) -> DynamoDBDataMapStore:
        return DynamoDBDataMapStore(self.dynamodb, self.name("REGISTRY_TABLE"))

    def audit(self) -> DynamoDBAuditLog:
        return DynamoDBAuditLog(self.dynamodb, self.name("AUDIT_TABLE"))

    def api_keys(self) -> ApiKeyService:
        return ApiKeyService(
            DynamoDBKeyStore(self.dynamodb, self.name("REGISTRY_TABLE")),
            mode=self.name("KEY_MODE"),
            digest_key=DigestKey(lambda: self.clients.get("secretsmanager"), self.name("DIGEST_KEY_SECRET_ARN")),
            now=utc_now,
        )


def read_data_map(path: Path) -> DataMap:
    """Read and check a data map in YAML or JSON. A key that stands twice is an error: one of the two would be lost."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InvalidInputError(f"line {node.start_mark.line + 1}", f"the key {key} stands there twice")
        try:
            return dict(loader.construct_pairs(node, deep=True))
        except TypeError:
            raise InvalidInputError(f"line {node.start_mark.line + 1}", "a key must be text") from None

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError:
        raise InvalidInputError("data map", "is not UTF-8 text") from None
    except RecursionError:
        raise InvalidInputError("data map", "is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidInputError(f"line {mark.line + 1}" if mark else "data map", "is not valid YAML") from None
    return parse_data_map(document)


def _check_data_map(options: argparse.Namespace, _stack: _Stack) -> None:
    _report(read_data_map(Path(options.file)))


def _put_data_map(options: argparse.Namespace, stack: _Stack) -> None:
    data_map = read_data_map(Path(options.file))
    version = stack.data_maps().put(data_map, utc_now())
    _report(data_map)
    print(json.dumps({"version": version, "digest": data_map.digest}))


def _report(data_map: DataMap) -> None:
    for path, text in data_map.warnings:
        print(f"warning: {path}: {text}", file=sys.stderr)
    print(f"{len(data_map.targets)} targets, no errors", file=sys.stderr)


def _show_data_map(_options: argparse.Namespace, stack: _Stack) -> None:
    current = stack.data_maps().current()
    if current is None:
        raise NotFoundError("no data map has been put yet")
    document = stack.data_maps().document(current.version)
    shown = {"version": current.version, "digest": current.digest, "document": document}
    print(json.dumps(shown, indent=2, ensure_ascii=False))


def _retry(options: argparse.Namespace, stack: _Stack) -> None:
    request = DynamoDBRequestStore(stack.dynamodb, stack.name("REQUESTS_TABLE")).get(options.request_id)
    if request is None:
        raise NotFoundError("there is no such erasure request")
    queue = SQSJobQueue(lambda: stack.clients.get("sqs"), stack.name("INTERACTIVE_QUEUE_URL"))
    attempt = send_again(request, audit=stack.audit(), queue=queue, now=utc_now)
    print(json.dumps({"request_id": request.request_id, "attempt": attempt}))


def _show_audit(options: argparse.Namespace, stack: _Stack) -> None:
    entries = stack.audit().entries(options.request_id)
    if not entries:
        raise NotFoundError("there is no such erasure request")
    broken = broken_at(entries)
    print(json.dumps({"entries": [asdict(entry) for entry in entries], "whole": broken is None}, indent=2))
    if broken is not None:
        raise ErasureError(f"the audit trail is broken at entry {broken}")


def _create_key(options: argparse.Namespace, stack: _Stack) -> None:
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


def _list_keys(options: argparse.Namespace, stack: _Stack) -> None:
    print(json.dumps([shown_key(key) for key in stack.api_keys().list(options.tenant)], indent=2))


def _revoke_key(options: argparse.Namespace, stack: _Stack) -> None:
    stack.api_keys().revoke(None, options.key_id)
    print(f"key {options.key_id} is revoked; it stops working within seconds", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
