"""Create what the full sample is kept in, and fill it as planned. May be run again at any time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from local.full_sample import (
    BUCKETS,
    INDEXES,
    LOCKED,
    LOCKED_UNTIL,
    PARTNER,
    PARTNER_BUCKETS,
    PARTNER_EXTERNAL_ID,
    PARTNER_ROLE,
    PARTNER_TABLES,
    SUSPENDED,
    TABLES,
    UNVERSIONED,
    FullObject,
    items,
    objects,
)
from local.seeding import KeyState, begin_upload, create_tables, empty_key, key_states, write_items
from local.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OWN_ACCOUNT = "000000000000"
"""The stack's, in the emulator."""


def partner_of(stack: Stack) -> Stack:
    """The other account: the emulator takes an access key of twelve digits for an account."""
    return Stack({**stack.variables, "AWS_ACCESS_KEY_ID": PARTNER})


def create_places(stack: Stack) -> None:
    """The tables, buckets and the role that the map of the full sample names, as far as they are missing."""
    partner = partner_of(stack)
    create_tables(stack.client("dynamodb"), TABLES, INDEXES)
    create_tables(partner.client("dynamodb"), PARTNER_TABLES, {})
    for account, buckets in ((stack, BUCKETS), (partner, PARTNER_BUCKETS)):
        s3 = account.client("s3")
        existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        for bucket, kind in buckets.items():
            if bucket not in existing:
                s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=kind == LOCKED)
                if kind not in (UNVERSIONED, LOCKED):
                    _set_versioning(s3, bucket, enabled=True)
    _create_role(partner)


def _create_role(partner: Stack) -> None:
    """For the other account's own table and bucket, and for those who know the external id."""
    iam: Any = partner.client("iam")  # type: ignore[call-overload]
    knows = {"StringEquals": {"sts:ExternalId": PARTNER_EXTERNAL_ID}}
    trust = {"Effect": "Allow", "Principal": {"AWS": _OWN_ACCOUNT}, "Action": "sts:AssumeRole", "Condition": knows}
    resources = [f"arn:aws:dynamodb:*:{PARTNER}:table/{table}" for table in PARTNER_TABLES]
    for bucket in PARTNER_BUCKETS:
        resources += [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    allowed = {"Effect": "Allow", "Action": ["dynamodb:*", "s3:*"], "Resource": resources}
    try:
        iam.create_role(RoleName=PARTNER_ROLE, AssumeRolePolicyDocument=_policy(trust))
    except iam.exceptions.EntityAlreadyExistsException:
        return
    iam.put_role_policy(RoleName=PARTNER_ROLE, PolicyName="erasure", PolicyDocument=_policy(allowed))


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def seed(stack: Stack) -> str:
    """Fill the full sample. Returns what there is now, in words; raises :class:`local.stack.LocalError`."""
    create_places(stack)
    planned_items, planned_objects = list(items()), list(objects())
    for account, is_partners in ((stack, False), (partner_of(stack), True)):
        own = [(item.table, item.attributes) for item in planned_items if item.is_partners == is_partners]
        write_items(account.client("dynamodb"), own, lambda _: None)
        by_bucket: dict[str, list[FullObject]] = defaultdict(list)
        for stored in planned_objects:
            if stored.is_partners == is_partners:
                by_bucket[stored.bucket].append(stored)
        for bucket, inside in by_bucket.items():
            _fill(account.client("s3"), bucket, inside)
    return f"items={len(planned_items)} objects={len(planned_objects)}"


def _fill(s3: S3Client, bucket: str, planned: Sequence[FullObject]) -> None:
    kind = BUCKETS.get(bucket) or PARTNER_BUCKETS[bucket]
    states = key_states(s3, bucket)
    wanted = []
    for stored in planned:
        state = states.get(stored.key, KeyState())
        is_as_planned = state.holds(stored.versions, deleted=stored.deleted, uploads=stored.uploads)
        # What is locked cannot be written anew.
        if not is_as_planned and not (stored.locks and state.history):
            empty_key(s3, bucket, stored.key, state)
            wanted.append(stored)
    if kind == SUSPENDED:
        _set_versioning(s3, bucket, enabled=True)
    for stored in wanted:
        for number in range(_steps(stored) - (kind == SUSPENDED)):
            _write(s3, stored, number)
    if kind == SUSPENDED:
        _set_versioning(s3, bucket, enabled=False)
        for stored in wanted:
            _write(s3, stored, _steps(stored) - 1)
    for stored in wanted:
        for _ in range(stored.uploads):
            begin_upload(s3, bucket, stored.key)


def _set_versioning(s3: S3Client, bucket: str, *, enabled: bool) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled" if enabled else "Suspended"})


def _steps(stored: FullObject) -> int:
    """How many writes there are: one for each version and one for the delete marker."""
    return len(stored.versions) + stored.deleted


def _write(s3: S3Client, stored: FullObject, number: int) -> None:
    if number == len(stored.versions):
        s3.delete_object(Bucket=stored.bucket, Key=stored.key)
        return
    how: dict[str, Any] = {}
    lock = (stored.locks or {}).get(number)
    if lock is not None and lock.hold:
        how["ObjectLockLegalHoldStatus"] = "ON"
    elif lock is not None:
        how |= {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": LOCKED_UNTIL}
    s3.put_object(Bucket=stored.bucket, Key=stored.key, Body=stored.versions[number], **how)
