"""The routes for legal holds and suppressions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from erasure_client.testing._checks import (
    BrokenRuleRefused,
    check_fields,
    check_identifiers,
    check_limit,
    check_moment,
    check_text,
    format_time,
    not_found,
)
from erasure_client.testing._erasing import Erasing
from erasure_client.testing._exchange import NATIVE, Call, Reply, Route, Whom
from erasure_client.testing._native import READ, WRITE, subject_of
from erasure_client.testing._records import HELD, REQUESTED, STARTED, Hold
from erasure_client.testing._state import State

_HOLDS, _SUPPRESSIONS = "/v1/legal-holds", "/v1/suppressions"
_MAX_HOLD_BODY = 64 * 1024
_CURSOR = re.compile("[0-9a-f]{64}")
T = TypeVar("T")


class Holds:
    def __init__(self, state: State, erasing: Erasing) -> None:
        self._state = state
        self._erasing = erasing

    def routes(self) -> list[Route]:
        one = f"{_HOLDS}/{{subject_id}}"
        return [
            Route("GET", _HOLDS, NATIVE, self.list, READ),
            Route("GET", one, NATIVE, self.show, READ),
            Route("PUT", one, NATIVE, self.put, "holds:write"),
            Route("DELETE", one, NATIVE, self.lift, "holds:write"),
        ]

    def list(self, call: Call) -> Reply:
        own = [hold for hold in self._state.holds.values() if hold.whom.tenant_id == call.backend.tenant_id]
        return Reply(200, _page(call, "legal_holds", own, lambda hold: hold.subject_digest, _shown))

    def show(self, call: Call) -> Reply:
        hold = self._state.holds.get(_subject(call))
        if hold is None:
            raise not_found()
        return Reply(200, _shown(hold))

    def put(self, call: Call) -> Reply:
        whom, body = _subject(call), call.json_object(_MAX_HOLD_BODY)
        check_fields(body, "body", ("reason", "author", "until", "aliases"))
        reason = check_text(body.get("reason"), "reason", 500)
        author = check_text(body.get("author"), "author", 200)
        until = check_moment(body["until"], "until") if "until" in body else None
        listed = body.get("aliases", [])
        named = () if listed == [] else check_identifiers(listed, "aliases", 20)
        moment = None if until is None else format_time(until)
        meant = json.dumps([*whom, reason, author, moment, sorted(named)])
        aliases = tuple(dict.fromkeys(alias for alias in named if alias != whom.id))
        reply: Reply = self._state.once(
            whom.tenant_id,
            "holds.put",
            call.idempotency_key,
            meant,
            lambda: self.hold(whom, reason, author, until, aliases),
        )
        return reply

    def hold(
        self, whom: Whom, reason: str, author: str, until: datetime | None = None, aliases: tuple[str, ...] = ()
    ) -> Reply:
        """Put a hold, or change the one that there is."""
        for field, text in (("reason", reason), ("author", author)):
            if _mentions(text, [whom.id, *aliases]):
                raise BrokenRuleRefused(field, "must not name the subject by any of its ids: it is kept in clear")
        now = self._state.now()
        if until is not None and until <= now:
            raise BrokenRuleRefused("until", "must be in the future")
        known = self._state.holds.get(whom)
        says = (reason, author, until, set(aliases))
        if known is None or (known.reason, known.author, known.until, set(known.aliases)) != says:
            hold_id = self._state.new_id("lh_") if known is None else known.hold_id
            digest = self._state.digest("subject", *whom)
            self._state.holds[whom] = Hold(hold_id, whom, digest, reason, author, now, until, aliases)
        hold = self._state.holds[whom]
        for record in self._state.requests.values():
            if record.state in (REQUESTED, STARTED) and record.purged_at is None and hold.concerns(record.whom):
                self._erasing.hold(record, hold)
        held = sum(record.state == HELD and hold.concerns(record.whom) for record in self._state.requests.values())
        return Reply(201 if known is None else 200, {**_shown(hold), "held_requests": held})

    def lift(self, call: Call) -> Reply:
        whom = _subject(call)

        def lift() -> None:
            if self._state.holds.pop(whom, None) is None:
                raise not_found()
            self._erasing.resume()

        self._state.once(whom.tenant_id, "holds.delete", call.idempotency_key, json.dumps(whom), lift)
        return Reply(204)


class Suppressions:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        one = f"{_SUPPRESSIONS}/{{subject_id}}"
        return [
            Route("GET", _SUPPRESSIONS, NATIVE, self.list, READ),
            Route("GET", one, NATIVE, self.show, READ),
            Route("DELETE", one, NATIVE, self.lift, WRITE),
        ]

    def list(self, call: Call) -> Reply:
        own = [whom for whom in self._state.suppressed if whom.tenant_id == call.backend.tenant_id]
        return Reply(200, _page(call, "suppressions", own, self._digest, self._shown))

    def show(self, call: Call) -> Reply:
        whom = subject_of(call, call.values["subject_id"])
        if whom not in self._state.suppressed:
            raise not_found()
        return Reply(200, self._shown(whom))

    def lift(self, call: Call) -> Reply:
        whom = _subject(call)

        def lift() -> None:
            if self._state.suppressed.pop(whom, None) is None:
                raise not_found()

        self._state.once(whom.tenant_id, "suppressions.delete", call.idempotency_key, json.dumps(whom), lift)
        return Reply(204)

    def _digest(self, whom: Whom) -> str:
        return self._state.digest("subject", *whom)

    def _shown(self, whom: Whom) -> dict[str, Any]:
        request_id, at = self._state.suppressed[whom]
        return {
            "subject_digest": self._digest(whom),
            "subject_type": whom.type,
            "suppressed_at": format_time(at),
            "request_id": request_id,
        }


def _page(
    call: Call, name: str, own: Iterable[T], digest_of: Callable[[T], str], shown: Callable[[T], dict[str, Any]]
) -> dict[str, Any]:
    cursor, limit = call.query.get("cursor"), check_limit(call.query.get("limit"))
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise BrokenRuleRefused("cursor", "must be one that an earlier page gave")
    found = [each for each in sorted(own, key=digest_of) if cursor is None or digest_of(each) > cursor]
    body: dict[str, Any] = {name: [shown(each) for each in found[:limit]]}
    if len(found) > limit:
        body["cursor"] = digest_of(found[limit - 1])
    return body


def _subject(call: Call) -> Whom:
    if not call.query.keys() <= {"type"}:
        raise BrokenRuleRefused("query", "may only hold type")
    return subject_of(call, call.values["subject_id"])


def _shown(hold: Hold) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "hold_id": hold.hold_id,
        "subject_type": hold.whom.type,
        "subject_digest": hold.subject_digest,
        "reason": hold.reason,
        "author": hold.author,
        "set_at": format_time(hold.set_at),
    }
    if hold.until is not None:
        shown["until"] = format_time(hold.until)
    return {**shown, "aliases": len(hold.aliases)}


def _mentions(text: str, ids: Sequence[str]) -> bool:
    """Whether the text has one of the ids as a whole word."""
    return any(re.search(rf"(?<!\w){re.escape(_folded(each))}(?!\w)", _folded(text)) for each in ids)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
