"""The service in memory, as tests of other people's applications use it."""

from __future__ import annotations

import asyncio
import doctest
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import erasure_client.testing
from erasure_client import (
    ConflictError,
    ErasureClient,
    HeldError,
    InvalidRequestError,
    NeedsAttentionError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    ServiceError,
    StillRunningError,
    Subject,
    TooManyCallsError,
)
from erasure_client.testing import FakeService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def service() -> FakeService:
    return FakeService("acme", "other", clock=lambda: NOON)


@pytest.fixture
def client(service: FakeService) -> ErasureClient:
    return service.client(retries=0)


def accept(client: ErasureClient, subject: str | Subject = "ann", **more: Any) -> str:
    request_id: str = client.requests.create(subject, **more).request.id
    return request_id


def test_the_documented_example() -> None:
    """What the module's text shows is what comes out."""
    told = doctest.testmod(erasure_client.testing)
    assert (told.failed, told.attempted > 15) == (0, True)


class TestErasing:
    def test_nothing_happens_by_itself(self, service: FakeService, client: ErasureClient) -> None:
        """A request stays requested, with all the data there, until the fake is told to work."""
        ann = service.add_user("ann", documents=3)
        request_id = accept(client)
        assert client.requests.get(request_id).state == "requested"
        with pytest.raises(StillRunningError):
            client.requests.wait(request_id, timeout=0)
        assert (ann.things, service.erased("ann")) == ({"accounts": 1, "documents": 3}, False)

    def test_at_once(self) -> None:
        """With auto_finish, what is accepted is carried out before the next call; the answer says requested."""
        service = FakeService(auto_finish=True)
        service.add_user("ann", documents=3)
        client = service.client()
        request = client.requests.create("ann").request
        assert (request.state, service.erased("ann")) == ("requested", True)
        assert client.requests.wait(request.id, timeout=0).is_complete

    def test_only_whom_it_is_about(self, service: FakeService, client: ErasureClient) -> None:
        """Nothing of another person, another type or another tenant goes."""
        for subject, tenant_id in (("bob", "acme"), ("ann", "other")):
            service.add_user(subject, tenant_id=tenant_id, documents=1)
        group = service.add_user(Subject.group("ann"), group_documents=2)
        service.add_user("ann", documents=1)
        accept(client)
        service.run()
        assert service.erased("ann")
        assert group.things == {"group-documents": 2}
        assert (
            service.user("bob").things
            == service.user("ann", tenant_id="other").things
            == {
                "accounts": 1,
                "documents": 1,
            }
        )
        assert not service.erased(Subject.group("ann"))
        assert not service.erased("ann", tenant_id="other")

    def test_limited_to_organizations(self, service: FakeService, client: ErasureClient) -> None:
        """Things of other organizations stay, and whatever does not tell them apart."""
        ann = service.add_user("ann", documents=1)
        ann.put("files", 2, organization_id="org_1")
        ann.put("files", 5, organization_id="org_2")
        request_id = accept(client, organization_ids=["org_1"])
        service.run()
        assert [(target.name, target.count) for target in client.requests.get(request_id).targets] == [("files", 2)]
        assert ann.things == {"accounts": 1, "documents": 1, "files": 5}

    def test_somebody_without_anything(self, service: FakeService, client: ErasureClient) -> None:
        """They are erased when a request of theirs has finished, and not before."""
        assert not service.erased("nobody")
        request_id = accept(client, "nobody")
        assert not service.erased("nobody")
        service.run()
        assert {target.state for target in client.requests.get(request_id).targets} == {"already_absent"}
        assert service.erased("nobody")

    def test_what_comes_back(self, service: FakeService, client: ErasureClient) -> None:
        """Data that is written after the erasure is there."""
        service.add_user("ann")
        accept(client)
        service.run()
        service.add_user("ann", documents=1)
        assert not service.erased("ann")

    def test_failing(self, service: FakeService, client: ErasureClient) -> None:
        """A target that fails leaves its things, and the request needs attention until it is mended and retried."""
        ann = service.add_user("ann", documents=3)
        service.fail("documents", reason="throttled")
        request_id = accept(client)
        service.run()
        with pytest.raises(NeedsAttentionError):
            client.requests.wait(request_id, timeout=0)
        assert (ann.things, service.erased("ann")) == ({"documents": 3}, False)
        service.mend("documents")
        assert service.run() == []
        client.requests.retry(request_id)
        assert service.run() == [request_id]
        done = client.requests.wait(request_id, timeout=0)
        assert {target.name: target.count for target in done.targets}["accounts"] == 1
        assert service.erased("ann")

    def test_it_is_tried_again_by_itself(self, service: FakeService, client: ErasureClient) -> None:
        """After a quarter of an hour, what has failed is tried again."""
        service.add_user("ann", documents=3)
        service.fail("documents")
        request_id = accept(client)
        service.run()
        service.mend("documents")
        service.advance(timedelta(minutes=15))
        assert service.run() == [request_id]
        assert service.erased("ann")

    def test_what_stays(self, service: FakeService, client: ErasureClient) -> None:
        """Things that the law keeps stay and are told; after their time the next erasure takes them."""
        ann = service.add_user("ann", invoices=3)
        service.retain("invoices", basis="tax law", until=NOON + timedelta(days=10), most=2)
        request_id = accept(client)
        service.run()
        done = client.requests.wait(request_id, timeout=0)
        (kept,) = done.kept
        assert (kept.state, kept.count, kept.kept, kept.basis) == ("retained", 1, 2, "tax law")
        assert (done.is_complete, ann.things, service.erased("ann")) == (False, {"invoices": 2}, False)
        service.advance(timedelta(days=10))
        accept(client)
        service.run()
        assert service.erased("ann")

    def test_progress(self, service: FakeService, client: ErasureClient) -> None:
        """A request can be looked at while a job has it."""
        service.add_user("ann", documents=3)
        request_id = accept(client)
        service.start(request_id)
        service.work(request_id, "documents", 2)
        service.work(request_id, "accounts", 1, state="verifying")
        seen = client.requests.get(request_id)
        states = {target.name: (target.state, target.count) for target in seen.targets}
        assert (seen.state, seen.job is not None) == ("started", True)
        assert states["documents"] == ("erasing", 2)
        assert states["accounts"] == ("verifying", 1)
        assert states["files"] == ("waiting", 0)
        service.finish(request_id)
        assert client.requests.get(request_id).is_complete

    def test_what_is_not_worked_on(self, service: FakeService, client: ErasureClient) -> None:
        """Finishing what is cancelled, held, finished or waiting is a mistake of the test."""
        service.hold("eve")
        later = service.now() + timedelta(days=1)
        done, waits, held = accept(client), accept(client, not_before=later), accept(client, "eve")
        cancelled = accept(client)
        client.requests.cancel(cancelled)
        service.run()
        assert client.requests.get(held).state == "held"
        for request_id in (done, waits, held, cancelled):
            with pytest.raises(ValueError, match="nothing works on it"):
                service.finish(request_id)
            with pytest.raises(ValueError, match="nothing works on it"):
                service.start(request_id)
        with pytest.raises(LookupError):
            service.finish("er_unknown")

    def test_a_hold(self, service: FakeService, client: ErasureClient) -> None:
        """Nothing of somebody who is held goes, and all of it when the hold is lifted."""
        ann = service.add_user("ann", documents=1)
        request_id = accept(client)
        service.hold("ann", reason="Audit")
        service.run()
        assert client.requests.get(request_id).state == "held"
        with pytest.raises(HeldError):
            client.users.delete("ann")
        assert ann.things == {"accounts": 1, "documents": 1}
        client.holds.lift("ann")
        service.run()
        assert service.erased("ann")

    def test_a_hold_while_a_job_has_it(self, service: FakeService, client: ErasureClient) -> None:
        """Work that was begun stops at a hold."""
        ann = service.add_user("ann", documents=1)
        request_id = accept(client)
        service.start(request_id)
        client.holds.put("ann", reason="Audit", author="legal")
        assert service.run() == []
        assert (client.requests.get(request_id).state, ann.things) == ("held", {"accounts": 1, "documents": 1})

    def test_the_purge(self, service: FakeService, client: ErasureClient) -> None:
        """Weeks after its end a request has forgotten whom it was about, and is still found by its id."""
        service.add_user("ann", documents=1)
        request_id = accept(client)
        service.run()
        service.advance(timedelta(days=90))
        service.run()
        seen = client.requests.get(request_id)
        assert (seen.subject.id, seen.purged_at) == (None, NOON + timedelta(days=90))
        assert service.erased("ann")


class TestCallers:
    def test_tenants(self, service: FakeService, client: ErasureClient) -> None:
        """Another tenant's things are as if they were not there; a platform key names the tenant."""
        request_id = accept(client)
        other = service.client(api_key=service.make_key("other"))
        with pytest.raises(NotFoundError):
            other.requests.get(request_id)
        platform = service.make_key(is_platform=True)
        assert service.client(api_key=platform, tenant_id="acme").requests.get(request_id).id == request_id
        with pytest.raises(NotFoundError):
            service.client(api_key=platform, tenant_id="other").requests.get(request_id)
        with pytest.raises(InvalidRequestError):
            service.client(api_key=platform).requests.get(request_id)

    def test_scopes(self, service: FakeService) -> None:
        """A key can do what its scopes name, and an unknown scope is a mistake of the test."""
        reader = service.client(api_key=service.make_key(scopes=["erasure:read"]))
        assert list(reader.requests.list()) == []
        with pytest.raises(NotAllowedError):
            accept(reader)
        with pytest.raises(ValueError, match="scopes"):
            service.make_key(scopes=["everything"])

    def test_keys_end(self, service: FakeService) -> None:
        """A key of the past, and one of another fake, are not let in."""
        short = service.client(api_key=service.make_key(valid_until=NOON + timedelta(hours=1)), retries=0)
        assert list(short.requests.list()) == []
        service.advance(timedelta(hours=1))
        for client in (short, service.client(api_key=FakeService().api_key)):
            with pytest.raises(NotSignedInError):
                list(client.requests.list())

    def test_calls_per_minute(self, service: FakeService) -> None:
        """A key has so many calls a minute, and the next minute as many again."""
        client = service.client(api_key=service.make_key(calls_per_minute=2), retries=0)
        for _ in range(2):
            list(client.requests.list())
        with pytest.raises(TooManyCallsError) as refused:
            list(client.requests.list())
        assert refused.value.retry_after == 60
        service.advance(timedelta(minutes=1))
        assert list(client.requests.list()) == []

    def test_people(self) -> None:
        """A person deletes their own content, by a delete id of their own, within five minutes."""
        service = FakeService(clock=lambda: NOON, auto_finish=True)
        for user_id in ("ann", "bob"):
            service.add_user(user_id, documents=1)
        ann, bob = (service.client(token=service.token(user_id), retries=0) for user_id in ("ann", "bob"))
        delete_id = ann.request_current_user_deletion()
        with pytest.raises(InvalidRequestError):
            bob.confirm_current_user_deletion(delete_id)
        service.advance(timedelta(minutes=5))
        with pytest.raises(InvalidRequestError):
            ann.confirm_current_user_deletion(delete_id)
        assert ann.confirm_current_user_deletion(ann.request_current_user_deletion()).is_complete
        assert service.user("ann").things == {"accounts": 1}
        assert service.user("bob").things == {"accounts": 1, "documents": 1}
        # Their account is there still: not everything of them is gone.
        assert not service.erased("ann")

    def test_tokens_end(self, service: FakeService) -> None:
        """A token is good for its time, and only here."""
        person = service.client(token=service.token("ann", valid_for=timedelta(minutes=1)), retries=0)
        person.request_current_user_deletion()
        service.advance(timedelta(minutes=1))
        for client in (person, service.client(token=FakeService().token("ann"), retries=0)):
            with pytest.raises(NotSignedInError):
                client.request_current_user_deletion()

    def test_the_asynchronous_client(self, service: FakeService) -> None:
        """It is served as well."""

        async def erase() -> bool:
            async with service.async_client() as client:
                request = (await client.requests.create("ann")).request
                service.run()
                return (await client.requests.wait(request.id, timeout=0)).is_complete

        service.add_user("ann", documents=1)
        assert asyncio.run(erase())

    def test_closing_a_client_ends_nothing(self, service: FakeService) -> None:
        """The service is there for the next client."""
        with service.client() as client:
            accept(client)
        assert len(list(service.client().requests.list())) == 1

    def test_several_threads(self, service: FakeService) -> None:
        """Calls from several threads make a request each."""
        client = service.client()
        threads = [threading.Thread(target=accept, args=(client, f"user-{number}")) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({request.subject for request in client.requests.list()}) == 8


class TestMishaps:
    def test_an_answer_that_gets_lost(self, service: FakeService, client: ErasureClient) -> None:
        """The work is done; the same idempotency key leads to the same request."""
        service.lose_next_answer()
        with pytest.raises(NoAnswerError):
            client.requests.create("ann", idempotency_key="once")
        (request,) = client.requests.list()
        assert accept(client, idempotency_key="once") == request.id
        assert len(list(client.requests.list())) == 1

    def test_a_call_that_gets_lost(self, service: FakeService, client: ErasureClient) -> None:
        """Nothing is done."""
        service.lose_next_answer(after_work=False)
        with pytest.raises(NoAnswerError):
            accept(client)
        assert list(client.requests.list()) == []

    def test_the_client_sends_it_again(self, service: FakeService) -> None:
        """With retries, a lost answer is not seen, and there is one request."""
        service.lose_next_answer()
        client = service.client()
        request_id = accept(client)
        assert [request.id for request in client.requests.list()] == [request_id]
        first, second = service.calls[:2]
        assert (first.status, second.status, first.idempotency_key) == (None, 202, second.idempotency_key)

    def test_refusals(self, service: FakeService, client: ErasureClient) -> None:
        """The next calls are refused, in the family's envelope, and the one after is not."""
        service.refuse_next(429, retry_after=7)
        with pytest.raises(TooManyCallsError) as throttled:
            client.users.get("ann")
        assert (throttled.value.retry_after, throttled.value.code) == (7, "rate_limit_exceeded")
        service.refuse_next(500, times=2)
        for _ in range(2):
            with pytest.raises(ServiceError) as failed:
                accept(client)
            assert failed.value.code == "internal_error"
        assert len(list(client.requests.list())) == 0

    def test_a_gateway_that_gives_up(self, service: FakeService, client: ErasureClient) -> None:
        """A 504 after the work: the request is there."""
        service.refuse_next(504, after_work=True)
        with pytest.raises(ServiceError):
            accept(client)
        assert len(list(client.requests.list())) == 1

    def test_a_key_with_another_body(self, client: ErasureClient) -> None:
        """Refused, and nothing is made."""
        accept(client, idempotency_key="once")
        with pytest.raises(ConflictError):
            accept(client, "bob", idempotency_key="once")
        assert len(list(client.requests.list())) == 1


class TestTheObject:
    def test_calls(self, service: FakeService, client: ErasureClient) -> None:
        """Calls are told by their templates: no id stands in them."""
        client.suppressions.list()
        accept(client, "very-secret-person", idempotency_key="mine")
        with pytest.raises(NotFoundError):
            client.users.get("very-secret-person")
        assert [(call.method, call.path, call.idempotency_key, call.status) for call in service.calls[-2:]] == [
            ("POST", "/v1/erasure-requests", "mine", 202),
            ("GET", "/v1/users/{user_id}", None, 404),
        ]
        assert "very-secret-person" not in f"{service.calls!r}{service!r}"

    def test_unknown_paths(self, service: FakeService) -> None:
        """What the service does not have is a 404 of its gateway."""
        with httpx.Client(transport=service, base_url=service.url) as plain:
            answer = plain.get("/v3/users")
        assert (answer.status_code, answer.json()) == (404, {"code": 404, "message": "There is no such resource."})
        assert service.calls[-1].path == ""

    def test_suppressions(self, service: FakeService, client: ErasureClient) -> None:
        """Somebody on the list is found there by whoever asks for them."""
        service.suppress("sue")
        assert client.suppressions.get("sue").subject_type == "user"
        with pytest.raises(NotFoundError):
            client.suppressions.get("ann")

    def test_a_map_of_ones_own(self) -> None:
        """The fake covers what its map names, and refuses what the map does not."""
        target = {
            "name": "letters",
            "category": "content",
            "dynamodb": {"table": "letters", "key": {"owner": "{tenant_id}#{user_id}"}},
        }
        service = FakeService(data_map={"version": 1, "targets": [target]})
        service.add_user("ann", letters=2)
        client = service.client(retries=0)
        request_id = accept(client)
        service.run()
        assert [target.name for target in client.requests.get(request_id).targets] == ["letters"]
        with pytest.raises(InvalidRequestError):
            accept(client, Subject.group("g"))
        with pytest.raises(LookupError):
            service.add_user("ann", documents=1)

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda service: service.user("nobody"),
            lambda service: service.fail("no-such-target"),
            lambda service: service.add_user("ann", tenant_id="unknown"),
            lambda service: service.make_key("unknown"),
        ],
    )
    def test_mistakes_of_a_test(self, service: FakeService, mistake: Any) -> None:
        """What is not there cannot be named."""
        with pytest.raises(LookupError):
            mistake(service)

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda service: service.add_user("a\nb"),
            lambda service: service.hold("ann", reason="about ann"),
            lambda _service: FakeService(data_map={"version": 1, "targets": []}),
        ],
    )
    def test_what_the_service_would_not_take(self, service: FakeService, mistake: Any) -> None:
        """A test cannot give it to the fake either, and is not told the value."""
        with pytest.raises(ValueError, match="must") as refused:
            mistake(service)
        assert "ann" not in str(refused.value)

    def test_time(self, service: FakeService) -> None:
        """It goes forward only, and times have an offset."""
        assert service.now() == NOON
        with pytest.raises(ValueError, match="back"):
            service.advance(timedelta(seconds=-1))
        with pytest.raises(ValueError, match="offset"):
            service.retain("invoices", until=datetime(2030, 1, 1))  # noqa: DTZ001 - it is refused
