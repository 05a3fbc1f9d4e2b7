"""What is known of the map's rules of age, in the Registry table: ``RETENTION``/``<rule digest>``.

``target``, ``revision``; ``last_report_at``, ``report_request_id``, ``matched``, ``report_kept``,
``report_unreadable`` of the last report; ``last_run_at``, ``run_request_id``, ``erased``, ``run_kept``,
``run_unreadable`` of the last run; ``begun_mode``, ``begun_at``, ``is_open`` of the latest that was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from erasure.adapters.attributes import Item, from_item, to_item
from erasure.adapters.aws import error_code
from erasure.domain.retention_runs import EndedRun, KnownRule, RetentionRun
from erasure.domain.times import format_time, parse_time

_PARTITION = "RETENTION"
_IS_NEW = "attribute_not_exists(pk)"
_AS_IT_WAS_READ = "revision = :revision"
_REPORT = ("report_request_id", "last_report_at", "matched", "report_kept", "report_unreadable")
_RUN = ("run_request_id", "last_run_at", "erased", "run_kept", "run_unreadable")


class DynamoDBRetentionStore:
    """:class:`erasure.services.retention_rules.RuleStore` on DynamoDB."""

    def __init__(self, client: Callable[[], Any], table: str) -> None:
        self._client = client
        self._table = table

    def list(self) -> list[KnownRule]:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :rules",
            "ExpressionAttributeValues": {":rules": {"S": _PARTITION}},
            "ConsistentRead": True,
        }
        found: list[KnownRule] = []
        while True:
            answer = self._client().query(**arguments)
            found += [_to_rule(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return found
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def put(self, rule: KnownRule) -> bool:
        values = {"target": rule.target, "revision": rule.revision + 1, "is_open": rule.is_open}
        if rule.begun is not None:
            values |= {"begun_mode": rule.begun.mode, "begun_at": format_time(rule.begun.moment)}
        values |= _ended_values(_REPORT, rule.report) | _ended_values(_RUN, rule.run)
        return self._write("put_item", rule, Item={**_key(rule), **to_item(values)})

    def forget(self, rule: KnownRule) -> bool:
        return self._write("delete_item", rule, Key=_key(rule))

    def _write(self, operation: str, rule: KnownRule, **arguments: Any) -> bool:
        if rule.revision:
            arguments["ExpressionAttributeValues"] = {":revision": {"N": str(rule.revision)}}
        condition = _AS_IT_WAS_READ if rule.revision else _IS_NEW
        try:
            getattr(self._client(), operation)(TableName=self._table, ConditionExpression=condition, **arguments)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _key(rule: KnownRule) -> Item:
    return {"pk": {"S": _PARTITION}, "sk": {"S": rule.rule_digest}}


def _ended_values(names: tuple[str, ...], ended: EndedRun | None) -> dict[str, Any]:
    if ended is None:
        return {}
    values = (ended.request_id, format_time(ended.ended_at), ended.count, ended.kept, ended.unreadable)
    return dict(zip(names, values, strict=True))


def _to_ended(names: tuple[str, ...], values: Mapping[str, Any]) -> EndedRun | None:
    if names[0] not in values:
        return None
    request_id, ended_at, count, kept, unreadable = (values[name] for name in names)
    return EndedRun(request_id, parse_time(ended_at), count, kept, unreadable)


def _to_rule(item: Item) -> KnownRule:
    values = from_item(item)
    begun = None
    if "begun_at" in values:
        begun = RetentionRun(values["begun_mode"], values["sk"], parse_time(values["begun_at"]))
    return KnownRule(
        rule_digest=values["sk"],
        target=values["target"],
        report=_to_ended(_REPORT, values),
        run=_to_ended(_RUN, values),
        begun=begun,
        is_open=values["is_open"],
        revision=values["revision"],
    )
