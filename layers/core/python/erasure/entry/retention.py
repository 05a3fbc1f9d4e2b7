"""The map's rules of age and what they have done: for operators, so platform keys only.

=====================  ==============================================================================================
``GET /v1/retention``  200 with the rules in the map's order: their last report, their last run, when the next is due
=====================  ==============================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from erasure.domain.retention_runs import EndedRun, KnownRule
from erasure.domain.target_spec import AgeRule, TargetSpec
from erasure.domain.times import format_time
from erasure.entry.exchange import BACKEND, Call, Refusal, Route, answer
from erasure.entry.native import READ
from erasure.entry.problem import problem
from erasure.errors import ForbiddenError
from erasure.services.retention_rules import RetentionPolicy, next_run, rules_of

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.api_gateway import Response

    from erasure.ports import DataMapStore, PinnedMap
    from erasure.services.retention_rules import RuleStore

REPORTING, WAITING, ERASING = "reporting", "waiting", "erasing"
STATES = (REPORTING, WAITING, ERASING)
"""Nothing goes by the rule yet, for it has no report or is for reports only; it has one, and its first run is still to
come; it runs."""


class RetentionFamily:
    """``policy``: that of the sweep which begins the runs."""

    def __init__(self, rules: RuleStore, data_maps: DataMapStore, policy: RetentionPolicy) -> None:
        self._rules = rules
        self._data_maps = data_maps
        self._policy = policy

    def routes(self) -> list[Route]:
        return [Route("GET", "/v1/retention", BACKEND, self.list, READ)]

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:
        return problem(call, error, refusal)

    def list(self, call: Call) -> Response[str]:
        if not call.caller.is_platform:
            raise ForbiddenError("insufficient_permissions", "Only a platform key may see the retention rules.")
        return answer(200, {"rules": shown_rules(self._data_maps.current(), self._rules, self._policy)})


def shown_rules(data_map: PinnedMap | None, rules: RuleStore, policy: RetentionPolicy) -> list[dict[str, Any]]:
    """The map's rules, in its order, with what is known of them."""
    current = {} if data_map is None else rules_of(data_map.targets)
    known = {rule.rule_digest: rule for rule in rules.list()} if current else {}
    return [
        _shown(spec, age, known.get(digest, KnownRule(digest, spec.name)), policy)
        for digest, (spec, age) in current.items()
    ]


def _shown(spec: TargetSpec, age: AgeRule, known: KnownRule, policy: RetentionPolicy) -> dict[str, Any]:
    shown: dict[str, Any] = {"target": spec.name, "older_than": age.older_than}
    if age.attribute is not None:
        shown["attribute"] = age.attribute
    shown |= {"mode": "report" if age.only_report else "erase", "state": _state(age, known)}
    if known.report is not None:
        shown["last_report"] = _ended(known.report, "matched")
    if known.run is not None:
        shown["last_run"] = _ended(known.run, "erased")
    following = next_run(known, age, policy)
    if following is not None and following.at is not None:
        shown["next_at"] = format_time(following.at)
    return shown


def _state(age: AgeRule, known: KnownRule) -> str:
    if age.only_report or known.report is None:
        return REPORTING
    return ERASING if known.begun is not None and known.begun.mode == "erase" else WAITING


def _ended(ended: EndedRun, count: str) -> dict[str, Any]:
    shown = {"at": format_time(ended.ended_at), "request_id": ended.request_id, count: ended.count}
    return shown | {name: value for name, value in (("kept", ended.kept), ("unreadable", ended.unreadable)) if value}
