"""Plans and dry runs as people read them: what an erasure would find, or cover."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from erasure_client.cli._output import clean, plain, table
from erasure_client.cli._render import subject_text, until_text
from erasure_client.cli._times import moment, number

if TYPE_CHECKING:
    from erasure_client import DryRun, Plan, PlanTarget


def plans_view(plans: Sequence[Plan], since: datetime) -> Group:
    """What would be found, subject by subject."""
    parts: list[RenderableType] = []
    for plan in plans:
        rows = table("", "TARGET", "CATEGORY", "ACTION", "COUNT", "", right=("COUNT",), whole=("ACTION",))
        for each in plan.targets:
            cells = ("", plain(each.name), plain(each.category), clean(each.action), _count(each), plain(_note(each)))
            rows.add_row(*cells)
        parts += [
            Text(subject_text(plan.subject), "bold"),
            *_begins(plan.not_before, since),
            rows,
        ]
        parts += [*_left_out(plan.out_of_scope), Text(f"plan hash  {clean(plan.plan_hash)}"), ""]
    return Group(*parts[:-1])


def dry_runs_view(found: Sequence[DryRun], since: datetime) -> Group:
    """What would be covered, subject by subject."""
    parts: list[RenderableType] = []
    for each in found:
        rows = table("", "TARGET", "CATEGORY", "IN", "ACTION", "", whole=("IN", "ACTION"))
        for target in each.targets:
            reason = plain(f"cannot be erased: {target.reason}" if target.reason else "", "bold red")
            rows.add_row(
                "", plain(target.name), plain(target.category), clean(target.kind), clean(target.action), reason
            )
        parts += [
            Text(subject_text(each.subject), "bold"),
            *_begins(each.not_before, since),
            rows,
        ]
        parts += [*_left_out(each.out_of_scope), ""]
    return Group(*parts, Text("Nothing was requested."))


def _begins(not_before: datetime | None, since: datetime) -> list[Text]:
    return [] if not_before is None else [Text(f"  would begin {moment(not_before, since)}")]


def _left_out(names: Sequence[str]) -> list[Text]:
    if not names:
        return []
    return [Text(f"  left out, not limited to organizations: {', '.join(clean(each) for each in names)}", "yellow")]


def _count(target: PlanTarget) -> str:
    if target.count is None:
        return "?"
    return f"{number(target.count)}{'+' if target.more else ''}"


def _note(target: PlanTarget) -> str:
    if target.problem is not None:
        return target.problem
    if target.count is None:
        return "not counted: no index"
    if not target.kept:
        return ""
    return f"{number(target.kept)}{'+' if target.kept_more else ''} kept {until_text(target.until)}"
