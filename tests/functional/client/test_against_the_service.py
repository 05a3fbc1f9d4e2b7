"""Both clients against the service's own handlers: every method once, so that results are of what is really told."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import erasure
from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import new_request_id
from erasure.domain.retention_runs import EndedRun, KnownRule
from erasure.services.retention_rules import rules_of
from erasure_client import (
    AsyncErasureClient,
    BulkResult,
    ConflictError,
    ErasureClient,
    ErasureRequest,
    HeldError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    PlanChangedError,
    StillRunningError,
    StoppedError,
    Subject,
)
from tests.functional.backend_calls import BackendApi
from tests.functional.backend_world import TARGETS, TENANT, USER, BackendWorld, a_map, table
from tests.functional.client.handler_transport import HandlerTransport
from tests.functional.test_h2o_api import Api as SubjectApi

T = TypeVar("T")

URL = "http://localhost"
DOCUMENT = Path(erasure.__file__).with_name("openapi.json")


class Caller:
    """One of the clients, by one manner of calling: ``of`` a client takes what a method gives, awaited or not, and an
    iteration as a list."""

    def __init__(self, service: Service, *, is_async: bool) -> None:
        self.service = service
        self.is_async = is_async
        self._loop = asyncio.new_event_loop() if is_async else None

    def client(self, **options: Any) -> Any:
        options = {"api_key": self.service.backend.key, "transport": self.service.transport, "retries": 0, **options}
        return AsyncErasureClient(URL, **options) if self.is_async else ErasureClient(URL, **options)

    def of(self, given: Any) -> Any:
        if self._loop is None:
            return list(given) if isinstance(given, Iterator) else given
        if inspect.isawaitable(given):
            return self._loop.run_until_complete(_value(given))
        return self._loop.run_until_complete(_all(given)) if hasattr(given, "__aiter__") else given

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


async def _value(given: Any) -> Any:
    return await given


async def _all(given: Any) -> list[Any]:
    return [each async for each in given]


class Service:
    """Both functions of the stack, with a world in memory. ``subject.service`` decides what becomes of a person's own
    deletions."""

    def __init__(self) -> None:
        self.world = BackendWorld()
        self.backend = BackendApi(self.world)
        self.subject = SubjectApi()
        self.transport = HandlerTransport(self.backend.handle, self.subject.handle)
        self.platform_key = self.backend.make_key("*")

    def use_map(self, targets: list[dict[str, Any]]) -> None:
        self.world.maps.maps.append(a_map(targets, version=2))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest, service: Service) -> Iterator[Caller]:
    caller = Caller(service, is_async=request.param == "async")
    yield caller
    caller.close()


@pytest.fixture
def client(caller: Caller) -> Any:
    return caller.client()


@pytest.fixture
def of(caller: Caller) -> Callable[[Any], Any]:
    return caller.of


def accept(of: Callable[[Any], Any], client: Any, subject: str | Subject = USER, **more: Any) -> ErasureRequest:
    request: ErasureRequest = of(client.requests.create(subject, **more)).request
    return request


class TestRequests:
    def test_one_subject(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """Accepted, erased, and finished with every target told."""
        service.world.put_user()
        request = accept(of, client)
        assert (request.subject, request.state, request.is_complete) == (Subject.user(USER), "requested", False)
        service.world.run_batch()
        done = of(client.requests.wait(request.id, timeout=0))
        assert done.is_finished
        assert done.is_complete
        assert {target.state for target in done.targets} == {"erased"}
        assert done.sla.state == "met"
        assert done == of(client.requests.get(request.id))
        assert of(client.requests.audit(request.id)).is_whole
        assert of(client.requests.audit(request.id)).entries[-1].event == "finished"

    def test_several(self, of: Callable[[Any], Any], client: Any) -> None:
        """A disposition for each different subject, in their order; some refused, with their reason."""
        batch = of(client.requests.create(["ann", "a/b", Subject.group("g"), "ann"]))
        assert [(each.subject, each.status, each.reason) for each in batch] == [
            (Subject.user("ann"), "accepted", None),
            (Subject.user("a/b"), "refused", "ambiguous_identifier"),
            (Subject.group("g"), "accepted", None),
        ]
        assert len(batch.request_ids) == len(batch.requests) == 2
        assert batch.requests[0].batch_id == batch.batch_id

    def test_all_terms(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """Categories, organizations and a time are understood as they are meant."""
        not_before = service.world.clock() + timedelta(days=2)
        terms: dict[str, Any] = {"categories": ["content"], "organization_ids": ["org_1"], "not_before": not_before}
        (run,) = of(client.requests.dry_run(USER, **terms))
        assert [target.name for target in run.targets] == ["files"]
        assert run.not_before == not_before
        request = accept(of, client, **terms)
        assert (request.organization_ids, request.not_before) == (("org_1",), not_before)

    def test_a_dry_run_writes_nothing(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """It names what would be covered, and there is no request afterwards."""
        (run,) = of(client.requests.dry_run(USER))
        assert {target.action for target in run.targets} == {"delete"}
        assert service.world.requests.records == {}

    def test_a_plan_that_has_changed(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """What was previewed is erased; another map in between refuses it."""
        (plan,) = of(client.preview(USER))
        assert plan.subject == Subject.user(USER)
        assert accept(of, client, plan_hash=plan.plan_hash).state == "requested"
        service.use_map([*TARGETS, table("letters", "content")])
        with pytest.raises(PlanChangedError):
            of(client.requests.create(USER, plan_hash=plan.plan_hash))

    def test_lists_of_several_pages(self, of: Callable[[Any], Any], client: Any) -> None:
        """Every request once, newest first; of a state, or of a subject."""
        made = [accept(of, client, f"user-{number}").id for number in range(5)]
        listed = of(client.requests.list(page_size=2))
        assert sorted(each.id for each in listed) == sorted(made)
        assert [each.id for each in listed] == sorted(made, reverse=True)
        assert [each.id for each in of(client.requests.list(page_size=2, limit=3))] == sorted(made, reverse=True)[:3]
        assert [each.id for each in of(client.requests.list(subject="user-3"))] == [made[3]]
        assert of(client.requests.list(subject=Subject.group("user-3"))) == []
        assert of(client.requests.list(state="finished")) == []

    def test_what_waits(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """It can be begun at once, or taken back; what has begun can not, and can be retried."""
        later = service.world.clock() + timedelta(days=2)
        first, second = accept(of, client, "ann", not_before=later), accept(of, client, "ben", not_before=later)
        begun = of(client.requests.expedite(first.id))
        assert begun.not_before < later
        assert of(client.requests.cancel(second.id)).state == "cancelled"
        with pytest.raises(StoppedError) as stopped:
            of(client.requests.wait(second.id))
        assert stopped.value.request_id == second.id
        attempt = of(client.requests.retry(first.id))
        assert (attempt.id, attempt.attempt > 1) == (first.id, True)
        with pytest.raises(ConflictError):
            of(client.requests.expedite(first.id))
        with pytest.raises(StillRunningError):
            of(client.requests.wait(first.id, timeout=0))

    def test_nobody_knows_it(self, of: Callable[[Any], Any], client: Any) -> None:
        """An id of nobody's request, and text that is none."""
        for request_id in (new_request_id(), "../audit", "."):
            with pytest.raises(NotFoundError):
                of(client.requests.get(request_id))

    def test_the_same_key_again(self, of: Callable[[Any], Any], client: Any) -> None:
        """The same request; with another body, a conflict."""
        first = accept(of, client, idempotency_key="k1")
        assert accept(of, client, idempotency_key="k1") == first
        with pytest.raises(ConflictError):
            of(client.requests.create("somebody-else", idempotency_key="k1"))


IDS = ["team/ops", "..", ".", "a b", "é", "%2F", "a?b=c", "x;y", "ünïcödé-🧑‍🚀"]


class TestUsers:
    def test_disable_and_enable(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """Shown with their times; the deletion that waits is told by its request."""
        service.world.put_user()
        assert of(client.users.get(USER)).status == "active"
        disabled = of(client.users.disable(USER, revoke_sessions=True, delete_after_days=30))
        assert (disabled.id, disabled.status) == (USER, "disabled")
        assert disabled.delete_at - disabled.disabled_at == timedelta(days=30)
        assert of(client.requests.get(disabled.request_id)).not_before == disabled.delete_at
        assert of(client.users.get(USER)).delete_at == disabled.delete_at
        assert of(client.users.enable(USER)).status == "active"
        assert of(client.requests.get(disabled.request_id)).state == "cancelled"

    def test_delete(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """At once, with the request of the rest; after that there is no such user."""
        service.world.put_user()
        deletion = of(client.users.delete(USER))
        assert deletion.user_id == USER
        assert not of(client.requests.get(deletion.request_id)).is_complete
        with pytest.raises(NotFoundError):
            of(client.users.get(USER))

    def test_delete_many(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """A disposition for each different user, with the request of those who are accepted."""
        service.world.put_user()
        of(client.users.delete(USER))
        batch = of(client.users.delete_many(["ann", USER, "a/b", "ann"]))
        assert [(each.subject.id, each.status, each.reason) for each in batch] == [
            ("ann", "accepted", None),
            (USER, "not_found", None),
            ("a/b", "refused", "ambiguous_identifier"),
        ]
        (request_id,) = batch.request_ids
        assert of(client.requests.get(request_id)).batch_id == batch.batch_id

    def test_a_held_user(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """Nothing is accepted."""
        service.world.put_user()
        of(client.holds.put(USER, reason="Litigation", author="legal"))
        with pytest.raises(HeldError) as held:
            of(client.users.delete(USER))
        assert held.value.request_id is None

    @pytest.mark.parametrize("user_id", IDS)
    def test_any_id(self, of: Callable[[Any], Any], client: Any, service: Service, user_id: str) -> None:
        """An id arrives as it is, whatever stands in it."""
        service.use_map([table("accounts", "account")])
        service.world.put_user(user_id)
        assert of(client.users.get(user_id)).id == user_id


class TestHoldsAndSuppressions:
    @pytest.mark.parametrize("subject", [USER, Subject.group("g/1"), Subject.organization("o")], ids=str)
    def test_a_hold(self, of: Callable[[Any], Any], client: Any, subject: Any) -> None:
        """Put, replaced, listed, lifted."""
        until = datetime(2030, 1, 31, 12, tzinfo=UTC)
        hold = of(client.holds.put(subject, reason="Litigation", author="legal", until=until, aliases=["x@example"]))
        assert (hold.is_new, hold.until, hold.aliases, hold.held_requests) == (True, until, 1, 0)
        again = of(client.holds.put(subject, reason="Litigation", author="legal"))
        assert (again.is_new, again.until, again.aliases) == (False, None, 0)
        assert of(client.holds.get(subject)).hold_id == again.hold_id
        assert [each.subject_digest for each in of(client.holds.list(page_size=1))] == [again.subject_digest]
        assert of(client.holds.lift(subject)) is None
        with pytest.raises(NotFoundError):
            of(client.holds.get(subject))

    def test_many_holds(self, of: Callable[[Any], Any], client: Any) -> None:
        """Every one of them once, however short the pages."""
        for number in range(5):
            of(client.holds.put(f"user-{number}", reason="Litigation", author="legal"))
        assert len({each.subject_digest for each in of(client.holds.list(page_size=2))}) == 5

    def test_suppressions(self, of: Callable[[Any], Any], client: Any, service: Service) -> None:
        """Who is on the list can be asked about and taken off it."""
        path = "/api/platform/data_management/user_deletion_request"
        for user_id in ("ann", "ben", "cleo"):
            assert service.backend.call("POST", path, {"user_id": user_id})["statusCode"] < 300
        assert len({each.subject_digest for each in of(client.suppressions.list(page_size=2))}) == 3
        found = of(client.suppressions.get("ann"))
        assert (found.subject_type, found.suppressed_at) == ("user", service.world.clock())
        assert of(client.suppressions.lift("ann")) is None
        with pytest.raises(NotFoundError):
            of(client.suppressions.get("ann"))
        with pytest.raises(NotFoundError):
            of(client.suppressions.get(Subject.group("ben")))


class TestSetUp:
    def test_api_keys(self, of: Callable[[Any], Any], caller: Caller, client: Any) -> None:
        """A new key works, is listed without its text, and is told when it was revoked."""
        until = datetime(2090, 1, 1, tzinfo=UTC)
        key = of(client.api_keys.create(["erasure:read"], name="billing", valid_until=until, calls_per_minute=5))
        assert (key.name, key.scopes, key.valid_until, key.calls_per_minute) == ("billing", ("erasure:read",), until, 5)
        other = caller.client(api_key=key.text)
        assert of(other.requests.list()) == []
        with pytest.raises(NotAllowedError):
            of(other.api_keys.list())
        assert of(client.api_keys.revoke(key.key_id)) is None
        (known,) = [each for each in of(client.api_keys.list()) if each.key_id == key.key_id]
        assert (known.text, known.revoked_at is not None) == (None, True)

    def test_the_data_map(self, of: Callable[[Any], Any], caller: Caller, service: Service) -> None:
        """What a platform key has put is the current one, with the document as it was; each broken rule is told."""
        client = caller.client(api_key=service.platform_key, tenant_id=TENANT)
        document = {"version": 1, "targets": [table("letters", "content")]}
        put = of(client.data_map.put(document))
        current = of(client.data_map.get())
        assert (current.version, current.digest, current.document) == (put.version, put.digest, document)
        assert of(client.data_map.get(put.version)) == current
        with pytest.raises(InvalidRequestError) as refused:
            of(client.data_map.put({"version": 1, "targets": [{"name": "A b"}]}))
        assert refused.value.errors[0].field.startswith("targets[0]")

    def test_the_figures(self, of: Callable[[Any], Any], client: Any) -> None:
        """How the promise is kept, with whatever there is of it."""
        assert of(client.sla()).next_due_at is None
        accept(of, client)
        figures = of(client.sla())
        assert (figures.open, figures.requested, figures.at_risk) == (1, 1, {50: 0, 75: 0, 90: 0})
        assert figures.next_due_at is not None

    def test_the_rules_of_age(self, of: Callable[[Any], Any], caller: Caller, client: Any, service: Service) -> None:
        """With a platform key: what came of them, and when they are next."""
        retention = [{"target": "letters", "older_than": "30d", "attribute": "written_at"}]
        document = {"version": 1, "targets": [table("letters", "content")], "retention": retention}
        data_map = parse_data_map(document)
        service.world.maps.maps[:] = [type(service.world.maps.maps[0])(1, data_map.digest, data_map.targets)]
        ended = EndedRun(new_request_id(), service.world.clock(), count=1200, kept=0, unreadable=3)
        service.backend.rules.append(KnownRule(_rule_digest(service), "letters", report=ended))
        platform = caller.client(api_key=service.platform_key, tenant_id=TENANT)
        (rule,) = of(platform.retention())
        assert (rule.target, rule.older_than, rule.attribute, rule.mode) == ("letters", "30d", "written_at", "erase")
        assert (rule.last_report.count, rule.last_report.unreadable, rule.last_run) == (1200, 3, None)
        assert rule.next_at > service.world.clock()
        with pytest.raises(NotAllowedError):
            of(client.retention())

    def test_health(self, of: Callable[[Any], Any], client: Any) -> None:
        """It says which version answers."""
        assert of(client.health()).version == erasure.__version__


def _rule_digest(service: Service) -> str:
    (digest,) = rules_of(service.world.maps.maps[-1].targets)
    return digest


class TestAPerson:
    def test_both_steps(self, of: Callable[[Any], Any], caller: Caller) -> None:
        """Asked for, confirmed, and told that all is gone."""
        client = caller.client(api_key=None, token="alice")
        deletion = of(client.confirm_current_user_deletion(of(client.request_current_user_deletion())))
        assert deletion.is_complete
        assert of(client.current_user_deletion(deletion.request_id)).is_finished

    def test_the_preview(self, of: Callable[[Any], Any], caller: Caller) -> None:
        """What a deletion would find, target by target."""
        preview = of(caller.client(api_key=None, token="alice").preview_current_user_deletion())
        assert {target.category for target in preview.targets} <= {"content", "preference"}
        assert preview.targets


class TestBulk:
    def test_many(self, of: Callable[[Any], Any], client: Any) -> None:
        """A result for each that was given, in their order, whatever the service says to each."""
        given = ["ann", "a/b", "ann", "", "x" * 257, Subject.group("ann"), Subject.organization("o"), "ben"]
        told: list[BulkResult] = of(client.bulk(given, chunk_size=3))
        assert [(each.position, each.status, each.reason) for each in told] == [
            (0, "accepted", None),
            (1, "refused", "ambiguous_identifier"),
            (2, "duplicate", None),
            (3, "refused", "invalid_identifier"),
            (4, "refused", "invalid_identifier"),
            (5, "accepted", None),
            (6, "refused", "not_covered"),
            (7, "accepted", None),
        ]
        assert {each.id for each in of(client.requests.list())} == {each.request_id for each in told if each.request_id}

    def test_a_chunk_of_one(self, of: Callable[[Any], Any], client: Any) -> None:
        """The service refuses such a call whole: it is told as any other refusal, with its reason."""
        told = of(client.bulk(["a/b"])) + of(client.bulk(["ann"], categories=["preference"]))
        assert [(each.status, each.reason) for each in told] == [
            ("refused", "ambiguous_identifier"),
            ("refused", "not_covered"),
        ]

    def test_a_type_that_there_is_not(self, of: Callable[[Any], Any], client: Any) -> None:
        """The others of the call are erased without it."""
        told = of(client.bulk(["ann", Subject("robot", "r2"), "ben"]))
        assert [(each.status, each.reason) for each in told] == [
            ("accepted", None),
            ("refused", "invalid_type"),
            ("accepted", None),
        ]

    def test_again(self, of: Callable[[Any], Any], client: Any) -> None:
        """The same run makes nothing twice, another one does."""
        given = ["ann", Subject("robot", "r2"), "a/b", "ben", "cleo"]
        first = of(client.bulk(given, chunk_size=2, run_id="run"))
        assert of(client.bulk(iter(given), chunk_size=2, run_id="run")) == first
        assert len(of(client.requests.list())) == 3
        of(client.bulk(given, chunk_size=2, run_id="another run"))
        assert len(of(client.requests.list())) == 6

    def test_what_is_wrong_with_all(self, of: Callable[[Any], Any], client: Any) -> None:
        """A call that is refused for its terms is nobody's refusal."""
        with pytest.raises(InvalidRequestError):
            of(client.bulk(["ann", "ben"], categories=["no such"]))


METHODS = {
    "requests": {
        "create": "POST /v1/erasure-requests",
        "dry_run": "POST /v1/erasure-requests",
        "list": "GET /v1/erasure-requests",
        "get": "GET /v1/erasure-requests/{request_id}",
        "wait": "GET /v1/erasure-requests/{request_id}",
        "cancel": "POST /v1/erasure-requests/{request_id}/cancel",
        "retry": "POST /v1/erasure-requests/{request_id}/retry",
        "expedite": "POST /v1/erasure-requests/{request_id}/expedite",
        "audit": "GET /v1/erasure-requests/{request_id}/audit",
    },
    "users": {
        "get": "GET /v1/users/{user_id}",
        "delete": "DELETE /v1/users/{user_id}",
        "disable": "POST /v1/users/{user_id}/disable",
        "enable": "POST /v1/users/{user_id}/enable",
        "delete_many": "POST /v1/users/bulk-delete",
    },
    "holds": {
        "put": "PUT /v1/legal-holds/{subject_id}",
        "get": "GET /v1/legal-holds/{subject_id}",
        "lift": "DELETE /v1/legal-holds/{subject_id}",
        "list": "GET /v1/legal-holds",
    },
    "suppressions": {
        "get": "GET /v1/suppressions/{subject_id}",
        "lift": "DELETE /v1/suppressions/{subject_id}",
        "list": "GET /v1/suppressions",
    },
    "data_map": {"get": "GET /v1/data-map", "put": "PUT /v1/data-map"},
    "api_keys": {
        "create": "POST /v1/api-keys",
        "list": "GET /v1/api-keys",
        "revoke": "DELETE /v1/api-keys/{key_id}",
    },
    "": {
        "preview": "POST /v1/erasure-plans",
        "sla": "GET /v1/sla",
        "retention": "GET /v1/retention",
        "health": "GET /health",
        "bulk": "POST /v1/erasure-requests",
        "request_current_user_deletion": "DELETE /users/current",
        "confirm_current_user_deletion": "POST /users/current/confirm-delete",
        "current_user_deletion": "GET /users/current/erasure-requests/{request_id}",
        "preview_current_user_deletion": "GET /users/current/deletion-preview",
    },
}
"""Every method of the clients and the route that it calls. A face that is not here, and a method, fails a test."""

OTHERS_CLIENTS = ("/api/v1/", "/rpc/", "/v2/users/data/", "/api/platform/", "/openapi.json", "/docs")
"""Routes that others' clients call (h2ogpte, Velt, June), and the service's own documents."""


@pytest.mark.parametrize("kind", [ErasureClient, AsyncErasureClient])
def test_every_method_is_known_here(kind: type) -> None:
    """The clients have these methods and no others, so that none is left untried."""
    client = kind(URL, api_key="sk_test_x")
    faces = {name: face for name, face in vars(client).items() if not name.startswith("_")}
    assert set(faces) == set(METHODS) - {""}
    found = {name: _public(face) for name, face in faces.items()}
    found[""] = _public(client) - {"close", "aclose"}
    assert found == {name: set(methods) for name, methods in METHODS.items()}


def _public(face: object) -> set[str]:
    return {name for name, value in inspect.getmembers(type(face), inspect.isfunction) if not name.startswith("_")}


def test_both_clients_are_called_alike() -> None:
    """The same methods take the same arguments, with the same defaults."""
    one, other = ErasureClient(URL, api_key="sk_test_x"), AsyncErasureClient(URL, api_key="sk_test_x")
    for face, methods in METHODS.items():
        for method in methods:
            sync = getattr(getattr(one, face) if face else one, method)
            asynchronous = getattr(getattr(other, face) if face else other, method)
            assert _arguments(sync) == _arguments(asynchronous), (face, method)


def _arguments(method: Any) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_every_route_has_a_method() -> None:
    """What the document offers, a method calls, but for what is others' clients'."""
    paths = json.loads(DOCUMENT.read_text())["paths"]
    offered = {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method in operations
        if not path.startswith(OTHERS_CLIENTS)
    }
    assert offered == {route for methods in METHODS.values() for route in methods.values()}
