"""Plans over the APIs: what erasing would find, a hash that an erasure may name, and nothing that is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from erasure.domain.outcome import RETAINED, Kept, TargetOutcome
from erasure.domain.times import format_time
from erasure.ports import Preview
from tests.functional.backend_calls import BackendApi, Reply, body_of
from tests.functional.backend_world import TARGETS, USER, a_map, table
from tests.functional.native_calls import (
    ANY_USER,
    accept,
    check_nothing_was_written,
    check_problem,
    check_rule,
    post,
    show,
    users,
)
from tests.functional.test_h2o_api import Api as SubjectApi

PATH = "/v1/erasure-plans"
EVERYTHING = [target["name"] for target in TARGETS if target["name"] != "group-events"]
UNTIL = "2036-01-31T00:00:00.000Z"


@pytest.fixture
def api() -> BackendApi:
    return BackendApi()


def plan(api: BackendApi, **body: Any) -> Reply:
    return api.call("POST", PATH, body or {"subject": ANY_USER})


def only_plan(api: BackendApi, **body: Any) -> dict[str, Any]:
    (shown,) = body_of(plan(api, **body))["plans"]
    found: dict[str, Any] = shown
    return found


class TestPlans:
    def test_one_subject(self, api: BackendApi) -> None:
        """Every target that an erasure would cover, and nothing is written."""
        reply = plan(api)
        (shown,) = body_of(reply)["plans"]
        assert reply["statusCode"] == 200
        assert shown["subject"] == ANY_USER
        assert [target["name"] for target in shown["targets"]] == EVERYTHING
        assert shown["targets"][0] == {"name": "accounts", "category": "account", "action": "delete", "count": 0}
        assert shown["out_of_scope"] == []
        check_nothing_was_written(api)

    def test_all_that_a_preview_may_tell(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """Counts and their bound, what stays, and what was not counted."""
        found = [
            Preview("a", "record", "redact", 1000, True, Kept(3, UNTIL, True), "tax law"),
            Preview("b", "content", "delete", 0, False, Kept(2)),
            Preview("c", "content", "delete", None),
            Preview("d", "content", "detach", None, problem="timed_out"),
        ]
        monkeypatch.setattr(api.world.data_reader, "preview", lambda *_: found)
        assert only_plan(api, subject=ANY_USER)["targets"] == [
            {
                "name": "a",
                "category": "record",
                "action": "redact",
                "count": 1000,
                "more": True,
                "kept": 3,
                "until": UNTIL,
                "kept_more": True,
                "basis": "tax law",
            },
            {"name": "b", "category": "content", "action": "delete", "count": 0, "kept": 2, "until": None},
            {"name": "c", "category": "content", "action": "delete", "count": None},
            {"name": "d", "category": "content", "action": "detach", "count": None, "problem": "timed_out"},
        ]

    def test_several_subjects(self, api: BackendApi) -> None:
        """A plan for each different one, in their order, with a hash of its own."""
        plans = body_of(plan(api, subjects=users("a", "b", "a")))["plans"]
        assert [entry["subject"]["id"] for entry in plans] == ["a", "b"]
        assert plans[0]["plan_hash"] != plans[1]["plan_hash"]

    def test_limits(self, api: BackendApi) -> None:
        """Categories and organizations limit a plan as they limit an erasure."""
        shown = only_plan(api, subject=ANY_USER, categories=["content"], scope={"organization_ids": ["o1"]})
        assert [target["name"] for target in shown["targets"]] == ["files"]
        shown = only_plan(api, subject=ANY_USER, scope={"organization_ids": ["o1"]})
        assert shown["out_of_scope"] == EVERYTHING[:-1]

    @pytest.mark.parametrize(
        ("body", "field", "rule"),
        [
            ({"subjects": []}, "subjects", "must not be empty"),
            ({"categories": ["content"]}, "subjects", "must be a list of objects"),
            ({"subjects": users(*"abcdefghijk")}, "subjects", "must not name more than 10 different ones"),
            ({"subject": ANY_USER, "subjects": users("a")}, "subjects", "must not be sent together with subject"),
            ({"subject": {"id": "a"}}, "subject.type", "must be one of"),
            ({"subject": ANY_USER, "dry_run": True}, "body", "may only have the fields"),
            ({"subject": ANY_USER, "categories": []}, "categories", "must be a list of"),
            ({"subject": ANY_USER, "categories": ["secrets"]}, "categories", "must be a list of"),
            ({"subject": ANY_USER, "categories": [["content"]]}, "categories", "must be a list of"),
            ({"subject": ANY_USER, "scope": {}}, "scope.organization_ids", "must be a list"),
        ],
    )
    def test_rules(self, api: BackendApi, body: dict[str, Any], field: str, rule: str) -> None:
        """What could be understood in two ways is refused."""
        check_rule(plan(api, **body), field, rule)

    def test_it_takes_a_key_that_may_read(self, api: BackendApi) -> None:
        """And no more than that."""
        writer, reader = api.make_key(scopes=["erasure:write"]), api.make_key(scopes=["erasure:read"])
        check_problem(api.call("POST", PATH, {"subject": ANY_USER}, key=writer), 403, "insufficient_permissions")
        assert api.call("POST", PATH, {"subject": ANY_USER}, key=reader)["statusCode"] == 200

    def test_without_the_reader_there_is_no_plan(self, api: BackendApi) -> None:
        """Nothing is guessed."""
        api.world.data_reader.down = True
        check_problem(plan(api), 500, "internal_error")


class TestPlanHash:
    def test_an_erasure_by_the_plan(self, api: BackendApi) -> None:
        """It is accepted as any other."""
        assert accept(api, plan_hash=only_plan(api, subject=ANY_USER)["plan_hash"])

    def test_counts_do_not_change_it(self, api: BackendApi) -> None:
        """What is found changes all the time; what would be done does not."""
        before = only_plan(api, subject=ANY_USER)["plan_hash"]
        api.world.put_user(count=5)
        assert only_plan(api, subject=ANY_USER)["plan_hash"] == before

    def test_another_map_since(self, api: BackendApi) -> None:
        """409 at once, however long maps are remembered; nothing is written."""
        plan_hash = only_plan(api, subject=ANY_USER)["plan_hash"]
        post(api, dry_run=True)
        api.world.maps.maps.append(a_map([*TARGETS, table("letters", "content")], version=2))
        check_problem(post(api, plan_hash=plan_hash), 409, "plan_changed")
        check_nothing_was_written(api)

    @pytest.mark.parametrize(
        "more",
        [
            {"subjects": users("somebody_else")},
            {"categories": ["content"]},
            {"scope": {"organization_ids": ["o1"]}},
            {"subjects": [{"type": "group", "id": USER}]},
        ],
    )
    def test_another_erasure(self, api: BackendApi, more: dict[str, Any]) -> None:
        """A plan is for one subject, its organizations and what is covered."""
        plan_hash = only_plan(api, subject=ANY_USER)["plan_hash"]
        check_problem(post(api, plan_hash=plan_hash, **more), 409, "plan_changed")
        check_nothing_was_written(api)

    def test_the_same_limits(self, api: BackendApi) -> None:
        """Limited as the plan was, the erasure is accepted; the order in which limits are named is none of it."""
        limits: dict[str, Any] = {"categories": ["content", "account"], "scope": {"organization_ids": ["o1", "o2"]}}
        plan_hash = only_plan(api, subject=ANY_USER, **limits)["plan_hash"]
        turned: dict[str, Any] = {"categories": ["account", "content"], "scope": {"organization_ids": ["o2", "o1"]}}
        assert post(api, plan_hash=plan_hash, **turned)["statusCode"] == 202

    def test_several_subjects(self, api: BackendApi) -> None:
        """400: there is no plan for them together."""
        plan_hash = only_plan(api, subject=ANY_USER)["plan_hash"]
        check_rule(
            post(api, users("a", "b"), plan_hash=plan_hash), "plan_hash", "can only be sent for a single subject"
        )

    @pytest.mark.parametrize("value", ["", "A" * 64, "0" * 63, 17, None])
    def test_what_is_no_hash(self, api: BackendApi, value: object) -> None:
        """400 for what no plan has given."""
        check_rule(post(api, plan_hash=value), "plan_hash", "must be one that a plan gave")

    def test_a_repeated_call(self, api: BackendApi) -> None:
        """It gets the first answer again, whatever map there is by now."""
        plan_hash = only_plan(api, subject=ANY_USER)["plan_hash"]
        first = post(api, plan_hash=plan_hash, idempotency_key="once")
        api.world.maps.maps.append(a_map([*TARGETS, table("letters", "content")], version=2))
        again = post(api, plan_hash=plan_hash, idempotency_key="once")
        assert (again["statusCode"], body_of(again)) == (202, body_of(first))
        check_problem(post(api, plan_hash="0" * 64, idempotency_key="once"), 409, "conflict")

    def test_a_call_that_died_in_between(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it has written was let in by its plan, and goes on: a 409 would say that nothing is erased."""
        plan_hash = only_plan(api, subject=ANY_USER)["plan_hash"]
        with monkeypatch.context() as patch:
            patch.setattr(api.world.queue, "send", _die)
            assert post(api, plan_hash=plan_hash, idempotency_key="once")["statusCode"] == 500
        api.world.maps.maps.append(a_map([*TARGETS, table("letters", "content")], version=2))
        assert post(api, plan_hash=plan_hash, idempotency_key="once")["statusCode"] == 202


def _die(*_: object, **__: object) -> None:
    raise RuntimeError("the process died here")


def test_a_dry_run_by_a_plan(api: BackendApi) -> None:
    """It is refused as the erasure would be."""
    check_problem(post(api, plan_hash="0" * 64, dry_run=True), 409, "plan_changed")


def test_a_request_tells_what_stays_and_what_it_waits_for(api: BackendApi) -> None:
    """What is kept, by which law and until when; and when tables without an index are scanned for it."""
    request_id = accept(api)
    outcome = TargetOutcome("audit-events", "record", RETAINED, 2, kept=3, kept_more=True, until=UNTIL, basis="tax law")
    request = api.world.request(request_id)
    job_id = f"{request_id}-1"
    api.world.requests.records[request_id] = replace(
        request,
        state="started",
        job_id=job_id,
        attempt=1,
        closed_jobs=frozenset({job_id}),
        outcomes=(outcome,),
        scan_at=request.due_at,
    )
    shown = body_of(show(api, request_id))
    assert shown["scan_at"] == format_time(request.due_at)
    assert shown["targets"] == [
        {
            "name": "audit-events",
            "category": "record",
            "state": "retained",
            "count": 2,
            "kept": 3,
            "until": UNTIL,
            "kept_more": True,
            "basis": "tax law",
        }
    ]


class TestOwnPreview:
    @pytest.fixture
    def api(self) -> SubjectApi:
        return SubjectApi()

    def call(self, api: SubjectApi, by: str | None = "alice") -> dict[str, Any]:
        path = "/users/current/deletion-preview"
        return api.call("health", by=by, path=path, resource=path)

    def test_what_a_deletion_would_find(self, api: SubjectApi) -> None:
        """What step two would erase, of the person who is signed in, and a hash."""
        asked: list[Any] = []

        def preview(subject: Any, organization_ids: Any, data_map: Any) -> list[Preview]:
            asked.append((subject, organization_ids, [spec.name for spec in data_map.targets]))
            return [Preview("files", "content", "delete", 1000, more=True)]

        api.reader.preview = preview  # type: ignore[method-assign]
        reply = self.call(api)
        body = body_of(reply)
        assert reply["statusCode"] == 200
        assert len(body.pop("plan_hash")) == 64
        assert body == {
            "targets": [{"target": "files", "category": "content", "action": "delete", "count": 1000, "more": True}]
        }
        ((subject, organization_ids, targets),) = asked
        assert (subject.id, organization_ids, targets) == ("alice-of-the-tests", (), ["files"])

    def test_only_for_who_is_signed_in(self, api: SubjectApi) -> None:
        """The same refusal as everywhere."""
        reply = self.call(api, by=None)
        assert (reply["statusCode"], body_of(reply)["code"]) == (401, 401)

    def test_what_cannot_be_told(self, api: SubjectApi) -> None:
        """H2O's envelope, and nothing guessed."""
        api.reader.down = True
        reply = self.call(api)
        assert (reply["statusCode"], body_of(reply)["code"]) == (500, 500)
