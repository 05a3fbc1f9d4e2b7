"""The stack, looked at with AWS credentials: one area after the other, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias

from erasure_client.cli._doctor_account import (
    Account,
    NotSignedInError,
    StackView,
    describe_stack,
    list_resources,
)
from erasure_client.cli._doctor_checks import Check, GoneError, NotSeenError, looked_at
from erasure_client.cli._doctor_data import check_storage, check_tables
from erasure_client.cli._doctor_watching import check_alarms, check_events, check_logs, check_roles
from erasure_client.cli._doctor_work import check_functions, check_queues, check_schedules, check_workflow

Area: TypeAlias = Callable[[Account, StackView], Iterable[Check]]

AREAS: Mapping[str, Area] = {
    "functions": check_functions,
    "schedules": check_schedules,
    "queues": check_queues,
    "workflow": check_workflow,
    "tables": check_tables,
    "storage": check_storage,
    "alarms": check_alarms,
    "logs": check_logs,
    "roles": check_roles,
    "events": check_events,
}
_AT_A_TIME = 5
_NOBODY = "https://issuer.invalid"
_DEFAULTS: Mapping[str, str] = {"TargetTables": "erasure-no-table-yet", "TargetBuckets": "erasure-no-bucket-yet"}
_LOCAL_ONLY = "is a local stack's, on AWS: without protection of its tables, and without three alarms"


def look_at_stack(account: Account, stack_name: str) -> tuple[StackView | None, list[Check]]:
    """The stack, None if it could not be seen, and what there is to say of it and all that is in it."""
    try:
        stack = describe_stack(account, stack_name)
    except GoneError:
        step = "Look at the name and the region: --stack-name, --region, `erasure profiles list`."
        return None, [Check("stack", "status", "problem", "there is no stack of this name here", step)]
    except NotSignedInError as error:
        return None, [Check("stack", "credentials", "problem", error.said, error.next)]
    except NotSeenError as error:
        return None, [Check("stack", "status", "unknown", error.said, error.next)]
    checks = [*_status(stack), *_settings(stack)]
    try:
        stack = replace(stack, resources=list_resources(account, stack_name))
    except (GoneError, NotSeenError) as error:
        said, step = getattr(error, "said", "is gone"), getattr(error, "next", "")
        return stack, [*checks, Check("stack", "resources", "unknown", said, step)]
    return stack, [*checks, *_areas(account, stack)]


def _areas(account: Account, stack: StackView) -> list[Check]:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        found = pool.map(lambda area: looked_at(area[0], "all", area[1], account, stack), AREAS.items())
        return [check for checks in found for check in checks]


def _status(stack: StackView) -> Iterator[Check]:
    status = stack.status
    if status.endswith("_IN_PROGRESS"):
        yield Check("stack", "status", "warning", f"{status}: it is being changed", "Run it again when that is over.")
    elif status == "UPDATE_ROLLBACK_COMPLETE":
        step = "It works as it was before. See in CloudFormation's events what failed, and deploy again."
        yield Check("stack", "status", "warning", f"{status}: the last deployment failed", step)
    elif status.endswith("FAILED") or "ROLLBACK" in status or "DELETE" in status:
        step = f"`aws cloudformation describe-stack-events --stack-name {stack.name}` tells why."
        yield Check("stack", "status", "problem", status, step)
    else:
        yield Check("stack", "status", "ok", status)
    if stack.drift == "IN_SYNC":
        yield Check("stack", "drift", "ok", "as its template says, when CloudFormation last compared")
    elif stack.drift == "DRIFTED":
        step = f"`aws cloudformation describe-stack-resource-drifts --stack-name {stack.name}` tells what."
        yield Check("stack", "drift", "warning", "something was changed by hand", step)
    else:
        # Having it compared would be a call that starts something.
        step = f"`aws cloudformation detect-stack-drift --stack-name {stack.name}` has it compared."
        yield Check("stack", "drift", "skipped", "not compared with its template", step)


def _settings(stack: StackView) -> Iterator[Check]:
    if stack.is_local and not stack.is_emulated:
        yield Check("stack", "IsLocal", "problem", _LOCAL_ONLY, "Deploy with IsLocal=false.")
    if stack.parameters.get("OidcIssuer") == _NOBODY:
        step = "Deploy with OidcIssuer, the issuer of your users' tokens."
        yield Check("stack", "OidcIssuer", "warning", "no issuer: no person can erase themselves", step)
    for name, nothing in _DEFAULTS.items():
        if stack.names(name) <= {nothing}:
            yield Check(
                "stack", name, "warning", "names nothing", f"Deploy with {name}: `erasure data-map parameters`."
            )


def check_map(document: Mapping[str, Any], stack: StackView) -> Iterator[Check]:
    """A data map against what the stack lets the erasers reach. Tables and buckets are told by their targets."""
    lists = {name: stack.names(name) for name in ("TargetTables", "TargetBuckets", "TargetRoles")}
    named: dict[str, set[str]] = {name: set() for name in lists}
    targets: Sequence[Mapping[str, Any]] = document.get("targets", [])
    lacking = 0
    for target in targets:
        for parameter, name in _places(target):
            named[parameter].add(name)
            if name not in lists[parameter]:
                lacking += 1
                said = f"{parameter} does not name what this target is in: it would fail"
                yield Check("data map", str(target.get("name")), "problem", said, _PARAMETERS)
    if not lacking:
        yield Check("data map", "parameters", "ok", "the stack reaches all that the map names")
    more = {name: len(names - named[name] - set(_DEFAULTS.values())) for name, names in lists.items()}
    if any(more.values()):
        listed = ", ".join(f"{count} of {name}" for name, count in more.items() if count)
        said = f"the stack reaches more than the map names: {listed}"
        yield Check("data map", "reach", "warning", said, _PARAMETERS)


_PARAMETERS = "`erasure data-map parameters FILE` prints the parameters that fit; deploy with them."


def _places(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What has to be in which parameter. In another account the role decides, not the lists of this one."""
    if target.get("role_arn"):
        yield "TargetRoles", str(target["role_arn"])
    elif "dynamodb" in target:
        yield "TargetTables", str(target["dynamodb"]["table"])
    elif "s3" in target:
        yield "TargetBuckets", str(target["s3"]["bucket"])
