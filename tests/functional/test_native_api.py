"""The native family over the API: what is accepted, and what is refused by which rule."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any

import pytest

from erasure.domain.identifiers import is_batch_id
from erasure.domain.times import format_time
from erasure.entry import native
from tests.functional.backend_calls import BackendApi, body_of, header_of
from tests.functional.backend_world import OTHER_TENANT
from tests.functional.native_calls import (
    ANY_USER,
    PATH,
    accept,
    act,
    check_nothing_was_written,
    check_problem,
    check_rule,
    post,
    show,
    users,
)

ANSWER_BYTES = 6 * 1024 * 1024
"""Lambda: the most that a function may answer with, as JSON (quotas, invocation payload)."""


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


class TestCreate:
    def test_one_subject(self, api: BackendApi) -> None:
        """202 with the request as it stands; its own id is the call's."""
        reply = post(api)
        request, body = api.world.only_request(), body_of(reply)
        assert reply["statusCode"] == 202
        assert is_batch_id(body["batch_id"])
        shown = {
            "id": request.request_id,
            "subject": ANY_USER,
            "state": "requested",
            "attention": False,
            "requested_at": format_time(request.requested_at),
            "due_at": format_time(request.requested_at + timedelta(hours=72)),
            "purged_by": format_time(request.requested_at + timedelta(days=90)),
        }
        assert body["requests"] == [{"subject": ANY_USER, "status": "accepted", "request": shown}]
        assert header_of(reply, "X-Erasure-Request-Id") == request.request_id
        assert api.world.queue.messages == [((request.request_id,), 1)]

    def test_everything_of_the_subject_is_erased(self, api: BackendApi) -> None:
        """Every category goes, records too, and nothing of another user."""
        subject, other = api.world.put_user(), api.world.put_user("usr_other")
        before = api.world.left(other)
        accept(api)
        api.world.run_batch()
        assert (api.world.left(subject), api.world.left(other)) == (set(), before)

    def test_several_subjects(self, api: BackendApi) -> None:
        """One batch, one message; users and groups of one id are two, and whoever is named twice counts once."""
        same = [*users("same"), {"type": "group", "id": "same"}]
        user, group = api.world.put_user("same"), api.world.put_group("same")
        reply = post(api, [*same, *users("third"), *same])
        body = body_of(reply)
        assert [entry["subject"] for entry in body["requests"]] == [*same, *users("third")]
        assert {entry["status"] for entry in body["requests"]} == {"accepted"}
        assert {entry["request"]["batch_id"] for entry in body["requests"]} == {body["batch_id"]}
        assert header_of(reply, "X-Erasure-Request-Id") == body["batch_id"]
        assert [len(ids) for ids, _ in api.world.queue.messages] == [3]
        api.world.run_batch()
        assert api.world.left(user) == api.world.left(group) == set()

    def test_a_single_subject_that_cannot_be_named(self, api: BackendApi) -> None:
        """Refused by its place, with nothing written and its id in no error."""
        reply = post(api, users("some/one"))
        check_rule(reply, "subjects[0].id", "holds a character")
        check_nothing_was_written(api)
        assert "some" not in reply["body"] + api.log.getvalue()

    def test_one_of_several_cannot_be_named(self, api: BackendApi) -> None:
        """The others are accepted, and it is told what became of each."""
        reply = post(api, users("a", "b/c"))
        accepted, refused = body_of(reply)["requests"]
        assert reply["statusCode"] == 202
        assert accepted["status"] == "accepted"
        assert refused == {"subject": users("b/c")[0], "status": "refused", "reason": "ambiguous_identifier"}
        assert [request.subject.id for request in api.world.requests.records.values()] == ["a"]

    def test_none_of_several_can_be_named(self, api: BackendApi) -> None:
        """Then there is no request that an id could be told of."""
        reply = post(api, users("a/b", "c/d"))
        assert [entry["status"] for entry in body_of(reply)["requests"]] == ["refused", "refused"]
        assert header_of(reply, "X-Erasure-Request-Id") is None
        check_nothing_was_written(api)

    def test_organizations(self, api: BackendApi) -> None:
        """Only what can be limited to them is covered; the rest of the user's data stays."""
        subject = api.world.put_user()
        before = api.world.left(subject)
        request_id = accept(api, scope={"organization_ids": ["org_1", "org_2", "org_1"]})
        view = body_of(show(api, request_id))
        assert view["organization_ids"] == ["org_1", "org_2"]
        assert [target["name"] for target in view["targets"]] == ["files"]
        api.world.run_batch()
        assert api.world.left(subject) == before
        assert body_of(show(api, request_id))["state"] == "finished"

    def test_the_largest_call(self, api: BackendApi) -> None:
        """What 1,000 subjects in as many organizations as they may share come to fits into a function's answer."""
        ids = [f"{number:04}" + "😀" * 252 for number in range(1000)]
        organizations = [f"{number:02}" + "o" * 34 for number in range(59)]
        rule = "must not be longer than 2097 bytes together for so many subjects"
        reply = post(api, users(*ids), scope={"organization_ids": organizations})
        check_rule(reply, "scope.organization_ids", rule)
        check_nothing_was_written(api)
        reply = post(api, users(*ids), scope={"organization_ids": organizations[:58]})
        assert reply["statusCode"] == 202
        assert len(body_of(reply)["requests"]) == 1000
        assert len(json.dumps(reply, ensure_ascii=False).encode()) < ANSWER_BYTES

    def test_not_before(self, api: BackendApi) -> None:
        """It waits outside of the queue; what is promised counts from then."""
        moment = api.world.clock() + timedelta(days=30)
        elsewhere = moment.astimezone(timezone(timedelta(hours=-7)))
        request_id = accept(api, not_before=elsewhere.isoformat())
        view = body_of(show(api, request_id))
        assert view["not_before"] == format_time(moment)
        assert view["due_at"] == format_time(moment + timedelta(hours=72))
        assert api.world.queue.messages == []
        assert set(api.world.requests.waiting) == {request_id}

    def test_a_platform_key(self, api: BackendApi) -> None:
        """It names the tenant of each call."""
        key = api.make_key("*")
        check_rule(post(api, key=key), "X-Tenant-ID", "is required")
        headers = {"X-Tenant-ID": OTHER_TENANT}
        assert api.call("POST", PATH, {"subjects": [ANY_USER]}, key=key, headers=headers)["statusCode"] == 202
        assert api.world.only_request().subject.tenant_id == OTHER_TENANT


class TestDryRun:
    def test_nothing_is_written(self, api: BackendApi) -> None:
        """200 with what would be covered; no request, no audit entry, no message, and its key stays free."""
        reply = post(api, [*users("a/b"), {"type": "group", "id": "g"}], dry_run=True, idempotency_key="k")
        body = body_of(reply)
        assert (reply["statusCode"], body["dry_run"]) == (200, True)
        user, group = body["plans"]
        files = next(target for target in user["targets"] if target["name"] == "files")
        assert files == {
            "name": "files",
            "category": "content",
            "kind": "s3",
            "action": "delete",
            "reason": "ambiguous_identifier",
        }
        assert group == {
            "subject": {"type": "group", "id": "g"},
            "targets": [{"name": "group-events", "category": "content", "kind": "dynamodb", "action": "delete"}],
            "out_of_scope": [],
        }
        assert header_of(reply, "X-Erasure-Request-Id") is None
        check_nothing_was_written(api)
        assert post(api, idempotency_key="k")["statusCode"] == 202

    def test_what_is_out_of_scope_is_named(self, api: BackendApi) -> None:
        """Targets that cannot be limited to organizations are listed, not silently left out."""
        (plan,) = body_of(post(api, dry_run=True, scope={"organization_ids": ["o"]}))["plans"]
        assert [target["name"] for target in plan["targets"]] == ["files"]
        assert set(plan["out_of_scope"]) == {"accounts", "sessions", "mfa-factors", "memberships", "audit-events"}

    def test_what_does_not_fit_into_an_answer(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """Subjects times targets are bounded, and told so: a longer answer would never arrive."""
        (plan,) = body_of(post(api, dry_run=True))["plans"]
        monkeypatch.setattr(native, "MAX_PLANNED", 2 * len(plan["targets"]))
        assert post(api, users("a", "b"), dry_run=True)["statusCode"] == 200
        check_rule(post(api, users("a", "b", "c"), dry_run=True), "subjects", "must not come to more than")

    def test_the_rules_are_the_same(self, api: BackendApi) -> None:
        """What would be refused is refused."""
        check_rule(post(api, [], dry_run=True), "subjects", "must not be empty")
        check_rule(post(api, dry_run=True, not_before="2020-01-01T00:00:00Z"), "not_before", "must be in the future")


A_TIME = "must be a time with its offset"
TYPES = "must be one of user, group, organization"


class TestRules:
    @pytest.mark.parametrize(
        ("fields", "field", "rule"),
        [
            ({"subjects": None}, "subjects", "must be a list"),
            ({"subjects": {}}, "subjects", "must be a list"),
            ({"subjects": []}, "subjects", "must not be empty"),
            ({"subjects": ["id-1"]}, "subjects[0]", "must be an object"),
            ({"subjects": [ANY_USER, {"id": "id-1"}]}, "subjects[1].type", TYPES),
            ({"subjects": [{"type": "User", "id": "id-1"}]}, "subjects[0].type", TYPES),
            ({"subjects": [{"type": ["user"], "id": "id-1"}]}, "subjects[0].type", TYPES),
            ({"subjects": [{"type": "user"}]}, "subjects[0].id", "must be text"),
            ({"subjects": [{"type": "user", "id": 7}]}, "subjects[0].id", "must be text"),
            ({"subjects": [{"type": "user", "id": ""}]}, "subjects[0].id", "must have 1 to 256"),
            ({"subjects": [{"type": "user", "id": "u" * 257}]}, "subjects[0].id", "must have 1 to 256"),
            ({"subjects": [{"type": "user", "id": " "}]}, "subjects[0].id", "must not be blank"),
            ({"subjects": [{"type": "user", "id": "id-1\n"}]}, "subjects[0].id", "must not hold control"),
            ({"subjects": [{"type": "user", "id": "\ud800"}]}, "subjects[0].id", "must not hold control"),
            ({"subjects": [{**ANY_USER, "id-1": 1}]}, "subjects[0]", "may only have the fields id, type"),
            ({"id-1": True}, "body", "may only have the fields categories, dry_run, not_before,"),
            ({"scope": None}, "scope", "must be an object"),
            ({"scope": "all"}, "scope", "must be an object"),
            ({"scope": {}}, "scope.organization_ids", "must be a list"),
            ({"scope": {"organization_ids": None}}, "scope.organization_ids", "must be a list"),
            ({"scope": {"organization_ids": []}}, "scope.organization_ids", "must not be empty"),
            ({"scope": {"organization_ids": ["o", " "]}}, "scope.organization_ids[1]", "must not be blank"),
            ({"scope": {"organization_ids": ["o"], "id-1": 1}}, "scope", "may only have the fields organization_ids"),
            (
                {"subjects": [ANY_USER, {"type": "organization", "id": "o"}], "scope": {"organization_ids": ["o"]}},
                "scope",
                "cannot limit the erasure of an organization",
            ),
            (
                {"scope": {"organization_ids": [str(number) for number in range(101)]}},
                "scope.organization_ids",
                "must not name more than 100",
            ),
            (
                {"scope": {"organization_ids": [f"{number:03}" + "😀" * 253 for number in range(26)]}},
                "scope.organization_ids",
                "must not be longer than 25600 bytes together",
            ),
            ({"not_before": None}, "not_before", A_TIME),
            ({"not_before": 1893456000}, "not_before", A_TIME),
            ({"not_before": "2027-01-01"}, "not_before", A_TIME),
            ({"not_before": "2027-01-01T00:00:00"}, "not_before", A_TIME),
            ({"not_before": "2027-01-01T00:00Z"}, "not_before", A_TIME),
            ({"not_before": "2027-W01-1T00:00:00Z"}, "not_before", A_TIME),
            ({"not_before": "2027-02-30T00:00:00Z"}, "not_before", A_TIME),
            ({"not_before": "2027-01-01T00:00:00Z\n"}, "not_before", A_TIME),
            ({"not_before": "2026-03-01T12:00:00Z"}, "not_before", "must be in the future"),
            ({"not_before": "0001-01-01T00:00:00+23:59"}, "not_before", A_TIME),
            ({"not_before": "2032-01-01T00:00:00Z"}, "not_before", "must be at most 5 years"),
            ({"not_before": "9999-12-31T23:59:59-23:59"}, "not_before", A_TIME),
            ({"dry_run": "true"}, "dry_run", "must be true or false"),
            ({"dry_run": None}, "dry_run", "must be true or false"),
        ],
    )
    def test_every_field_has_a_rule(self, api: BackendApi, fields: dict[str, Any], field: str, rule: str) -> None:
        """400 with field and rule; nothing is written, and no error repeats what a caller sent."""
        reply = api.call("POST", PATH, {"subjects": [ANY_USER], **fields})
        check_rule(reply, field, rule)
        check_nothing_was_written(api)
        assert "id-1" not in reply["body"] + api.log.getvalue()

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"subjects": NaN}'])
    def test_what_is_no_json_object(self, api: BackendApi, text: str) -> None:
        """The body has to be an object."""
        check_rule(api.call("POST", PATH, text), "body", "must be")

    def test_a_thousand_subjects_are_taken_and_no_more(self, api: BackendApi) -> None:
        """The list is refused whole, never cut; who is named twice counts once."""
        thousand = users(*(f"user-{number}" for number in range(1000)))
        check_rule(post(api, [*thousand, *users("one-more")]), "subjects", "must not name more than 1000")
        check_nothing_was_written(api)
        assert len(body_of(post(api, [*thousand, thousand[0]]))["requests"]) == 1000

    def test_the_longest_call_fits(self, api: BackendApi) -> None:
        """1,000 ids of 256 characters, however JSON writes them."""
        reply = post(api, users(*(f"{number:03}" + "😀" * 253 for number in range(1000))), dry_run=True)
        assert reply["statusCode"] == 200

    @pytest.mark.parametrize("key", ["", " ", "k" * 257])
    def test_an_idempotency_key_that_is_none(self, api: BackendApi, key: str) -> None:
        """It is an identifier like all others, in every call that changes something."""
        request_id = accept(api)
        for reply in (
            post(api, idempotency_key=key),
            act(api, request_id, "cancel", headers={"Idempotency-Key": key}),
            act(api, request_id, "retry", headers={"Idempotency-Key": key}),
        ):
            check_rule(reply, "Idempotency-Key", "must")
        assert api.world.only_request().state == "requested"


class TestRepetition:
    def test_the_first_answer_again(self, api: BackendApi) -> None:
        """The same key with the same body makes no second request, also when the first one is finished."""
        first = post(api, users("a", "b"), idempotency_key="k")
        api.world.run_batch()
        again = post(api, users("a", "b"), idempotency_key="k")
        assert (again["statusCode"], again["body"]) == (202, first["body"])
        assert header_of(again, "X-Erasure-Request-Id") == header_of(first, "X-Erasure-Request-Id")
        assert (len(api.world.requests.records), api.world.queue.messages) == (2, [])

    @pytest.mark.parametrize("other", [{"subjects": users("b")}, {"scope": {"organization_ids": ["o"]}}])
    def test_another_body(self, api: BackendApi, other: dict[str, Any]) -> None:
        """409, and nothing of it happens."""
        post(api, users("a"), idempotency_key="k")
        body = {"subjects": users("a"), **other}
        reply = api.call("POST", PATH, body, headers={"Idempotency-Key": "k"})
        check_problem(reply, 409, "conflict")
        assert len(api.world.requests.records) == 1

    def test_keys_are_the_tenants_own(self, api: BackendApi) -> None:
        """Two tenants with the same key do not meet."""
        others_key = api.make_key(OTHER_TENANT)
        assert post(api, users("a"), idempotency_key="k")["statusCode"] == 202
        assert post(api, users("b"), idempotency_key="k", key=others_key)["statusCode"] == 202

    def test_a_refused_call_leaves_its_key_free(self, api: BackendApi) -> None:
        """The corrected call may use it."""
        check_problem(post(api, users("a/b"), idempotency_key="k"), 400, "invalid_request")
        past = format_time(api.world.clock() - timedelta(seconds=1))
        check_rule(post(api, not_before=past, idempotency_key="k"), "not_before", "must be in the future")
        check_nothing_was_written(api)
        assert post(api, users("ab"), idempotency_key="k")["statusCode"] == 202

    def test_a_time_that_has_come_since(self, api: BackendApi) -> None:
        """Repeated after its time has come, the call still gets its first answer; without the key it is refused."""
        moment = format_time(api.world.clock() + timedelta(hours=1))
        first = post(api, not_before=moment, idempotency_key="k")
        api.world.clock.advance(2 * 3600)
        assert post(api, not_before=moment, idempotency_key="k")["body"] == first["body"]
        check_rule(post(api, not_before=moment), "not_before", "must be in the future")
        check_problem(post(api, users("other"), not_before=moment, idempotency_key="k"), 409, "conflict")
        assert len(api.world.requests.records) == 1

    def test_a_call_that_died_is_completed_after_its_time(
        self, api: BackendApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A call that never came to its answer keeps its key, and its repetition makes the same request."""
        moment = format_time(api.world.clock() + timedelta(hours=1))
        with monkeypatch.context() as patch:
            patch.setattr(api.world.idempotency, "finish", _fail)
            check_problem(post(api, not_before=moment, idempotency_key="k"), 500, "internal_error")
        written = api.world.only_request()
        api.world.clock.advance(2 * 3600)
        reply = post(api, not_before=moment, idempotency_key="k")
        assert body_of(reply)["requests"][0]["request"]["id"] == written.request_id
        assert api.world.only_request() == written


def _fail(*_args: object) -> None:
    raise RuntimeError("the function died")
