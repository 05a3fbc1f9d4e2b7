"""Erasures requested, listed, cancelled, tried again and looked into from the command line."""

from __future__ import annotations

import json
from datetime import timedelta

import click
import pytest

from erasure_client import AuditTrail, Subject
from erasure_client._http import HTTPCarrier
from erasure_client._requests import Requests
from erasure_client.testing import FakeService
from tests.functional.client.cli.conftest import Erasure

pytestmark = pytest.mark.usefixtures("signed_in")


@pytest.fixture
def ann(service: FakeService) -> str:
    service.add_user("ann", documents=3, invoices=2)
    return "ann"


def made(service: FakeService) -> list[str]:
    """Ids of all requests, newest first."""
    return [each.id for each in service.client().requests.list()]


def test_a_request_is_accepted_and_told_by_its_id(erasure: Erasure, service: FakeService, ann: str) -> None:
    """The id, and how to follow it, are told; and that nothing is gone by that."""
    result = erasure("request", ann, "--yes")
    assert result.exit_code == 0
    [request_id] = made(service)
    assert "Nothing is gone yet." in result.stdout
    assert f"erasure status {request_id} --watch" in result.stdout
    assert not service.erased(ann)


def test_a_request_as_json_is_the_services_answer(erasure: Erasure, service: FakeService, ann: str) -> None:
    """``--json`` has the fields of the API."""
    document = json.loads(erasure("request", ann, "bob", "--yes", "--json").stdout)
    assert [each["status"] for each in document["requests"]] == ["accepted", "accepted"]
    assert [each["request"]["id"] for each in document["requests"]] == made(service)[::-1]
    assert document["requests"][0]["subject"] == {"type": "user", "id": ann}


def test_without_yes_nothing_is_sent(erasure: Erasure, service: FakeService, ann: str) -> None:
    """Without a terminal to ask on, what cannot be undone is not begun."""
    result = erasure("request", ann)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert service.calls == []


@pytest.mark.parametrize(("answer", "code", "requests"), [("y", 0, 2), ("n", 1, 0), ("", 1, 0)])
def test_it_asks_before_it_erases(
    erasure: Erasure, service: FakeService, answer: str, code: int, requests: int
) -> None:
    """The question names whom, where and as which tenant; only a yes goes on."""
    result = erasure("request", "ann", "[red]\u202ebob", is_interactive=True, input=f"{answer}\n")
    assert result.exit_code == code
    assert len(made(service)) == requests
    assert "cannot be brought back" in result.stderr
    assert "  user ann\n  user [red]\\u202ebob\n" in result.stderr
    assert f"  at {service.url}\n  tenant: the key's own" in result.stderr


def test_no_answer_is_no(erasure: Erasure, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves at the question has done nothing, and is told so."""

    def leave(*_: object, **__: object) -> bool:
        raise click.Abort

    monkeypatch.setattr(click, "confirm", leave)
    result = erasure("request", "ann", is_interactive=True)
    assert result.exit_code == 130
    assert "error: Nothing was done." in result.stderr
    assert service.calls == []


def test_many_are_not_all_named_in_the_question(erasure: Erasure, service: FakeService) -> None:
    """A question stays short; the number of subjects is told."""
    result = erasure("request", *(f"u{n}" for n in range(1_000)), is_interactive=True, input="n\n")
    assert result.exit_code == 1
    assert "1,000 subjects" in result.stderr
    assert "and 990 others" in result.stderr
    assert service.calls == []


def test_options_reach_the_service(erasure: Erasure, service: FakeService) -> None:
    """Type, categories, organizations and the time are the request's."""
    options = ("--category", "content", "--organization", "org_1", "--not-before", "+36h")
    assert erasure("request", "ann", *options, "--yes").exit_code == 0
    assert erasure("request", "g", "--type", "group", "--yes").exit_code == 0
    group, user = (service.client().requests.get(each) for each in made(service))
    assert group.subject == Subject.group("g")
    assert user.organization_ids == ("org_1",)
    assert user.not_before is not None
    assert timedelta(hours=35, minutes=59) < user.not_before - service.now() <= timedelta(hours=36)


def test_some_refused_is_exit_code_3(erasure: Erasure, service: FakeService) -> None:
    """Of several, those that the service cannot erase safely are named with the reason."""
    result = erasure("request", "ann", "team/ops", "--yes")
    assert result.exit_code == 3
    assert "refused  user team/ops: ambiguous_identifier" in result.stdout
    document = json.loads(erasure("request", "ann", "team/ops", "--yes", "--json").stdout)
    assert [each["status"] for each in document["requests"]] == ["accepted", "refused"]
    assert document["requests"][1]["reason"] == "ambiguous_identifier"
    assert erasure("request", "team/ops", "--yes").exit_code == 1


def test_a_dry_run_requests_nothing(erasure: Erasure, service: FakeService, ann: str) -> None:
    """What would be covered is shown; nobody is asked, and nothing is written."""
    result = erasure("request", ann, "--dry-run")
    assert result.exit_code == 0
    assert "documents" in result.stdout
    assert "Nothing was requested." in result.stdout
    document = json.loads(erasure("request", ann, "--dry-run", "--json").stdout)
    assert document["dry_run"] is True
    assert {"name": "documents", "category": "content"}.items() <= document["plans"][0]["targets"][4].items()
    assert made(service) == []


def test_a_plan_that_has_changed_is_exit_code_6(erasure: Erasure, service: FakeService, ann: str) -> None:
    """What was previewed is what is erased, or nothing is."""
    plan_hash = json.loads(erasure("preview", ann, "--json").stdout)["plans"][0]["plan_hash"]
    assert plan_hash in erasure("preview", ann).stdout
    refused = erasure("request", ann, "--yes", "--plan-hash", "0" * 64)
    assert refused.exit_code == 6
    assert "erasure preview" in refused.stderr
    assert made(service) == []
    assert erasure("request", ann, "--yes", "--plan-hash", plan_hash).exit_code == 0


def test_a_preview_counts_and_changes_nothing(erasure: Erasure, service: FakeService, ann: str) -> None:
    """What would be found is counted, and still there."""
    rows = {line.split()[0]: line.split() for line in erasure("preview", ann).stdout.splitlines() if line.strip()}
    assert rows["documents"][:4] == ["documents", "content", "delete", "3"]
    assert service.user(ann).things["documents"] == 3
    assert made(service) == []


def test_a_lost_answer_says_how_to_make_nothing_twice(
    erasure: Erasure, service: FakeService, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is not known whether it was accepted, the same command with the key that is told makes one request."""
    monkeypatch.setattr(HTTPCarrier, "pause", lambda *_: None)
    service.lose_next_answer(after_work=True, times=5)
    lost = erasure("request", ann, "--yes", "--not-before", "+2d", "--json")
    assert lost.exit_code == 8
    advice = json.loads(lost.stderr)["error"]["next"]
    assert "is not known" in json.loads(lost.stderr)["error"]["message"]
    words = advice.split()
    key = words[words.index("--idempotency-key") + 1]
    not_before = words[words.index("--not-before") + 1].rstrip(":")
    assert len(made(service)) == 1
    again = erasure("request", ann, "--yes", "--not-before", not_before, "--idempotency-key", key)
    assert again.exit_code == 0
    [request_id] = made(service)
    assert request_id in again.stdout


def test_the_list_is_newest_first_and_short(erasure: Erasure, service: FakeService) -> None:
    """By state and by subject; that there are more is said."""
    for each in ("ann", "bob", "ann"):
        service.client().requests.create(each)
    service.finish(made(service)[-1])
    listed = json.loads(erasure("list", "--json").stdout)
    assert [each["id"] for each in listed["requests"]] == made(service)
    assert listed["more"] is False
    short = erasure("list", "--limit", "2")
    assert [line.split()[0] for line in short.stdout.splitlines()[1:]] == made(service)[:2]
    assert "There are more" in short.stderr
    assert json.loads(erasure("list", "--limit", "2", "--json").stdout)["more"] is True
    finished = json.loads(erasure("list", "--state", "finished", "--json").stdout)["requests"]
    assert [each["id"] for each in finished] == made(service)[-1:]
    of_bob = json.loads(erasure("list", "--subject", "bob", "--json").stdout)["requests"]
    assert [each["subject"]["id"] for each in of_bob] == ["bob"]
    assert "There is none." in erasure("list", "--subject", "bob", "--type", "group").stderr
    assert erasure("list", "--state", "gone").exit_code == 2


def test_a_request_can_be_cancelled_until_it_begins(erasure: Erasure, service: FakeService, ann: str) -> None:
    """After that it is a conflict, with how to look."""
    early, late = (service.client().requests.create(ann).request.id for _ in range(2))
    result = erasure("cancel", early)
    assert result.exit_code == 0
    assert "cancelled: It was taken back before it began." in result.stdout
    service.finish(late)
    conflict = erasure("cancel", late)
    assert conflict.exit_code == 6
    assert f"erasure status {late}" in conflict.stderr


def test_what_failed_can_be_tried_again(erasure: Erasure, service: FakeService, ann: str) -> None:
    """``retry`` has another job work on it."""
    service.fail("documents")
    request_id = service.client().requests.create(ann).request.id
    service.run()
    assert erasure("status", request_id).exit_code == 3
    service.mend("documents")
    result = erasure("retry", request_id)
    assert "attempt 2" in result.stdout
    service.run()
    assert service.erased(ann)
    assert erasure("retry", request_id).exit_code == 6


def test_expediting_asks_first(erasure: Erasure, service: FakeService, ann: str) -> None:
    """It takes away the time in which it can be cancelled."""
    later = service.now() + timedelta(days=7)
    request_id = service.client().requests.create(ann, not_before=later).request.id
    assert erasure("expedite", request_id).exit_code == 2
    service.run()
    assert not service.erased(ann)
    assert erasure("expedite", request_id, "--yes").exit_code == 0
    service.run()
    assert service.erased(ann)
    assert erasure("expedite", request_id, "--yes").exit_code == 6


def test_the_audit_trail_is_shown_with_its_verdict(erasure: Erasure, service: FakeService, ann: str) -> None:
    """Each event with its time, and whether the trail is whole."""
    request_id = service.client().requests.create(ann).request.id
    service.run()
    result = erasure("audit", request_id)
    assert result.exit_code == 0
    assert [line.split()[3] for line in result.stdout.splitlines()[1:-2]] == ["requested", "planned", "finished"]
    assert "whole: every entry is there" in result.stdout
    document = json.loads(erasure("audit", request_id, "--json").stdout)
    assert document["whole"] is True
    assert {"event", "digest", "previous_digest", "at"} <= document["entries"][0].keys()


def test_a_trail_that_is_not_whole_is_exit_code_1(erasure: Erasure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trail that somebody has changed is not passed over."""
    monkeypatch.setattr(Requests, "audit", lambda *_: AuditTrail("er_1", False, ()))
    result = erasure("audit", "er_1")
    assert result.exit_code == 1
    assert "NOT whole" in result.stdout


def test_figures_of_the_promise(erasure: Erasure, service: FakeService, ann: str) -> None:
    """What is open and what is late is shown."""
    service.client().requests.create(ann)
    assert "open      1 (1 requested, 0 started, 0 held)" in erasure("sla").stdout
    service.advance(timedelta(hours=73))
    late = [line.split() for line in erasure("sla").stdout.splitlines()]
    assert ["late", "1"] in late
    assert json.loads(erasure("sla", "--json").stdout)["overdue"] == 1


def test_rules_of_retention_need_a_platform_key(erasure: Erasure, service: FakeService) -> None:
    """Another key is told so; a platform key sees them."""
    assert erasure("retention").exit_code == 4
    platform = {"ERASURE_API_KEY": service.make_key(is_platform=True), "ERASURE_TENANT": "acme"}
    result = erasure("retention", "--json", env=platform)
    assert result.exit_code == 0
    assert "rules" in json.loads(result.stdout)
