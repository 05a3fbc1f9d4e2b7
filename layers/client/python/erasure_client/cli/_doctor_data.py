"""What the service keeps, and the keys that it cannot do without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from erasure_client.cli._doctor_account import Account, StackView
from erasure_client.cli._doctor_checks import DEPLOY_AGAIN, Check, looked_at, missing

KEPT_TABLES = ("Requests", "Registry", "Audit")
"""With recovery and protection. What is in DeleteIds is minutes old."""
EXPIRING_TABLES = ("DeleteIds", "Registry")
TABLES = ("DeleteIds", *KEPT_TABLES)
BUCKET, SECRET = "ControlBucket", "DigestKey"


def check_tables(account: Account, stack: StackView) -> Iterator[Check]:
    """The service's own tables: usable, protected, recoverable for as long as promised and no longer."""
    tables = stack.of("AWS::DynamoDB::Table")
    yield from missing("tables", TABLES, tables)
    for name, table in tables.items():
        yield from looked_at("tables", name, _table, account, stack, name, table)
        if name in KEPT_TABLES:
            yield from looked_at("tables", f"{name} recovery", _recovery, account, stack, name, table)
        if name in EXPIRING_TABLES:
            yield from looked_at("tables", f"{name} expiry", _expiry, account, name, table)


def _table(account: Account, stack: StackView, name: str, table: str) -> Iterator[Check]:
    found = account.look("dynamodb", "describe_table", TableName=table)["Table"]
    encryption = found.get("SSEDescription", {})
    unusable = [each for each in found.get("GlobalSecondaryIndexes", []) if each.get("IndexStatus") in _UNUSABLE]
    if encryption.get("InaccessibleEncryptionDateTime") or "INACCESSIBLE" in found.get("TableStatus", ""):
        yield Check("tables", name, "problem", "its key cannot be used: nothing in it can be read", _MEND_KEY)
    elif found.get("TableStatus") not in ("ACTIVE", "UPDATING"):
        said = f"is {str(found.get('TableStatus', 'gone')).lower()}"
        yield Check("tables", name, "problem", said, DEPLOY_AGAIN)
    elif unusable:
        yield Check("tables", name, "problem", f"{len(unusable)} of its indexes cannot be used", _WAIT)
    else:
        yield Check("tables", name, "ok", "active")
    if name in KEPT_TABLES:
        yield _protection(stack, name, is_protected=bool(found.get("DeletionProtectionEnabled")))
    if encryption.get("Status") in ("ENABLED", "UPDATING"):
        yield Check("tables", f"{name} encryption", "ok", "encrypted with a key of this account")
    elif stack.is_emulated:
        yield Check("tables", f"{name} encryption", "skipped", "the emulator keeps no encryption of tables")
    else:
        said = "encrypted with a key of AWS, not of this account"
        yield Check("tables", f"{name} encryption", "warning", said, DEPLOY_AGAIN)


_UNUSABLE = ("CREATING", "DELETING")
_WAIT = "Wait until it is built, or deploy the stack again."
_MEND_KEY = "Enable the table's KMS key again, or allow DynamoDB to use it."


def _protection(stack: StackView, name: str, *, is_protected: bool) -> Check:
    if is_protected:
        return Check("tables", f"{name} protection", "ok", "protected from deletion")
    if stack.is_local:
        return Check("tables", f"{name} protection", "skipped", "a local stack may be deleted")
    return Check("tables", f"{name} protection", "problem", "one call can delete it", DEPLOY_AGAIN)


def _recovery(account: Account, stack: StackView, name: str, table: str) -> Check:
    answer = account.look("dynamodb", "describe_continuous_backups", TableName=table)
    found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    label, days = f"{name} recovery", found.get("RecoveryPeriodInDays")
    promised = stack.parameters.get("OwnBackupDays", "")
    if found.get("PointInTimeRecoveryStatus") != "ENABLED":
        if stack.is_emulated:
            return Check("tables", label, "skipped", "the emulator keeps no point-in-time recovery")
        return Check("tables", label, "problem", "has no point-in-time recovery", DEPLOY_AGAIN)
    if name == "Requests" and days is not None and promised.isdecimal() and int(days) > int(promised):
        # Ids are purged so much before purged_by.
        said = f"can be restored from {days} days ago; ids are promised to be gone from backups after {promised}"
        return Check("tables", label, "problem", said, DEPLOY_AGAIN)
    return Check("tables", label, "ok", "can be restored to any moment")


def _expiry(account: Account, name: str, table: str) -> Check:
    answer = account.look("dynamodb", "describe_time_to_live", TableName=table)
    status = answer["TimeToLiveDescription"].get("TimeToLiveStatus")
    if status in ("ENABLED", "ENABLING"):
        return Check("tables", f"{name} expiry", "ok", "forgets what has expired")
    return Check("tables", f"{name} expiry", "problem", "keeps what has expired", DEPLOY_AGAIN)


def check_storage(account: Account, stack: StackView) -> Iterator[Check]:
    """The bucket of large jobs, the secret behind the digests, and the keys of the customer's tables."""
    buckets, secrets = stack.of("AWS::S3::Bucket"), stack.of("AWS::SecretsManager::Secret")
    yield from missing("storage", [BUCKET], buckets)
    if BUCKET in buckets:
        bucket = buckets[BUCKET]
        yield from looked_at("storage", BUCKET, _versioning, account, bucket)
        for look in (_bucket_encryption, _public_access, _lifecycle, _tls_only):
            label = f"{BUCKET} {look.__name__.strip('_').replace('_', ' ')}"
            yield from looked_at("storage", label, look, account, stack, bucket, label)
    yield from missing("storage", [SECRET], secrets)
    if SECRET in secrets:
        yield from looked_at("storage", SECRET, _secret, account, secrets[SECRET])
    for number, key in enumerate(sorted(stack.names("TargetKeys")), 1):
        yield from looked_at("storage", f"key {number} of TargetKeys", _key, account, key, number)


def _versioning(account: Account, bucket: str) -> Check:
    if account.look("s3", "get_bucket_versioning", Bucket=bucket).get("Status") == "Enabled":
        return Check("storage", BUCKET, "ok", "there, with versions")
    return Check("storage", BUCKET, "warning", "keeps no versions", DEPLOY_AGAIN)


def _bucket_encryption(account: Account, stack: StackView, bucket: str, label: str) -> Check:
    found = account.look_if_any("s3", "get_bucket_encryption", Bucket=bucket)
    rules = found.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    return _setting(label, bool(rules), stack, ("encrypted", "is not encrypted", "encryption of buckets"))


def _public_access(account: Account, stack: StackView, bucket: str, label: str) -> Check:
    found = account.look_if_any("s3", "get_public_access_block", Bucket=bucket)
    blocked = found.get("PublicAccessBlockConfiguration", {})
    is_closed = bool(blocked) and all(blocked.values())
    return _setting(label, is_closed, stack, ("closed to the public", "could be made public", "public access block"))


def _lifecycle(account: Account, stack: StackView, bucket: str, label: str) -> Check:
    rules = account.look_if_any("s3", "get_bucket_lifecycle_configuration", Bucket=bucket).get("Rules", [])
    enabled = any(each.get("Status") == "Enabled" for each in rules)
    return _setting(
        label, enabled, stack, ("manifests expire", "manifests never expire", "lifecycle rules from a template")
    )


def _tls_only(account: Account, stack: StackView, bucket: str, label: str) -> Check:
    if stack.is_local:
        return Check("storage", label, "skipped", "a local stack speaks plain HTTP")
    policy = account.look_if_any("s3", "get_bucket_policy", Bucket=bucket).get("Policy", "")
    is_closed = "aws:SecureTransport" in policy
    return _setting(label, is_closed, stack, ("refuses plain HTTP", "takes plain HTTP", "policy of buckets"))


def _setting(label: str, is_right: bool, stack: StackView, words: tuple[str, str, str]) -> Check:
    """``words``: what is said if it is right, if it is wrong, and what an emulator may lack."""
    right, wrong, lacking = words
    if is_right:
        return Check("storage", label, "ok", right)
    if stack.is_emulated:
        return Check("storage", label, "skipped", f"the emulator keeps no {lacking}")
    return Check("storage", label, "warning", wrong, DEPLOY_AGAIN)


def _secret(account: Account, secret: str) -> Check:
    found = account.look("secretsmanager", "describe_secret", SecretId=secret)
    if found.get("DeletedDate"):
        said = "is to be deleted: without it no digest can be told to be a subject's"
        return Check("storage", SECRET, "problem", said, f"`aws secretsmanager restore-secret --secret-id {secret}`")
    stages: Iterable[Any] = found.get("VersionIdsToStages", {}).values()
    if not any("AWSCURRENT" in each for each in stages):
        said, step = "holds no key", "Do not make a new one. Ask AWS whether the old one can be restored."
        return Check("storage", SECRET, "problem", said, step)
    return Check("storage", SECRET, "ok", "there")


def _key(account: Account, key: str, number: int) -> Check:
    found: Mapping[str, Any] = account.look("kms", "describe_key", KeyId=key)["KeyMetadata"]
    state = str(found.get("KeyState"))
    if state == "Enabled":
        return Check("storage", f"key {number} of TargetKeys", "ok", "enabled")
    step = "Cancel its deletion: `aws kms cancel-key-deletion`." if "Pending" in state else "`aws kms enable-key`"
    said = f"is {state}: what it encrypts cannot be erased, nor looked for"
    return Check("storage", f"key {number} of TargetKeys", "problem", said, step)
