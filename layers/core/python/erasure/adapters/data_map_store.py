"""Data-map versions in the Registry table.

``VERSION#000001`` holds the document as it was given, and the targets and the families' categories made from it;
``CURRENT`` is a copy of the latest one without its document, so that a job reads one item. Versions are never changed:
a job that has pinned one finds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import from_item, to_item
from erasure.adapters.aws import error_code
from erasure.domain.plan import Families
from erasure.domain.request import FAMILY_CATEGORIES
from erasure.domain.target_spec import IdentifierRule, TargetSpec
from erasure.domain.times import format_time
from erasure.errors import ConflictError, InvalidInputError
from erasure.ports import PinnedMap

if TYPE_CHECKING:
    from erasure.domain.data_map import DataMap

_PARTITION = "DATA_MAP"
_MAX_BYTES = 350_000  # an item holds 400 KB


class DynamoDBDataMapStore:
    """:class:`erasure.ports.DataMapStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def current(self) -> PinnedMap | None:
        return self._read("CURRENT")

    def version(self, version: int) -> PinnedMap | None:
        return self._read(f"VERSION#{version:06d}")

    def document(self, version: int) -> dict[str, Any] | None:
        """The document of a version as it was put."""
        item = self._get(f"VERSION#{version:06d}")
        document = json.loads(from_item(item)["document"]) if item else None
        return document if isinstance(document, dict) else None

    def put(self, data_map: DataMap, now: datetime) -> int:
        """Make this the current map; returns its version. The map that is current already keeps its version.

        Raises :class:`ConflictError` if somebody else put another one at the same moment.
        """
        current = self.current()
        if current is not None and current.digest == data_map.digest:
            return current.version
        version = current.version + 1 if current else 1
        targets = json.dumps([json.loads(target.to_json()) for target in data_map.targets], ensure_ascii=False)
        families = {name: None if kept is None else sorted(kept) for name, kept in data_map.families.items()}
        document = json.dumps(data_map.document, ensure_ascii=False)
        if len(targets.encode()) + len(document.encode()) > _MAX_BYTES:
            raise InvalidInputError("data map", f"must be smaller than {_MAX_BYTES // 2} bytes")
        values = {
            "version": version,
            "digest": data_map.digest,
            "targets": targets,
            "families": json.dumps(families),
            "identifiers": json.dumps([_kept_identifier(rule) for rule in data_map.identifiers]),
            "created_at": format_time(now),
        }
        try:
            self._client().transact_write_items(
                TransactItems=[
                    self._put(f"VERSION#{version:06d}", {**values, "document": document}, "attribute_not_exists(pk)"),
                    self._put("CURRENT", values, "attribute_not_exists(pk) OR version = :previous", version - 1),
                ]
            )
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            raise ConflictError("the data map was changed by somebody else at the same moment") from None
        return version

    def _put(self, sort: str, values: dict[str, Any], condition: str, previous: int | None = None) -> dict[str, Any]:
        put = {
            "TableName": self._table,
            "Item": to_item({"pk": _PARTITION, "sk": sort, **values}),
            "ConditionExpression": condition,
        }
        if previous is not None:
            put["ExpressionAttributeValues"] = {":previous": {"N": str(previous)}}
        return {"Put": put}

    def _get(self, sort: str) -> dict[str, Any] | None:
        answer = self._client().get_item(
            TableName=self._table, Key={"pk": {"S": _PARTITION}, "sk": {"S": sort}}, ConsistentRead=True
        )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _read(self, sort: str) -> PinnedMap | None:
        item = self._get(sort)
        if item is None:
            return None
        values = from_item(item)
        targets = tuple(TargetSpec.from_dict(target) for target in json.loads(values["targets"]))
        identifiers = _identifiers(values.get("identifiers"), targets)
        return PinnedMap(values["version"], values["digest"], targets, _families(values.get("families")), identifiers)


def _kept_identifier(rule: IdentifierRule) -> dict[str, Any]:
    """A rule with the name of the target that it reads, which is kept with the targets."""
    return {"name": rule.name, "from": rule.source.name, "attribute": rule.attribute, "optional": rule.optional}


def _identifiers(text: str | None, targets: Sequence[TargetSpec]) -> tuple[IdentifierRule, ...]:
    by_name = {target.name: target for target in targets}
    return tuple(
        IdentifierRule(rule["name"], by_name[rule["from"]], rule["attribute"], rule["optional"])
        for rule in (json.loads(text) if text else ())
    )


def _families(text: str | None) -> Families:
    """Categories by family as a version of the map has them; the defaults for what it does not know of."""
    kept = json.loads(text) if text else {}
    named = {name: None if categories is None else frozenset(categories) for name, categories in kept.items()}
    return {**FAMILY_CATEGORIES, **named}
