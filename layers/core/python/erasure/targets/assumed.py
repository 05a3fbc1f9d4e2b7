"""Targets in other accounts: the same targets, with clients of the role that the data map names.

What a target may do there is what its role allows and, of that, only what it takes to erase or verify its own table or
bucket: the session's policy says so, whatever the role allows beyond.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from erasure.domain.permissions import Grant, Place, account_of, grants, key_actions
from erasure.domain.plan import Shard
from erasure.domain.target_spec import RoleRule, TargetSpec
from erasure.errors import TargetError
from erasure.targets.dynamodb_calls import REJECTED, UNAVAILABLE, error_for
from erasure.targets.protocol import (
    Deadline,
    Guard,
    Item,
    ItemReader,
    OnErased,
    ScanRange,
    Sharing,
    SliceResult,
    Target,
    Values,
    VerifyResult,
)

MOST_KEPT = 64
"""How many roles' targets, with their clients, are kept at once."""

T_co = TypeVar("T_co", covariant=True)


class Sessions(Protocol):
    @property
    def region(self) -> str: ...

    def open(self, role: RoleRule, policy: str) -> Any:
        """A botocore session of the role, limited by the session policy: the same one as long as it is good. Raises
        what botocore raises."""


def session_policy(spec: TargetSpec, purpose: str, region: str) -> str:
    """What the target takes in its role's account, as a policy document. ``spec.role`` is set."""
    assert spec.role is not None  # noqa: S101 - the callers ask
    partition, account = account_of(spec.role.arn)
    statements = [_statement(grant) for grant in grants(spec, purpose, Place(partition, region, account))]
    if spec.dynamodb is not None:
        # Which key a table has is not known here. The role's own policy names it, and DynamoDB is who uses it.
        through_dynamodb = {"StringLike": {"kms:ViaService": "dynamodb.*"}}
        statements.append({**_statement(Grant(key_actions(purpose), ("*",))), "Condition": through_dynamodb})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _statement(grant: Grant) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(grant.actions), "Resource": list(grant.resources)}


class ByAccount(Generic[T_co]):
    """What works on targets, made once for the stack's own account and once for each role, purpose and place.

    ``own``: for targets without a role. ``make``: takes a botocore session of a role and the account's number.
    ``purpose``: of the function, :data:`erasure.domain.permissions.ERASE` or ``VERIFY``. Thread-safe.
    """

    def __init__(self, own: T_co, make: Callable[[Any, str], T_co], sessions: Sessions, purpose: str) -> None:
        self.own = own
        self._make = make
        self._sessions = sessions
        self._purpose = purpose
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[RoleRule, str], tuple[Any, T_co]] = OrderedDict()

    def of(self, spec: TargetSpec) -> T_co:
        """Raises :class:`TargetError` if the target's role cannot be assumed: ``access_denied`` or ``rejected``
        (permanent), ``throttled``, ``unavailable``."""
        if spec.role is None:
            return self.own
        account = _account_of(spec.role)
        policy = session_policy(spec, self._purpose, self._sessions.region)
        session = self._open(spec.role, policy)
        with self._lock:
            known = self._kept.get((spec.role, policy))
            if known is None or known[0] is not session:  # another job's session: the old one is of no use now
                known = self._kept[spec.role, policy] = (session, self._make(session, account))
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end((spec.role, policy))
            return known[1]

    def _open(self, role: RoleRule, policy: str) -> Any:
        try:
            return self._sessions.open(role, policy)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            failure = error_for(code, int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)))
        except ParamValidationError:
            failure = TargetError(REJECTED, permanent=True)
        except BotoCoreError:
            failure = TargetError(UNAVAILABLE, permanent=False)
        # Outside of the except block: botocore's message names the role and who asked.
        raise failure


def _account_of(role: RoleRule) -> str:
    try:
        return account_of(role.arn)[1]
    except ValueError:
        pass
    raise TargetError("map_mismatch", permanent=True, detail="not the ARN of a role")


class Tables(Target, ItemReader, Protocol):
    """What a target of DynamoDB can do beside erasing and verifying."""

    def shards(self, spec: TargetSpec, deadline: Deadline) -> tuple[Shard, ...]: ...


class Accounts(Protocol[T_co]):
    @property
    def own(self) -> T_co:
        """For targets without a role."""

    def of(self, spec: TargetSpec) -> T_co:
        """As :meth:`ByAccount.of`."""


class _OwnForUnit:
    """Targets by account, of which the own one is another."""

    def __init__(self, own: Target, others: Accounts[Target]) -> None:
        self.own = own
        self._others = others

    def of(self, spec: TargetSpec) -> Target:
        return self.own if spec.role is None else self._others.of(spec)


class AssumedTargets:
    """A :class:`erasure.targets.protocol.Target` for the targets of one kind, in whatever account they are."""

    def __init__(self, targets: Accounts[Target]) -> None:
        self._targets = targets

    def for_unit(self, specs: Sequence[TargetSpec]) -> AssumedTargets:
        """Targets of the own account share what they can. Each role's session sees one target's place only."""
        own = self._targets.own
        if not isinstance(own, Sharing):
            return self
        return AssumedTargets(_OwnForUnit(own.for_unit([spec for spec in specs if spec.role is None]), self._targets))

    def erase(
        self,
        spec: TargetSpec,
        subjects: Sequence[Values],
        deadline: Deadline,
        on_erased: OnErased | None = None,
        scan: ScanRange | None = None,
        guard: Guard | None = None,
    ) -> list[SliceResult]:
        """As the target does it; ``access_denied`` and the like if its role cannot be assumed."""
        try:
            target = self._targets.of(spec)
        except TargetError as error:
            return [SliceResult(0, done=False, problem=error.code, permanent=error.permanent) for _ in subjects]
        return target.erase(spec, subjects, deadline, on_erased, scan, guard)

    def verify(
        self, spec: TargetSpec, subjects: Sequence[Values], deadline: Deadline, scan: ScanRange | None = None
    ) -> list[VerifyResult]:
        """As the target does it; ``access_denied`` and the like if its role cannot be assumed."""
        try:
            target = self._targets.of(spec)
        except TargetError as error:
            return [VerifyResult(0, complete=False, problem=error.code, permanent=error.permanent) for _ in subjects]
        return target.verify(spec, subjects, deadline, scan)


class AssumedTables(AssumedTargets):
    """Tables in whatever account they are: erased, verified, read (:class:`erasure.targets.protocol.ItemReader`) and
    divided for scans."""

    def __init__(self, tables: ByAccount[Tables]) -> None:
        super().__init__(tables)
        self._tables = tables

    def items(
        self, spec: TargetSpec, values: Values, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[Sequence[Item]]:
        """As the table's target does it. Raises :class:`TargetError`, also if the role cannot be assumed."""
        return self._tables.of(spec).items(spec, values, attributes, deadline)

    def shards(self, spec: TargetSpec, deadline: Deadline) -> tuple[Shard, ...]:
        """As the table's target does it. Raises :class:`TargetError`, also if the role cannot be assumed."""
        return self._tables.of(spec).shards(spec, deadline)
