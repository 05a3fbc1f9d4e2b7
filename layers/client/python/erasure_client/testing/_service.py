"""The service in memory, behind one door for both clients."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from erasure_client._subjects import SubjectLike, as_subject
from erasure_client.testing._accounts import Accounts
from erasure_client.testing._checks import BrokenRuleRefused, Refused, check_identifier, check_type
from erasure_client.testing._erasing import Erasing
from erasure_client.testing._exchange import GATEWAY, Call, Reply, Route, Whom, decoded, match, refusal
from erasure_client.testing._gate import Gate, too_many
from erasure_client.testing._lists import Holds, Suppressions
from erasure_client.testing._maps import EXAMPLE_MAP
from erasure_client.testing._native import Requests
from erasure_client.testing._own import OwnData
from erasure_client.testing._records import FINISHED, STARTED, FakeUser, Keep, Record
from erasure_client.testing._settings import PLATFORM, SCOPES, Settings
from erasure_client.testing._state import State

if TYPE_CHECKING:
    from erasure_client import AsyncErasureClient, ErasureClient

_OF_GATEWAY = {
    413: "The request is too large.",
    502: "The service did not answer.",
    503: "Internal error.",
    504: "The service did not answer in time.",
}
_CODES = {
    401: "invalid_api_key",
    403: "insufficient_permissions",
    404: "resource_not_found",
    409: "conflict",
    429: "rate_limit_exceeded",
}


class FakeCall(NamedTuple):
    """A call that the fake was sent. ``path``: its template, such as ``/v1/erasure-requests/{request_id}``; an unknown
    path is an empty one. ``status``: of the answer, ``None`` if it got lost."""

    method: str
    path: str
    idempotency_key: str | None
    status: int | None


@dataclass(frozen=True, slots=True)
class _Mishap:
    """What is to go wrong with a call. ``refused``: the answer in the place of its own; ``None``: there is none."""

    refused: Refused | None
    after_work: bool


class FakeService(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The service, for the tests of an application that calls it.

    ``tenants``: the tenants that there are; the first one is that of whatever names none. ``data_map``: the document;
    by default one with the targets accounts, sessions, credentials, memberships, documents, files (which alone tells
    organizations apart), preferences and invoices of users, group-documents and organization-documents.
    ``auto_finish``: what is accepted is carried out at once, and otherwise when :meth:`run` or :meth:`finish` is
    called. ``clock``: the time, by default the real one; :meth:`advance` adds to it. ``calls_per_minute``: of keys that
    have no limit of their own.

    An httpx transport, for both clients: ``ErasureClient(service.url, api_key=service.api_key, transport=service)`` is
    what :meth:`client` does. It may be used by several threads.
    """

    url = "https://erasure.test"

    def __init__(
        self,
        *tenants: str,
        data_map: Mapping[str, Any] = EXAMPLE_MAP,
        auto_finish: bool = False,
        clock: Callable[[], datetime] | None = None,
        calls_per_minute: int = 600,
    ) -> None:
        self.tenants = tenants or ("acme",)
        self.calls: list[FakeCall] = []
        self._lock = threading.RLock()
        self._mishaps: deque[_Mishap] = deque()
        self._auto_finish = auto_finish
        state = self._state = State(data_map, clock or _real_time, calls_per_minute=calls_per_minute)
        self._erasing = Erasing(state)
        self._gate = Gate(state)
        requests = Requests(state, self._erasing)
        self._holds, self._settings = Holds(state, self._erasing), Settings(state)
        people = OwnData(state, self._erasing, requests, works_at_once=auto_finish)
        families = (people, Accounts(state, self._erasing, requests), requests, self._holds, Suppressions(state))
        self._routes: list[Route] = [route for family in families for route in family.routes()]
        self._routes += self._settings.routes()
        self.api_key = self.make_key()
        """A key of the first tenant that may do everything a tenant's key can."""

    def __repr__(self) -> str:
        return f"FakeService({len(self.calls)} calls)"

    # Who calls.

    def client(self, **options: Any) -> ErasureClient:
        """A client of this service with :attr:`api_key`, unless the options say otherwise."""
        from erasure_client import ErasureClient

        return ErasureClient(**self._options(options))

    def async_client(self, **options: Any) -> AsyncErasureClient:
        from erasure_client import AsyncErasureClient

        return AsyncErasureClient(**self._options(options))

    def make_key(
        self,
        tenant_id: str | None = None,
        *,
        scopes: Iterable[str] = SCOPES,
        is_platform: bool = False,
        valid_until: datetime | None = None,
        calls_per_minute: int | None = None,
    ) -> str:
        """A new key's text. ``is_platform``: one that names the tenant of each call."""
        with self._lock:
            owner = PLATFORM if is_platform else self._tenant(tenant_id)
            unknown = set(scopes) - set(SCOPES)
            if unknown:
                raise ValueError(f"there are only the scopes {', '.join(SCOPES)}")
            key = self._settings.make_key(
                owner, frozenset(scopes), valid_until=valid_until, calls_per_minute=calls_per_minute
            )
            return key.text

    def token(self, user_id: str, *, tenant_id: str | None = None, valid_for: timedelta = timedelta(hours=1)) -> str:
        """A token of that person, which this service alone knows: for ``ErasureClient(token=…)``."""
        with self._lock:
            text = f"fake-token-{uuid.uuid4().hex}"
            self._state.tokens[text] = (self._whom(user_id, tenant_id), self._state.now() + valid_for)
            return text

    # The application's data.

    def add_user(self, subject: SubjectLike, *, tenant_id: str | None = None, **things: int) -> FakeUser:
        """Somebody of whom the application keeps things: so many by target, ``_`` in a name standing for ``-`` where
        there is no such target. A user has one thing in each target of the category ``account`` besides, unless it is
        named: a user without an account does not exist. A second call adds to the first."""
        with self._lock:
            whom = self._whom(subject, tenant_id)
            named = {self._target(name): count for name, count in things.items()}
            is_new = whom.type == "user" and whom not in self._state.users
            accounts = [target.name for target in self._state.map.accounts()] if is_new else []
            user = self._state.user(whom)
            for name, count in {**dict.fromkeys(accounts, 1), **named}.items():
                user.put(name, count)
            return user

    def user(self, subject: SubjectLike, *, tenant_id: str | None = None) -> FakeUser:
        """What the application keeps of them: ``service.user("ann").things``. Raises ``LookupError`` for somebody whom
        :meth:`add_user` has not added."""
        known = self._state.users.get(self._whom(subject, tenant_id))
        if known is None:
            raise LookupError("no such subject was added to the fake service")
        return known

    def erased(self, subject: SubjectLike, *, tenant_id: str | None = None) -> bool:
        """Whether an erasure of them has finished and nothing of them is left, in any target."""
        with self._lock:
            whom = self._whom(subject, tenant_id)
            digest, user = self._state.digest("subject", *whom), self._state.users.get(whom)
            ended = any(
                record.state == FINISHED and record.subject_digest == digest for record in self._state.requests.values()
            )
            return ended and (user is None or not user.things)

    def suppress(self, subject: SubjectLike, *, tenant_id: str | None = None) -> None:
        """Put them on the suppression list, as a deletion request of the June family does."""
        with self._lock:
            place = (self._state.new_id("er_"), self._state.now())
            self._state.suppressed[self._whom(subject, tenant_id)] = place

    # What the service does by itself.

    def run(self) -> list[str]:
        """Let it work on all that it would work on by now: what is requested and due, what has been retried, holds that
        end, records to purge. Returns the ids of the requests that it has worked on."""
        with self._lock:
            return self._erasing.run()

    def finish(self, *request_ids: str) -> None:
        """Let it work on these requests, or on everything. Raises ``ValueError`` for one that it would not work on now:
        cancelled, held, finished, waiting for its time, or waiting for a retry."""
        with self._lock:
            if not request_ids:
                self._erasing.run()
            for record in map(self._record, request_ids):
                if not self._erasing.run([record]):
                    raise ValueError(f"the request is {record.state}, and nothing works on it now")

    def start(self, request_id: str) -> None:
        """Let a job begin with the request, and not get on: :meth:`work` does, :meth:`finish` ends it. Raises
        ``ValueError`` as :meth:`finish` does."""
        with self._lock:
            record = self._record(request_id)
            if not self._erasing.start(record):
                raise ValueError(f"the request is {record.state}, and nothing works on it now")

    def work(self, request_id: str, target: str, count: int = 0, *, state: str = "erasing") -> None:
        """Show progress of a request that was started: so many things of the target are gone, which is ``waiting``,
        ``erasing`` or ``verifying``."""
        with self._lock:
            record, name = self._record(request_id), self._target(target)
            if (
                record.state != STARTED
                or name not in record.working
                or state not in ("waiting", "erasing", "verifying")
            ):
                raise ValueError("no job has that target of the request, or there is no such state")
            record.working[name] = (state, count)

    def fail(self, target: str, *, reason: str = "access_denied") -> None:
        """From now on nothing can be erased in the target, until :meth:`mend`."""
        self._state.failing[self._target(target)] = reason

    def mend(self, target: str) -> None:
        self._state.failing.pop(self._target(target), None)

    def retain(
        self, target: str, *, basis: str | None = "tax law", until: datetime | None = None, most: int | None = None
    ) -> None:
        """From now on things of the target stay: all of a subject's, or ``most`` of them. By the law's ``basis``, or
        with ``None`` because of a lock. Not after ``until``."""
        if until is not None and until.tzinfo is None:
            raise ValueError("until must be a time with its offset")
        self._state.keeping[self._target(target)] = Keep(basis, until, most)

    def hold(self, subject: SubjectLike, *, reason: str = "Litigation", tenant_id: str | None = None) -> None:
        """Put a legal hold, as somebody else's call would."""
        with self._lock:
            self._holds.hold(self._whom(subject, tenant_id), reason, "legal@example.com")

    # Time and mishaps.

    def now(self) -> datetime:
        """By the service's clock, in UTC."""
        return self._state.now()

    def advance(self, time: timedelta) -> None:
        """Let time pass. What has come due is worked on by :meth:`run`, or at once with ``auto_finish``."""
        with self._lock:
            if time < timedelta():
                raise ValueError("time does not go back")
            self._state.advance(time)
            if self._auto_finish:
                self._erasing.run()

    def refuse_next(
        self, status: int = 500, *, retry_after: int | None = None, after_work: bool = False, times: int = 1
    ) -> None:
        """Answer the next call (or so many) with an error. ``after_work``: the service has done what was asked all the
        same, as when a gateway gives up waiting."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == 429:
            refused = too_many(retry_after or 1)
        else:
            message = _OF_GATEWAY.get(status, "The fake service was told to refuse this call.")
            code = _CODES.get(status, "internal_error" if status >= 500 else "invalid_request")
            refused = Refused(status, code, message, headers=headers)
        self._mishaps.extend([_Mishap(refused, after_work)] * times)

    def lose_next_answer(self, *, after_work: bool = True, times: int = 1) -> None:
        """Break the connection of the next call (or so many): after the service has done what was asked, or before."""
        self._mishaps.extend([_Mishap(None, after_work)] * times)

    # httpx.

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._handle(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._handle(request, await request.aread())

    def close(self) -> None:
        """Nothing: a client that is closed does not end the service."""

    async def aclose(self) -> None:
        """Nothing, too."""

    def _handle(self, request: httpx.Request, content: bytes) -> httpx.Response:
        # The raw path: the address itself may not show it.
        target, call_id = request.url.raw_path.decode("ascii"), str(uuid.uuid4())
        call = Call(request.method, target, request.headers, content, call_id)
        with self._lock:
            route = self._route(call)
            mishap = self._mishaps.popleft() if self._mishaps else None
            reply = (
                self._refused(route, mishap, call) if mishap and not mishap.after_work else self._answer(route, call)
            )
            if mishap is not None and mishap.after_work:
                reply = self._refused(route, mishap, call)
            path = "" if route is None else route.path
            status = None if reply is None else reply.status
            self.calls.append(FakeCall(call.method, path, call.headers.get("idempotency-key"), status))
        if reply is None:
            raise httpx.ReadError("the fake service has lost the answer", request=request)
        headers = {"Content-Type": "application/json", **reply.headers}
        headers |= {"Cache-Control": "no-store", "X-Request-Id": call_id}
        return httpx.Response(reply.status, headers=headers, content=reply.content, request=request)

    def _route(self, call: Call) -> Route | None:
        for route in self._routes:
            values = match(route.path, call.path) if route.method == call.method else None
            if values is not None:
                call.values = values
                return route
        return None

    def _refused(self, route: Route | None, mishap: _Mishap, call: Call) -> Reply | None:
        if mishap.refused is None:
            return None
        is_gateways = route is None or mishap.refused.status in _OF_GATEWAY
        return refusal(GATEWAY if is_gateways or route is None else route.family, mishap.refused, call.call_id)

    def _answer(self, route: Route | None, call: Call) -> Reply:
        if route is None:
            return refusal(GATEWAY, Refused(404, "", "There is no such resource."), call.call_id)
        try:
            self._let_in(route, call)
            call.values = {name: decoded(value, name) for name, value in call.values.items()}
            reply = route.handler(call)
        except Refused as error:
            reply = refusal(route.family, error, call.call_id)
        reply = Reply(reply.status, reply.body, {**reply.headers, **call.rate})
        if self._auto_finish:
            self._erasing.run()
        return reply

    def _let_in(self, route: Route, call: Call) -> None:
        """Raises :class:`Refused`."""
        if route.is_open:
            return
        if not route.scope:
            call.person = self._gate.person(call)
            return
        found, call.rate = self._gate.backend(call, route.scope)
        if isinstance(found, Refused):
            raise found
        call.caller = found
        if route.path.endswith("}") and call.path.endswith("/"):
            rule = "must have no slash behind it; one that is part of it is %2F"
            raise BrokenRuleRefused([*call.values][-1], rule)

    # What is named in calls of this object.

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {"base_url": self.url, "transport": self}
        if "token" not in options:
            known["api_key"] = self.api_key
        return {**known, **options}

    def _tenant(self, tenant_id: str | None) -> str:
        if tenant_id is not None and tenant_id not in self.tenants:
            raise LookupError("the fake service was made without this tenant")
        return tenant_id or self.tenants[0]

    def _whom(self, subject: SubjectLike, tenant_id: str | None) -> Whom:
        named = as_subject(subject)
        return Whom(self._tenant(tenant_id), check_type(named.type, "type"), check_identifier(named.id, "subject_id"))

    def _target(self, name: str) -> str:
        names = {target.name for target in self._state.map.targets}
        for known in (name, name.replace("_", "-")):
            if known in names:
                return known
        raise LookupError(f"the data map has only the targets {', '.join(sorted(names))}")

    def _record(self, request_id: str) -> Record:
        record = self._state.requests.get(request_id)
        if record is None:
            raise LookupError("there is no such request in the fake service")
        return record


def _real_time() -> datetime:
    return datetime.now(UTC)
