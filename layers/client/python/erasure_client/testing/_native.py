"""The native routes for requests: create, try, plan, list, show, cancel, retry, expedite, audit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from erasure_client.testing._checks import (
    MAX_SUBJECTS,
    BrokenRuleRefused,
    Refused,
    check_categories,
    check_fields,
    check_identifier,
    check_limit,
    check_moment,
    check_organizations,
    check_type,
    format_time,
    not_found,
    wrong_state,
)
from erasure_client.testing._erasing import Erasing
from erasure_client.testing._exchange import MAX_BULK_BODY, NATIVE, Call, Reply, Route, Whom
from erasure_client.testing._maps import Target, whose_rule
from erasure_client.testing._records import CANCELLED, FINISHED, REQUESTED, STARTED, STATES, Record, digest_of
from erasure_client.testing._shown import shown_request, shown_view
from erasure_client.testing._state import PURGE, SLA, State

READ, WRITE = "erasure:read", "erasure:write"
_PATH = "/v1/erasure-requests"
_ONE = f"{_PATH}/{{request_id}}"
_FIELDS = ("subjects", "categories", "scope", "not_before", "dry_run", "plan_hash")
_REQUEST_ID = re.compile("er_[0-7][0-9A-HJKMNP-TV-Z]{25}")
_PLAN_HASH = re.compile("[0-9a-f]{64}")
_UNCOVERED = "is covered by no target of the data map as it is asked for, so nothing could be erased"
_MOST_PLANNED, _MOST_PREVIEWED, _MOST_COUNTED = 20_000, 10, 1000
_MOST_AHEAD = timedelta(days=5 * 366)


@dataclass(frozen=True, slots=True)
class Command:
    """What is asked for. ``subjects``: different ones, in their order, with the position at which each stands first."""

    subjects: Mapping[Whom, int]
    organization_ids: tuple[str, ...] = ()
    categories: tuple[str, ...] | None = None
    not_before: datetime | None = None
    plan_hash: str | None = None
    family: str = NATIVE
    field: str = "subjects[{}].id"

    def field_of(self, whom: Whom) -> str:
        return self.field.format(self.subjects[whom])


class Requests:
    def __init__(self, state: State, erasing: Erasing) -> None:
        self._state = state
        self._erasing = erasing

    def routes(self) -> list[Route]:
        return [
            Route("POST", _PATH, NATIVE, self.create, WRITE),
            Route("GET", _PATH, NATIVE, self.list, READ),
            Route("POST", "/v1/erasure-plans", NATIVE, self.plan, READ),
            Route("GET", _ONE, NATIVE, self.show, READ),
            Route("POST", f"{_ONE}/cancel", NATIVE, self.cancel, WRITE),
            Route("POST", f"{_ONE}/retry", NATIVE, self.retry, WRITE),
            Route("POST", f"{_ONE}/expedite", NATIVE, self.expedite, WRITE),
            Route("GET", f"{_ONE}/audit", NATIVE, self.audit, READ),
        ]

    # Creating.

    def create(self, call: Call) -> Reply:
        body = call.json_object(MAX_BULK_BODY)
        command, is_dry_run = self._command(body, call)
        tenant_id, key = call.backend.tenant_id, call.idempotency_key
        until = None if command.not_before is None else format_time(command.not_before)
        meant = json.dumps(
            [body["subjects"], command.organization_ids, until, command.categories, command.plan_hash], sort_keys=True
        )
        self._check_moment(command, None if key is None else (tenant_id, "native.create", key))
        self.check(command)
        if is_dry_run:
            return self._try(command)
        told: Reply = self._state.once(
            tenant_id, "native.create", key, meant, lambda: self._create(command, call.backend.key_id)
        )
        return told

    def _create(self, command: Command, key_id: str) -> Reply:
        state, is_single = self._state, len(command.subjects) == 1
        if command.plan_hash is not None and command.plan_hash != self.plan_hash(command, next(iter(command.subjects))):
            message = "What would be erased has changed since the plan was made: make another one."
            raise Refused(409, "plan_changed", message)
        reasons = {whom: self.refusal(command, whom, strict=is_single) for whom in command.subjects}
        batch_id, results, accepted = state.new_id("eb_"), [], []
        for whom, reason in reasons.items():
            result: dict[str, Any] = {"subject": {"type": whom.type, "id": whom.id}}
            if reason is None:
                record = self._erasing.accept(
                    whom,
                    NATIVE,
                    key_id,
                    categories=command.categories,
                    organization_ids=command.organization_ids,
                    not_before=command.not_before,
                    batch_id=None if is_single else batch_id,
                )
                accepted.append(record.request_id)
                results.append({**result, "status": "accepted", "request": shown_request(record)})
            else:
                results.append({**result, "status": "refused", "reason": reason})
        headers = {"X-Erasure-Request-Id": accepted[0] if is_single else batch_id} if accepted else {}
        return Reply(202, {"batch_id": batch_id, "requests": results}, headers)

    def _try(self, command: Command) -> Reply:
        plans = []
        for whom in command.subjects:
            if command.plan_hash is not None and command.plan_hash != self.plan_hash(command, whom):
                message = "What would be erased has changed since the plan was made: make another one."
                raise Refused(409, "plan_changed", message)
            plan: dict[str, Any] = {"subject": {"type": whom.type, "id": whom.id}}
            if command.not_before is not None:
                plan["not_before"] = format_time(command.not_before)
            plan["targets"] = [self._tried(command, whom, target) for target in self._covered(command, whom)]
            plan["out_of_scope"] = self._out_of_scope(command, whom)
            plans.append(plan)
        if sum(len(plan["targets"]) + len(plan["out_of_scope"]) for plan in plans) > _MOST_PLANNED:
            rule = f"must not come to more than {_MOST_PLANNED} targets in a dry run"
            raise BrokenRuleRefused("subjects", rule, of_the_call=True)
        return Reply(200, {"dry_run": True, "plans": plans})

    def _tried(self, command: Command, whom: Whom, target: Target) -> dict[str, Any]:
        shown = {"name": target.name, "category": target.category, "kind": target.kind, "action": target.action}
        is_wrong = target.wrong_id(whom, command.organization_ids) is not None
        return {**shown, "reason": "ambiguous_identifier"} if is_wrong else shown

    def check(self, command: Command) -> None:
        """What a call may ask for at all."""
        if command.plan_hash is not None and len(command.subjects) > 1:
            raise BrokenRuleRefused("plan_hash", "can only be sent for a single subject")
        if not command.subjects:
            raise BrokenRuleRefused("subjects", "must not be empty")
        if len(command.subjects) > MAX_SUBJECTS:
            field = command.field.partition("[")[0]
            raise BrokenRuleRefused(field, f"must not name more than {MAX_SUBJECTS} different ones")

    def refusal(self, command: Command, whom: Whom, *, strict: bool) -> str | None:
        """Why the subject is refused; ``strict``: that refuses the call."""
        targets = self._covered(command, whom)
        if not targets:
            if strict:
                raise BrokenRuleRefused(command.field_of(whom), _UNCOVERED, reason="not_covered")
            return "not_covered"
        wrong = [target.wrong_id(whom, command.organization_ids) for target in targets]
        whose = next((each for each in wrong if each is not None), None)
        if whose is None:
            return None
        if strict or whose != "subject":
            raise whose_rule(whose, command.field_of(whom))
        return "ambiguous_identifier"

    def _check_moment(self, command: Command, place: tuple[str, str, str] | None) -> None:
        """The rules by the clock. A repeated call was checked when it came first."""
        moment, now = command.not_before, self._state.now()
        if moment is None:
            return
        if moment > now + _MOST_AHEAD:
            raise BrokenRuleRefused("not_before", "must be at most 5 years ahead")
        known = None if place is None else self._state.remembered.get(place)
        if moment <= now and (known is None or known.until <= now):
            raise BrokenRuleRefused("not_before", "must be in the future")

    def _covered(self, command: Command, whom: Whom) -> Sequence[Target]:
        return self._state.map.covers(command.family, whom.type, command.categories, command.organization_ids)

    def _out_of_scope(self, command: Command, whom: Whom) -> Sequence[str]:
        covered = self._covered(command, whom)
        everywhere = self._state.map.covers(command.family, whom.type, command.categories)
        return [target.name for target in everywhere if target not in covered]

    def plan_hash(self, command: Command, whom: Whom) -> str:
        targets = [
            [target.name, target.action, target.wrong_id(whom, command.organization_ids)]
            for target in self._covered(command, whom)
        ]
        return digest_of(
            [self._state.map.digest, self._state.digest("subject", *whom), sorted(command.organization_ids), targets]
        )

    # Planning.

    def plan(self, call: Call) -> Reply:
        body = call.json_object(MAX_BULK_BODY)
        check_fields(body, "body", ("subject", "subjects", "categories", "scope"))
        tenant_id = call.backend.tenant_id
        if "subject" in body:
            if "subjects" in body:
                raise BrokenRuleRefused("subjects", "must not be sent together with subject")
            subjects = {one_subject(body["subject"], "subject", tenant_id): 0}
        else:
            subjects = _subjects(body.get("subjects"), tenant_id)
        command = Command(
            subjects,
            _organizations(body["scope"], subjects) if "scope" in body else (),
            check_categories(body["categories"]) if "categories" in body else None,
        )
        if not subjects:
            raise BrokenRuleRefused("subjects", "must not be empty")
        if len(subjects) > _MOST_PREVIEWED:
            raise BrokenRuleRefused("subjects", f"must not name more than {_MOST_PREVIEWED} different ones")
        plans = [
            {
                "subject": {"type": whom.type, "id": whom.id},
                "plan_hash": self.plan_hash(command, whom),
                "targets": [{"name": name, **shown} for name, shown in self.previews(command, whom)],
                "out_of_scope": self._out_of_scope(command, whom),
            }
            for whom in subjects
        ]
        return Reply(200, {"plans": plans})

    def previews(self, command: Command, whom: Whom) -> list[tuple[str, dict[str, Any]]]:
        """By target, what an erasure would find now."""
        return [(target.name, self._preview(command, whom, target)) for target in self._covered(command, whom)]

    def _preview(self, command: Command, whom: Whom, target: Target) -> dict[str, Any]:
        shown: dict[str, Any] = {"category": target.category, "action": target.action}
        if target.wrong_id(whom, command.organization_ids) is not None:
            return {**shown, "count": None, "problem": "ambiguous_identifier"}
        if target.name in self._state.failing:
            return {**shown, "count": None, "problem": self._state.failing[target.name]}
        user = self._state.users.get(whom)
        there = 0 if user is None else user.count(target.name, command.organization_ids)
        kept, until, basis = self._erasing.kept(target, there)
        shown["count"] = min(there - kept, _MOST_COUNTED)
        if there - kept > _MOST_COUNTED:
            shown["more"] = True
        if kept:
            shown |= {"kept": kept, "until": until}
            if basis is not None:
                shown["basis"] = basis
        return shown

    # Looking.

    def list(self, call: Call) -> Reply:
        state, subject_id, cursor = call.query.get("state"), call.query.get("subject_id"), call.query.get("cursor")
        if state is not None and state not in STATES:
            raise BrokenRuleRefused("state", f"must be one of {', '.join(STATES)}")
        whom = None if subject_id is None else subject_of(call, subject_id)
        limit = check_limit(call.query.get("limit"))
        if cursor is not None and not _REQUEST_ID.fullmatch(cursor):
            raise BrokenRuleRefused("cursor", "must be one that an earlier page gave")
        digest = None if whom is None else self._state.digest("subject", *whom)
        found = [
            record
            for record in sorted(self._state.requests.values(), key=lambda each: each.request_id, reverse=True)
            if record.whom.tenant_id == call.backend.tenant_id
            and state in (None, record.state)
            and digest in (None, record.subject_digest)
            and (cursor is None or record.request_id < cursor)
        ]
        body: dict[str, Any] = {"requests": [shown_request(record) for record in found[:limit]]}
        if len(found) > limit:
            body["cursor"] = found[limit - 1].request_id
        return Reply(200, body)

    def show(self, call: Call) -> Reply:
        record = self._own(call)
        planned = [] if record.state in (FINISHED, CANCELLED) else self._erasing.targets(record)
        return Reply(200, shown_view(record, planned, self._state.now()))

    def audit(self, call: Call) -> Reply:
        record = self._own(call)
        return Reply(200, {"id": record.request_id, "whole": True, "entries": record.trail})

    def _own(self, call: Call) -> Record:
        request_id = call.values["request_id"]
        if not _REQUEST_ID.fullmatch(request_id):
            raise not_found()
        return self._state.own(call.backend.tenant_id, request_id)

    # Changing.

    def cancel(self, call: Call) -> Reply:
        tenant_id, request_id, key = call.backend.tenant_id, call.values["request_id"], call.idempotency_key

        def cancel() -> None:
            self._erasing.cancel(self._own(call), call.backend.key_id)

        self._state.once(tenant_id, "native.cancel", key, request_id, cancel)
        return Reply(200, shown_request(self._own(call)))

    def retry(self, call: Call) -> Reply:
        tenant_id, request_id, key = call.backend.tenant_id, call.values["request_id"], call.idempotency_key

        def retry() -> int:
            record = self._own(call)
            if record.state not in (REQUESTED, STARTED) or record.waits(self._state.now()) or record.purged_at:
                raise wrong_state()
            run_id = self._state.new_id("eb_")
            return self._erasing.send_again(record, key_id=call.backend.key_id, run_id=run_id)

        attempt = self._state.once(tenant_id, "retry", key, request_id, retry)
        return Reply(202, {"id": request_id, "attempt": attempt}, {"X-Erasure-Request-Id": request_id})

    def expedite(self, call: Call) -> Reply:
        tenant_id, request_id, key = call.backend.tenant_id, call.values["request_id"], call.idempotency_key

        def expedite() -> None:
            record, now = self._own(call), self._state.now()
            if record.state != REQUESTED or record.not_before is None or record.not_before <= now:
                raise wrong_state()
            details = {
                "key_id": call.backend.key_id,
                "run_id": self._state.new_id("eb_"),
                "not_before": format_time(record.not_before),
            }
            record.not_before, record.due_at, record.purged_by = now, now + SLA, now + PURGE
            record.paused_seconds = 0
            record.note("expedited", now, details)

        self._state.once(tenant_id, "expedite", key, request_id, expedite)
        return Reply(202, shown_request(self._own(call)), {"X-Erasure-Request-Id": request_id})

    def _command(self, body: dict[str, Any], call: Call) -> tuple[Command, bool]:
        check_fields(body, "body", _FIELDS)
        subjects = _subjects(body.get("subjects"), call.backend.tenant_id)
        organization_ids = _organizations(body["scope"], subjects) if "scope" in body else ()
        categories = check_categories(body["categories"]) if "categories" in body else None
        plan_hash = body.get("plan_hash")
        if "plan_hash" in body and not (isinstance(plan_hash, str) and _PLAN_HASH.fullmatch(plan_hash)):
            raise BrokenRuleRefused("plan_hash", "must be one that a plan gave")
        not_before = check_moment(body["not_before"], "not_before") if "not_before" in body else None
        is_dry_run = body.get("dry_run", False)
        if not isinstance(is_dry_run, bool):
            raise BrokenRuleRefused("dry_run", "must be true or false")
        return Command(subjects, organization_ids, categories, not_before, plan_hash), is_dry_run


def subject_of(call: Call, subject_id: str) -> Whom:
    """The subject that a path or query names, with ``type`` in the query."""
    subject_type = call.query.get("type")
    if subject_type is not None:
        check_type(subject_type, "type")
    return Whom(call.backend.tenant_id, subject_type or "user", check_identifier(subject_id, "subject_id"))


def one_subject(value: object, field: str, tenant_id: str) -> Whom:
    if not isinstance(value, dict):
        raise BrokenRuleRefused(field, "must be an object with type and id")
    check_fields(value, field, ("type", "id"))
    subject_type = check_type(value.get("type"), f"{field}.type")
    return Whom(tenant_id, subject_type, check_identifier(value.get("id"), f"{field}.id"))


def _subjects(value: object, tenant_id: str) -> dict[Whom, int]:
    if not isinstance(value, list):
        raise BrokenRuleRefused("subjects", "must be a list of objects")
    first: dict[Whom, int] = {}
    for position, entry in enumerate(value):
        first.setdefault(one_subject(entry, f"subjects[{position}]", tenant_id), position)
    return first


def _organizations(scope: object, subjects: Mapping[Whom, int]) -> tuple[str, ...]:
    if not isinstance(scope, dict):
        raise BrokenRuleRefused("scope", "must be an object with organization_ids")
    check_fields(scope, "scope", ("organization_ids",))
    if any(whom.type == "organization" for whom in subjects):
        raise BrokenRuleRefused("scope", "cannot limit the erasure of an organization")
    return check_organizations(scope.get("organization_ids"), "scope.organization_ids", len(subjects))
