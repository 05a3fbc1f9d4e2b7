"""A tenant's default grace: what waits by it, what does not, and that a repeated call is answered as the first one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from erasure.adapters.tenant_settings import DynamoDBTenantSettingsStore
from erasure.domain.request import CANCELLED, REQUESTED
from erasure.domain.times import format_time, parse_time
from erasure.errors import InvalidInputError, UnavailableError
from erasure.ports import TenantSettingsStore
from erasure.services.release_due import release_due
from erasure.services.tenant_settings import CACHE_SECONDS, MAX_GRACE, TenantSettings, set_grace
from erasure.targets.protocol import Deadline
from tests.fake_tenant_settings import FakeTenantSettingsStore
from tests.functional.backend_calls import BackendApi, Reply, body_of
from tests.functional.backend_world import OTHER_TENANT, TENANT, USER
from tests.functional.native_calls import PATH, accept, act, post, show, users

WEEK = timedelta(days=7)
JUNE = "/api/platform/data_management/user_deletion_request"
VELT = "/v2/users/data/delete"


@pytest.fixture
def api() -> BackendApi:
    """Its tenant has a grace of a week."""
    api = BackendApi()
    api.world.tenants.set_grace(TENANT, WEEK)
    return api


def june(api: BackendApi, **more: Any) -> Reply:
    return api.call("POST", JUNE, {"user_id": USER}, **more)


def velt(api: BackendApi, *ids: str, **more: Any) -> Reply:
    return api.call("POST", VELT, {"data": {"userIds": list(ids or (USER,))}}, **more)


FAMILIES = {"native": post, "june": june, "velt": velt}


class TestWhatWaits:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_requests_without_a_moment_of_their_own(self, api: BackendApi, family: str) -> None:
        """It is not sent off for a week, its promise and its purge count from then, and the trail says so."""
        assert FAMILIES[family](api)["statusCode"] in (200, 202)
        request, now = api.world.only_request(), api.world.clock()
        assert request.not_before == request.requested_at + WEEK == now + WEEK
        assert request.due_at == request.not_before + timedelta(hours=72)
        assert request.purged_by == request.not_before + timedelta(days=90)
        assert api.world.queue.messages == []
        (entry,) = api.world.audit.entries(request.request_id)
        assert entry.details["not_before"] == format_time(request.not_before)
        api.world.clock.advance(WEEK.total_seconds())
        release_due(api.world.requests, api.world.queue, api.world.clock, Deadline(60))
        assert [ids for ids, _ in api.world.queue.messages] == [(request.request_id,)]

    def test_several_at_once(self, api: BackendApi) -> None:
        """All subjects of a call wait for the same moment."""
        velt(api, "ann", "bob", "cid")
        assert len({request.not_before for request in api.world.requests.records.values()}) == 1
        assert len(api.world.requests.waiting) == 3

    def test_a_moment_that_the_caller_names_wins(self, api: BackendApi) -> None:
        """Earlier than the grace or later."""
        for days in (1, 30):
            moment = api.world.clock() + timedelta(days=days)
            request = api.world.request(accept(api, not_before=format_time(moment)))
            assert request.not_before == moment

    def test_hellojohn_promises_that_it_is_over_at_once(self, api: BackendApi) -> None:
        """A deletion through it has no grace, a disabled account its own time."""
        api.world.put_user()
        assert api.user("DELETE")["statusCode"] == 204
        assert api.world.only_request().not_before is None

    def test_other_tenants_do_not_wait(self, api: BackendApi) -> None:
        """The grace is one tenant's."""
        request = api.world.request(accept(api, key=api.make_key(OTHER_TENANT)))
        assert request.not_before is None
        assert [ids for ids, _ in api.world.queue.messages] == [(request.request_id,)]

    def test_it_can_be_cancelled_until_it_is_started(self, api: BackendApi) -> None:
        """And then nothing of it is left to release."""
        request_id = accept(api)
        assert body_of(act(api, request_id, "cancel"))["state"] == CANCELLED
        assert api.world.requests.waiting == {}

    def test_trying_and_planning_tell_from_when(self, api: BackendApi) -> None:
        """A dry run and a plan have ``not_before``, also one that the caller names, and none without a grace."""
        in_a_week = format_time(api.world.clock() + WEEK)
        (tried,) = body_of(post(api, dry_run=True))["plans"]
        (planned,) = body_of(api.call("POST", "/v1/erasure-plans", {"subjects": users(USER)}))["plans"]
        assert (tried["not_before"], planned["not_before"]) == (in_a_week, in_a_week)
        tomorrow = format_time(api.world.clock() + timedelta(days=1))
        assert body_of(post(api, dry_run=True, not_before=tomorrow))["plans"][0]["not_before"] == tomorrow
        others = {"key": api.make_key(OTHER_TENANT)}
        assert "not_before" not in body_of(post(api, dry_run=True, **others))["plans"][0]
        assert api.world.requests.records == {}


class TestRepeatedCalls:
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("changed_to", [timedelta(), timedelta(days=1), 2 * WEEK])
    def test_a_repeated_call_keeps_the_first_moment(self, api: BackendApi, family: str, changed_to: timedelta) -> None:
        """Whatever the tenant has set meanwhile: the same answer, and nothing is sent off."""
        headers = {"Idempotency-Key": "k"}
        first = api.call("POST", *_call(family), headers=headers)
        api.world.tenants.set_grace(TENANT, changed_to)
        api.world.sleep(CACHE_SECONDS + 1)
        assert api.call("POST", *_call(family), headers=headers)["body"] == first["body"]
        assert api.world.queue.messages == []

    @pytest.mark.parametrize("changed_to", [timedelta(), 2 * WEEK])
    def test_so_does_one_whose_first_try_died(
        self, api: BackendApi, changed_to: timedelta, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first call wrote all and died before it was answered; what is answered then is what was written."""
        self._die_after_writing(api, monkeypatch)
        (written,) = api.world.requests.records.values()
        api.world.tenants.set_grace(TENANT, changed_to)
        api.world.sleep(CACHE_SECONDS + 1)
        (told,) = body_of(post(api, idempotency_key="k"))["requests"]
        assert told["request"]["id"] == written.request_id
        assert parse_time(told["request"]["not_before"]) == written.not_before
        assert api.world.requests.records == {written.request_id: written}
        assert api.world.queue.messages == []

    def test_and_one_whose_request_was_expedited_since(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """The answer tells the moment of the first try; the request goes on as it is."""
        self._die_after_writing(api, monkeypatch)
        (written,) = api.world.requests.records.values()
        assert act(api, written.request_id, "expedite")["statusCode"] == 202
        (told,) = body_of(post(api, idempotency_key="k"))["requests"]
        assert parse_time(told["request"]["not_before"]) == written.not_before
        assert api.world.only_request().not_before == api.world.clock()

    def _die_after_writing(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        def die(*_arguments: object) -> None:
            raise RuntimeError("the function was killed")

        with monkeypatch.context() as patched:
            patched.setattr(api.world.idempotency, "finish", die)
            assert post(api, idempotency_key="k")["statusCode"] == 500

    def test_an_open_request_is_kept_for_who_is_told_of_it(self, api: BackendApi) -> None:
        """A second June call is told of the request that waits; the call that made it cannot take it back any more."""
        request_id = body_of(june(api))["id"]
        assert body_of(june(api))["id"] == request_id
        assert [entry.event for entry in api.world.audit.entries(request_id)] == ["requested", "kept"]
        assert (api.world.only_request().state, api.world.queue.messages) == (REQUESTED, [])


def _call(family: str) -> tuple[str, object]:
    return {
        "native": (PATH, {"subjects": users(USER)}),
        "june": (JUNE, {"user_id": USER}),
        "velt": (VELT, {"data": {"userIds": ["ann", "bob"]}}),
    }[family]


class TestSettings:
    def test_what_was_set_is_known_within_a_minute(self) -> None:
        """Read once a minute for each tenant, not more often."""
        seconds = [0.0]
        store = FakeTenantSettingsStore()
        settings = TenantSettings(store, lambda: seconds[0])
        store.set_grace("acme", WEEK)
        assert [settings.grace("acme"), settings.grace("acme"), settings.grace("other")] == [WEEK, WEEK, timedelta()]
        assert store.reads == 2
        store.set_grace("acme", timedelta())
        seconds[0] = CACHE_SECONDS + 1
        assert settings.grace("acme") == timedelta()

    def test_without_an_answer_nothing_is_accepted(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether a request has to wait is not guessed."""

        def fail(_tenant_id: str) -> timedelta:
            raise UnavailableError("the table could not be read")

        monkeypatch.setattr(api.world.tenants, "grace", fail)
        assert post(api)["statusCode"] == 500
        assert api.world.requests.records == {}
        assert api.world.queue.messages == []

    @pytest.mark.parametrize(
        "grace", [timedelta(minutes=90), timedelta(hours=-1), MAX_GRACE + timedelta(hours=1)], ids=str
    )
    def test_whole_hours_within_bounds(self, grace: timedelta) -> None:
        """Anything else is refused, and what was set stays."""
        store = FakeTenantSettingsStore()
        store.set_grace("acme", WEEK)
        with pytest.raises(InvalidInputError, match="grace"):
            set_grace(store, "acme", grace)
        assert store.grace("acme") == WEEK

    def test_the_table_keeps_it_by_tenant(self) -> None:
        """On DynamoDB: nothing set is no grace; what was set last counts; other tenants keep theirs."""
        with mock_aws():
            client = boto3.client("dynamodb", region_name="eu-central-1")
            keys: Any = [{"AttributeName": name, "KeyType": kind} for name, kind in (("pk", "HASH"), ("sk", "RANGE"))]
            client.create_table(
                TableName="registry",
                KeySchema=keys,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                BillingMode="PAY_PER_REQUEST",
            )
            store: TenantSettingsStore = DynamoDBTenantSettingsStore(lambda: client, "registry")
            assert store.grace("acme") == timedelta()
            for grace in (WEEK, timedelta(hours=1)):
                set_grace(store, "acme", grace)
            set_grace(store, "ac", timedelta())
            assert (store.grace("acme"), store.grace("ac")) == (timedelta(hours=1), timedelta())


def test_a_waiting_request_shows_from_when(api: BackendApi) -> None:
    """``not_before``, and a promise that has not begun."""
    view = body_of(show(api, accept(api)))
    assert view["not_before"] == format_time(api.world.clock() + WEEK)
    assert view["sla"] == {
        "age_seconds": 0,
        "remaining_seconds": int((WEEK + timedelta(hours=72)).total_seconds()),
        "percent": 0,
        "paused_seconds": 0,
        "state": "on_time",
    }
