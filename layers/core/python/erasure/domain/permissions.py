"""Which actions of IAM a target needs, on which resources.

One list for who asks for them (the session in another account) and who checks them (``data-map check``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from erasure.domain.target_spec import DETACH_ACTION, REDACT_ACTION, REPORT_ACTION, TargetSpec

ERASE, VERIFY = "erase", "verify"
"""What a function is there for. Who only verifies only reads."""

ROLE_ARN = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/([\w+=,.@/-]{1,576})")

_READ_ITEMS = ("DescribeTable", "Query", "GetItem", "BatchGetItem")
_DELETE_ITEMS = ("BatchWriteItem", "DeleteItem", "PartiQLDelete")
_LIST_OBJECTS = ("ListBucket", "ListBucketVersions", "ListBucketMultipartUploads")
_DELETE_OBJECTS = ("DeleteObject", "DeleteObjectVersion", "AbortMultipartUpload")
_READ_LOCKS = ("GetObjectRetention", "GetObjectLegalHold")
_READ_KEY = ("kms:Decrypt", "kms:DescribeKey")
_WRITE_KEY = (
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions, with their service (``dynamodb:Query``), on the resources of these ARNs."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target's data lies, as far as ARNs tell."""

    partition: str
    region: str
    account: str


def grants(spec: TargetSpec, purpose: str, place: Place) -> tuple[Grant, ...]:
    """What working on the target's own table with its indexes, or on its own bucket, takes; nothing of the targets
    that lead to it."""
    if spec.s3 is not None:
        bucket = f"arn:{place.partition}:s3:::{spec.s3.bucket}"
        of_objects = _DELETE_OBJECTS if _changes(spec, purpose) else _READ_LOCKS
        return (
            Grant(_actions("s3", _LIST_OBJECTS), (bucket,)),
            Grant(_actions("s3", of_objects), (f"{bucket}/*",)),
        )
    assert spec.dynamodb is not None  # noqa: S101 - a target is one of the two
    table = f"arn:{place.partition}:dynamodb:{place.region}:{place.account}:table/{spec.dynamodb.table}"
    found = [Grant(_actions("dynamodb", _of_items(spec, purpose)), (table,))]
    if spec.dynamodb.index is not None:
        found.append(Grant(_actions("dynamodb", ("Query",)), (f"{table}/index/{spec.dynamodb.index}",)))
    return tuple(found)


def key_actions(purpose: str) -> tuple[str, ...]:
    """What DynamoDB does in its caller's name with the key of a table that is encrypted with the customer's own."""
    return (*_READ_KEY, *_WRITE_KEY) if purpose == ERASE else _READ_KEY


def account_of(role_arn: str) -> tuple[str, str]:
    """Partition and account of a role. Raises ValueError if the text is no role's ARN."""
    found = ROLE_ARN.fullmatch(role_arn)
    if found is None:
        raise ValueError("not the ARN of a role")
    return found[1], found[2]


def _changes(spec: TargetSpec, purpose: str) -> bool:
    """Whether anything is written at all: not by a run that only reports, whoever makes it."""
    return purpose == ERASE and spec.action != REPORT_ACTION


def _of_items(spec: TargetSpec, purpose: str) -> tuple[str, ...]:
    # What goes by its age is found by reading the whole table, whatever leads to the items of one person.
    actions = _READ_ITEMS + (("Scan",) if spec.is_scan or spec.retention is not None else ())
    if _changes(spec, purpose):
        changes = spec.action in (DETACH_ACTION, REDACT_ACTION)
        actions += ("UpdateItem",) if changes else ()
        actions += () if changes and spec.retain is None else _DELETE_ITEMS
    return actions


def _actions(service: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{service}:{name}" for name in names)
