"""The account that a data map is held against, read with an operator's credentials. Nothing is written.

Not for the functions: their layer does not have what these calls need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.aws import error_code
from erasure.domain.account import Bucket, Index, Table
from erasure.domain.permissions import Grant, Place

_NO_TABLE = frozenset({"ResourceNotFoundException", "TableNotFoundException"})
_NO_BUCKET = frozenset({"NoSuchBucket", "404"})
_REFUSES = frozenset({"AccessDenied", "403", "AllAccessDisabled"})
_NO_LOCK = "ObjectLockConfigurationNotFoundError"
_READY = frozenset({"ACTIVE", "UPDATING"})


class AwsAccount:
    """:class:`erasure.services.map_check.Account` of AWS. ``client``: gives the client of a service.

    Raises what botocore raises, but for what only says that something is not there or not this account's.
    """

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        if self._place is None:
            caller = self._client("sts").get_caller_identity()
            region = self._client("dynamodb").meta.region_name
            self._place = Place(caller["Arn"].split(":")[1], region, caller["Account"])
        return self._place

    def table(self, name: str) -> Table | None:
        try:
            description = self._client("dynamodb").describe_table(TableName=name)["Table"]
        except ClientError as error:
            if error_code(error) in _NO_TABLE:
                return None
            raise
        types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
        indexes = (
            *(description.get("LocalSecondaryIndexes") or ()),
            *(description.get("GlobalSecondaryIndexes") or ()),
        )
        return Table(
            _keys(description, types),
            {index["IndexName"]: _index(index, types) for index in indexes},
            self._own_key(description.get("SSEDescription") or {}),
        )

    def bucket(self, name: str) -> Bucket | None:
        # Names are everybody's: another account's bucket of this name must not pass for ours.
        whose = {"Bucket": name, "ExpectedBucketOwner": self.place.account}
        try:
            versioning = self._client("s3").get_bucket_versioning(**whose)
            lock = self._lock(whose)
        except ClientError as error:
            if error_code(error) in _NO_BUCKET:
                return None
            if error_code(error) in _REFUSES:
                return Bucket(reachable=False)
            raise
        return Bucket(versioning.get("Status", ""), versioning.get("MFADelete") == "Enabled", lock)

    def tables(self) -> Sequence[str]:
        pages = self._client("dynamodb").get_paginator("list_tables").paginate()
        return [name for page in pages for name in page["TableNames"]]

    def buckets(self) -> Sequence[str]:
        pages = self._client("s3").get_paginator("list_buckets").paginate()
        return [bucket["Name"] for page in pages for bucket in page.get("Buckets", ())]

    def refused(self, role_arn: str, grant: Grant) -> Sequence[str]:
        """By IAM's simulator: the role's own policies, not those of a bucket, a key or an organization."""
        return [
            result["EvalActionName"]
            for resource in grant.resources  # one at a time, so that each answer is about one
            for result in self._simulate(role_arn, grant.actions, resource)
            if result["EvalDecision"] != "allowed"
        ]

    def _simulate(self, role_arn: str, actions: Sequence[str], resource: str) -> list[Any]:
        pages = (
            self._client("iam")
            .get_paginator("simulate_principal_policy")
            .paginate(
                PolicySourceArn=role_arn,
                ActionNames=list(actions),
                ResourceArns=[resource],
                ContextEntries=[
                    {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
                    for name, value in self._context().items()
                ],
            )
        )
        return [result for page in pages for result in page["EvaluationResults"]]

    def _context(self) -> dict[str, str]:
        """What the conditions of the template's roles ask for, as it is when the functions call."""
        return {
            "aws:RequestedRegion": self.place.region,
            "aws:ResourceAccount": self.place.account,
            "kms:ViaService": f"dynamodb.{self.place.region}.amazonaws.com",
        }

    def _lock(self, whose: Mapping[str, str]) -> str | None:
        try:
            answer = self._client("s3").get_object_lock_configuration(**whose)
        except ClientError as error:
            if error_code(error) == _NO_LOCK:
                return None
            raise
        configuration = answer.get("ObjectLockConfiguration") or {}
        if configuration.get("ObjectLockEnabled") != "Enabled":
            return None
        default = (configuration.get("Rule") or {}).get("DefaultRetention") or {}
        if not default:
            return "no retention unless an object is given one"
        period = f"{default['Days']} days" if "Days" in default else f"{default['Years']} years"
        return f"{default['Mode'].lower()}, {period} for new objects"

    def _own_key(self, encryption: Mapping[str, Any]) -> str | None:
        """The table's key if it is the customer's: only then its caller needs to be allowed to use it."""
        arn = encryption.get("KMSMasterKeyArn")
        if arn is None:
            return None
        try:
            manager = self._client("kms").describe_key(KeyId=arn)["KeyMetadata"].get("KeyManager")
        except ClientError:
            return str(arn)  # of AWS's own keys anybody of the account may know
        return None if manager == "AWS" else str(arn)


def _keys(described: Mapping[str, Any], types: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    schema = sorted(described["KeySchema"], key=lambda part: part["KeyType"] != "HASH")
    return tuple((part["AttributeName"], types[part["AttributeName"]]) for part in schema)


def _index(index: Mapping[str, Any], types: Mapping[str, str]) -> Index:
    ready = index.get("IndexStatus", "ACTIVE") in _READY and not index.get("Backfilling")
    return Index(_keys(index, types), index["Projection"]["ProjectionType"] == "ALL", ready)
