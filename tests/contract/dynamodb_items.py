"""Targets, items and subjects in few words."""

from __future__ import annotations

from typing import Any

from erasure.domain.target_spec import DetachRule, DynamoDBRule, KeyRule, TargetSpec


def spec(
    table: str,
    partition: KeyRule,
    sort: KeyRule | None = None,
    index: str | None = None,
    detach: DetachRule | None = None,
) -> TargetSpec:
    return TargetSpec("target", "content", dynamodb=DynamoDBRule(table, partition, sort, index), detach=detach)


def strings(**attributes: str) -> dict[str, Any]:
    return {name: {"S": value} for name, value in attributes.items()}


def user(user_id: str, tenant_id: str = "acme") -> dict[str, str]:
    return {"tenant_id": tenant_id, "user_id": user_id}
