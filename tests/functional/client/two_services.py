"""The fake of the client's users and the service's own handlers, to be called and moved on alike."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import httpx
from aws_lambda_powertools.logging import Logger

from erasure.domain.clock import ClockPolicy
from erasure.domain.identifiers import new_request_id
from erasure.domain.outcome import Kept
from erasure.domain.subject import Subject, subject_digest
from erasure.domain.times import format_time
from erasure.entry.settings import SubjectApiSettings
from erasure.entry.subject_api import make_subject_api
from erasure.entry.tokens import Principal
from erasure.errors import AuthenticationError
from erasure.ports import PinnedMap, Preview, Suppression
from erasure.services.current_map import CurrentMap
from erasure.services.erasure_plans import ErasurePlans
from erasure.services.held_requests import ResumeDependencies, resume_free
from erasure.services.holds import end_due
from erasure.services.release_due import release_due
from erasure.services.self_deletion import SelfDeletionService
from erasure.services.start_jobs import batch_job_id
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from erasure_client.testing import FakeService
from tests import fake_jobs
from tests.functional.backend_calls import BackendApi
from tests.functional.backend_world import KEY, OTHER_TENANT, TARGETS, TENANT, BackendWorld, a_map
from tests.functional.client.handler_transport import HandlerTransport
from tests.functional.test_h2o_api import ENVIRONMENT

_UNTIL = datetime(2036, 1, 31, tzinfo=UTC)
_TOLD_HEADERS = ("retry-after", "x-erasure-request-id", "www-authenticate", "content-type", "cache-control")
_RATE_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
_OWN_IDS = re.compile("(er|eb|lh)_[0-9A-Z]{26}")
_DIGEST = re.compile("[0-9a-f]{64}")
_KEY = re.compile("sk_(live|test)_[a-z0-9]{16}_[A-Za-z0-9_-]{43}")
_CALL_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DRAWN = {"key_id": "<key id>", "mode": "<mode>", "job_id": "<job>", "delete_id": "<delete id>", "version": "<version>"}
"""Values that differ by what was drawn, or by whose version it is."""


class Seen(NamedTuple):
    """What a caller sees of an answer, without what differs from one time to the next."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Side(Protocol):
    """One of the two services. The one tenant has ``key``, with all scopes of a tenant; ``platform_key`` is all
    tenants'. Time stands still until it is moved."""

    key: str
    platform_key: str

    @property
    def transport(self) -> httpx.BaseTransport: ...

    def make_key(self, tenant_id: str, scopes: Iterable[str]) -> str: ...

    def token(self, user_id: str) -> str: ...

    def put_user(self, user_id: str, count: int) -> None:
        """So many things in every target of users."""

    def left(self, user_id: str) -> set[str]:
        """The targets that hold something of the user."""

    def run(self) -> None:
        """What the service does by itself by now."""

    def advance(self, time: timedelta) -> None: ...

    def fail(self, target: str) -> None: ...

    def mend(self, target: str) -> None: ...

    def keep(self, target: str, count: int, kept: int, basis: str | None) -> None:
        """Of so many things of the target, some stay until 2036; with a ``basis``, which the map has to name, too."""

    def suppress(self, user_id: str) -> None: ...


class Caller:
    """Calls one side. ``raw``: the last answer as it was."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.seen: list[Seen] = []
        self.raw: Any = None
        self.headers: Mapping[str, str] = {}
        self._client = httpx.Client(transport=side.transport, base_url=FakeService.url)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        once: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Returns the body as it was. A millisecond passes with each call, so that what is made has an order.
        ``key``: default the tenant's own, ``""`` none; ``once``: idempotency key; ``body``: text as it is, anything
        else as JSON."""
        self.side.advance(timedelta(milliseconds=1))
        key = self.side.key if key is None else key
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        if once is not None:
            sent["Idempotency-Key"] = once
        content = None if body is None else (body if isinstance(body, str) else json.dumps(body))
        answer = self._client.request(method, path, content=content, headers=sent)
        self.raw = json.loads(answer.content) if answer.content else None
        self.headers = answer.headers
        told = {name: _plain(answer.headers[name]) for name in _TOLD_HEADERS if name in answer.headers}
        rate = {name: answer.headers[name] for name in _RATE_HEADERS if name in answer.headers}
        assert answer.headers["x-request-id"]
        self.seen.append(Seen(answer.status_code, told | rate, _without_chance(self.raw)))
        return self.raw


class Fake:
    """The fake side."""

    def __init__(self, targets: Sequence[Mapping[str, Any]] = TARGETS) -> None:
        world = BackendWorld()
        self.service = FakeService(
            TENANT, OTHER_TENANT, data_map={"version": 1, "targets": list(targets)}, clock=world.clock
        )
        self.transport = self.service
        self.key = self.service.api_key
        self.platform_key = self.service.make_key(is_platform=True)
        self._of_users = [target["name"] for target in targets if target.get("subjects", ["user"]) == ["user"]]

    def make_key(self, tenant_id: str, scopes: Iterable[str]) -> str:
        return self.service.make_key(tenant_id, scopes=scopes)

    def token(self, user_id: str) -> str:
        return self.service.token(user_id)

    def put_user(self, user_id: str, count: int) -> None:
        user = self.service.add_user(user_id, accounts=0)
        for target in self._of_users:
            user.put(target, count)

    def left(self, user_id: str) -> set[str]:
        return set(self.service.user(user_id).things)

    def run(self) -> None:
        self.service.run()

    def advance(self, time: timedelta) -> None:
        self.service.advance(time)

    def fail(self, target: str) -> None:
        self.service.fail(target)

    def mend(self, target: str) -> None:
        self.service.mend(target)

    def keep(self, target: str, count: int, kept: int, basis: str | None) -> None:  # noqa: ARG002 - the other side's
        self.service.retain(target, basis=basis, until=_UNTIL, most=kept)

    def suppress(self, user_id: str) -> None:
        self.service.suppress(user_id)


class Real:
    """The handlers with all that is behind them; the stores are those that pass the contract suites of DynamoDB's."""

    def __init__(self, targets: Sequence[Mapping[str, Any]] = TARGETS) -> None:
        self.world = world = BackendWorld(a_map(targets))
        world.maps.documents[1] = {"version": 1, "targets": list(targets)}
        world.data_reader.preview = self._preview  # type: ignore[method-assign]
        self.backend = BackendApi(world)
        self.key, self.platform_key = self.backend.key, self.backend.make_key("*")
        self._lane = fake_jobs.FakeJobQueue()
        people = SelfDeletionService(
            delete_ids=world.delete_ids,
            acceptance=world.acceptance,
            requests=world.requests,
            data_maps=world.maps,
            queue=self._lane,
            holds=world.holds,
            audit=world.audit,
            digest_key=lambda: KEY,
            now=world.clock,
            sleep=lambda _seconds: self.run(),
            monotonic=world.monotonic,
        )
        plans = ErasurePlans(CurrentMap(world.maps, world.monotonic), world.data_reader, lambda: KEY, world.clock)
        settings = SubjectApiSettings.load(ENVIRONMENT)
        logger = Logger(service=f"subject_api-{uuid4()}", stream=io.StringIO(), level="INFO")
        subject = make_subject_api(people, _NamesAreTokens(), settings, logger, lambda: plans)
        self.transport = HandlerTransport(self.backend.handle, subject)

    def make_key(self, tenant_id: str, scopes: Iterable[str]) -> str:
        return self.backend.make_key(tenant_id, scopes)

    def token(self, user_id: str) -> str:
        return f"token-of-{user_id}"

    def put_user(self, user_id: str, count: int) -> None:
        self.world.put_user(user_id, count=count)

    def left(self, user_id: str) -> set[str]:
        return self.world.left(Subject(TENANT, user_id))

    def run(self) -> None:
        world = self.world
        end_due(holds=world.holds, audit=world.audit, now=world.clock, deadline=Deadline(5))
        resuming = ResumeDependencies(
            world.holds, world.requests, world.requests_by_clock, world.audit, world.queue, world.clock, ClockPolicy()
        )
        resume_free(resuming, Deadline(5))
        release_due(world.requests, world.queue, world.clock, Deadline(5))
        for queue in (world.queue, world.retry_queue, self._lane):
            messages, queue.messages = queue.messages, []
            for request_ids, attempt in messages:
                world.run_job(batch_job_id(sorted(request_ids), attempt), list(request_ids), attempt)

    def advance(self, time: timedelta) -> None:
        self.world.sleep(time.total_seconds())

    def fail(self, target: str) -> None:
        self.world.target.always[target] = SliceResult(0, done=False, problem="access_denied", permanent=True)

    def mend(self, target: str) -> None:
        del self.world.target.always[target]

    def keep(self, target: str, count: int, kept: int, basis: str | None) -> None:  # noqa: ARG002 - the other side's
        self.world.target.always[target] = SliceResult(count - kept, done=True)
        stays = Kept(kept, format_time(_UNTIL))
        self.world.target.always[f"{target}:verify"] = VerifyResult(0, complete=True, kept=stays)

    def suppress(self, user_id: str) -> None:
        digest = subject_digest(KEY, Subject(TENANT, user_id))
        entry = Suppression(digest, "user", self.world.clock(), new_request_id())
        self.world.registry.suppressed[TENANT, digest] = entry

    def _preview(self, subject: Subject, organization_ids: Sequence[str], data_map: PinnedMap) -> list[Preview]:
        deadline, target = Deadline(1), self.world.target
        values = {**subject.values(), "organization_id": "".join(organization_ids[:1])}
        return [
            Preview(
                spec.name, spec.category, spec.action, target.verify(spec, [values], deadline)[0].left if values else 0
            )
            for spec in data_map.targets
        ]


class Both:
    """Both services, called alike."""

    def __init__(self, fake: Fake, real: Real) -> None:
        self.callers = (Caller(fake), Caller(real))
        self.ids: tuple[dict[str, str], ...] = ({}, {})

    def play(self, story: Callable[[Caller], object]) -> None:
        """The story once on each; all that its calls were answered must be equal."""
        for caller in self.callers:
            story(caller)
        fake, real = (caller.seen for caller in self.callers)
        assert real, "the story calls nothing"
        assert fake == real


class _NamesAreTokens:
    def verify(self, authorization: str | None) -> Principal:
        if not authorization or not authorization.startswith("Bearer token-of-"):
            raise AuthenticationError("missing_token")
        name = authorization.removeprefix("Bearer token-of-")
        return Principal(Subject(TENANT, name), name, name, f"{name}@example.com")


def _without_chance(value: Any, name: str = "") -> Any:
    """The value without what was drawn by lot."""
    if isinstance(value, Mapping):
        return {key: _without_chance(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_chance(each) for each in value]
    if name in _DRAWN:
        return _DRAWN[name]
    if name == "event_id":
        return str(value).partition(":")[0]
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    for pattern, word in ((_KEY, "<key>"), (_DIGEST, "<digest>"), (_OWN_IDS, r"<\1>"), (_CALL_ID, "<call>")):
        text = pattern.sub(word, text)
    return text
