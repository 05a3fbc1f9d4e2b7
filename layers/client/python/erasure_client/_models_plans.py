"""What an erasure would cover, and what it would find. Nothing is written to tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from erasure_client._reading import Body
from erasure_client._subjects import Subject


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """``kind``: ``dynamodb`` or ``s3``. ``action``: ``delete``, ``detach`` or ``redact``. ``reason``: why it cannot be
    erased safely for the subject."""

    name: str
    category: str
    kind: str
    action: str
    reason: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> PlannedTarget:
        read = Body(body)
        return cls(
            name=read.text("name"),
            category=read.text("category"),
            kind=read.text("kind"),
            action=read.text("action"),
            reason=read.text_if_any("reason"),
        )


@dataclass(frozen=True, slots=True)
class DryRun:
    """What an erasure of the subject would cover. ``out_of_scope``: targets that cannot be limited to the
    organizations. ``not_before``: when it would begin, unless at once. Nothing was counted."""

    subject: Subject
    targets: tuple[PlannedTarget, ...]
    out_of_scope: tuple[str, ...] = ()
    not_before: datetime | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> DryRun:
        read = Body(body)
        return cls(
            subject=Subject.of(read.inner("subject")),
            targets=tuple([PlannedTarget.of(each) for each in read.each("targets")]),
            out_of_scope=read.texts("out_of_scope"),
            not_before=read.moment_if_any("not_before"),
        )


@dataclass(frozen=True, slots=True)
class PlanTarget:
    """``count``: what would be erased or changed, ``more``: there is more; ``None``: not counted, ``problem`` says why,
    without one it is a table that would have to be scanned. What would stay is told as of a request's target."""

    name: str
    category: str
    action: str
    count: int | None
    more: bool = False
    kept: int = 0
    kept_more: bool = False
    until: datetime | None = None
    basis: str | None = None
    problem: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> PlanTarget:
        return cls._read(Body(body), "name")

    @classmethod
    def of_own(cls, body: Mapping[str, Any]) -> PlanTarget:
        """From an answer to the person themselves."""
        return cls._read(Body(body), "target")

    @classmethod
    def _read(cls, read: Body, name: str) -> PlanTarget:
        return cls(
            name=read.text(name),
            category=read.text("category"),
            action=read.text("action"),
            count=read.number_if_any("count"),
            more=read.flag_if_any("more"),
            kept=read.number_if_any("kept") or 0,
            kept_more=read.flag_if_any("kept_more"),
            until=read.moment_if_any("until"),
            basis=read.text_if_any("basis"),
            problem=read.text_if_any("problem"),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure of the subject would find now. ``plan_hash`` can be named by the erasure, which is then accepted
    only as long as it would go by the same plan."""

    subject: Subject
    plan_hash: str
    targets: tuple[PlanTarget, ...]
    out_of_scope: tuple[str, ...] = ()
    not_before: datetime | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Plan:
        read = Body(body)
        return cls(
            subject=Subject.of(read.inner("subject")),
            plan_hash=read.text("plan_hash"),
            targets=tuple([PlanTarget.of(each) for each in read.each("targets")]),
            out_of_scope=read.texts("out_of_scope"),
            not_before=read.moment_if_any("not_before"),
        )


@dataclass(frozen=True, slots=True)
class DeletionPreview:
    """What a person's own deletion would find now."""

    plan_hash: str
    targets: tuple[PlanTarget, ...]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> DeletionPreview:
        read = Body(body)
        return cls(read.text("plan_hash"), tuple([PlanTarget.of_own(each) for each in read.each("targets")]))
