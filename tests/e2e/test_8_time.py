"""What runs by the clock, on the deployed stack and by its own schedules: nobody calls sla_watch here, and nobody
retention_sweep until what it has to do by itself is seen to be done.

All that takes its time is set in motion first (``time_scene.py``), and looked at test by test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from h2ogpte import H2OGPTE
from h2ogpte.errors import HTTPError

from erasure.domain.audit import broken_at
from erasure.domain.request import HELD, REQUESTED
from local.deployment import SAMPLE_DATA_MAP, operate, put_data_map
from local.stack import Stack, load_stack
from local.tokens import token
from tests.conftest import TEST_PORT
from tests.e2e.calls import Backend, audit_of, request_of, wait_for, wait_until_finished
from tests.e2e.time_scene import (
    HEAVY_DOCUMENTS,
    KEPT_BY_HELLOJOHN,
    LOST,
    RESTORED,
    SCHEDULES,
    TENANT,
    Scene,
    person,
    set_scene,
)
from tests.e2e.time_world import (
    Thing,
    everything,
    executions_of,
    metric_values,
    own_items,
    plant,
    still_there,
)

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def scene(stack: Stack) -> Iterator[Scene]:
    scene = set_scene(load_stack(TEST_PORT))  # as it is now: the demo has deployed again if anything has changed
    yield scene
    scene.listener.close()


def test_soft_deleted_user_is_erased_by_the_schedule(scene: Scene) -> None:
    """Disabled with a date: when that has come the sweep sends the deletion off, and all but records is gone."""
    scene.finish("soft")
    assert scene.left("soft", KEPT_BY_HELLOJOHN) == []
    assert [thing.category for thing in scene.left("soft")] == ["record"]
    assert scene.backend.call("GET", scene.backend.user(person("soft").user)).status_code == 404
    # On a machine that has much to do, the watch may send it once more before it is taken up.
    assert [event for event in scene.trail("soft") if event != "resent"] == ["requested", "planned", "finished"]


def test_purged_queue_heals_by_itself(scene: Scene) -> None:
    """Requests whose message was purged are sent once more, together: one execution for all of them, one end for each,
    and trails that tell of it."""
    scene.finish(*LOST)
    for name in LOST:
        assert scene.left(name) == []
        assert scene.trail(name) == ["requested", "resent", "planned", "finished"]
    (execution,) = executions_of(scene.stack, scene.requests[LOST[0]])
    assert executions_of(scene.stack, scene.requests[LOST[-1]]) == [execution]
    assert execution.status == "SUCCEEDED"


def test_aborted_execution_heals_by_itself(scene: Scene) -> None:
    """A request whose execution was stopped gets another one, which begins after the first has ended, and is finished
    once; its outcome counts what both have erased."""
    scene.finish("aborted")
    assert scene.left("aborted") == []
    first, second = executions_of(scene.stack, scene.requests["aborted"])
    assert (first.status, second.status) == ("ABORTED", "SUCCEEDED")
    assert first.stopped_at is not None
    assert first.stopped_at < second.started_at
    assert scene.trail("aborted") == [
        "requested", "planned", "resent", "taken_over", "planned", "finished",
    ]  # fmt: skip
    request = request_of(scene.stack, scene.requests["aborted"])
    assert request.closed_jobs == {second.name}
    assert {outcome.target: outcome.count for outcome in request.outcomes}["documents"] == HEAVY_DOCUMENTS


def test_alarms_are_told_once_on_the_bus_in_the_trail_and_as_metrics(scene: Scene) -> None:
    """Whoever has not been erased after 71 of 72 hours was told of three times, and after 73 four times, each level
    once: in the trail, as an event with an id of its own, and in the log lines that CloudWatch makes metrics of."""
    levels = {"at-risk": [50, 75, 90], "overdue": [50, 75, 90, 100]}
    scene.finish(*levels)
    for name, expected in levels.items():
        request_id, alarms = scene.requests[name], [f"erasure.sla_{_kind(level)}" for level in expected]
        assert scene.trail(name) == [
            "requested", *(f"sla_{_kind(level)}" for level in expected), "resent", "planned", "finished",
        ]  # fmt: skip
        wait_for(_heard(scene, request_id, len(alarms)), "the events")
        told = scene.listener.of(request_id)
        assert [kind for kind, _ in told] == alarms
        assert [details["event_id"] for _, details in told] == [f"{request_id}:sla:{level}" for level in expected]
        assert [details["percent"] for _, details in told] == expected
        assert all(details["family"] == "native" for _, details in told)

    def total(function: str, metric: str) -> float:
        return sum(metric_values(scene.stack, function, metric, scene.began_at))

    assert [total("sla_watch", f"SlaAtRisk{level}") for level in (50, 75, 90)] == [2, 2, 2]
    assert total("sla_watch", "SlaBreached") == 1
    assert total("sla_watch", "RequestsResent") >= len([*LOST, "aborted", *levels])
    assert max(metric_values(scene.stack, "sla_watch", "OpenRequests", scene.began_at)) >= len(levels)
    assert max(metric_values(scene.stack, "sla_watch", "OverdueRequests", scene.began_at)) == 1
    assert min(metric_values(scene.stack, "sla_watch", "TimeToDeadline", scene.began_at)) < 0
    assert total("close_job", "FinishedLate") == 1
    assert total("close_job", "FinishedWithinSla") >= len(["soft", *LOST, "aborted", "at-risk"])


def _heard(scene: Scene, request_id: str, many: int) -> Callable[[], bool]:
    return lambda: len(scene.listener.of(request_id)) >= many


def _kind(level: int) -> str:
    return "breached" if level == 100 else "at_risk"


def test_late_writes_of_somebody_who_is_gone_are_found_and_erased(scene: Scene) -> None:
    """A session and an avatar that were written after a user's deletion are found a day later and erased by a request
    of their own; both requests, an event and a metric tell of it."""
    first = scene.requests["late"]
    following = wait_for(
        lambda: request_of(scene.stack, first).followed_by or _followed_by(scene, first), "the second look", SCHEDULES
    )
    wait_until_finished(scene.stack, [following])
    assert scene.left("late", KEPT_BY_HELLOJOHN) == []
    request = request_of(scene.stack, following)
    assert (request.purpose, request.follows) == ("second_look", first)
    assert sorted(request.only_targets) == ["avatars", "sessions"]
    erased = {outcome.target: outcome.count for outcome in request.outcomes}
    wait_for(lambda: "late_arrivals" in scene.trail("late"), "the count in the first one's trail")
    entries = {entry.event: dict(entry.details) for entry in audit_of(scene.stack).entries(first)}
    assert entries["second_look"]["followed_by"] == following
    assert entries["late_arrivals"] == {"count": sum(erased.values()), "request_id": following}
    assert erased["sessions"] == 1
    wait_for(lambda: scene.listener.of(first), "the event")
    ((kind, details),) = scene.listener.of(first)
    assert (kind, details["followed_by"]) == ("erasure.late_arrivals", following)
    assert sum(metric_values(scene.stack, "close_job", "LateArrivals", scene.began_at)) == sum(erased.values())


def _followed_by(scene: Scene, request_id: str) -> str | None:
    entries = audit_of(scene.stack).entries(request_id)
    found = [entry.details["followed_by"] for entry in entries if entry.event == "second_look"]
    return str(found[0]) if found else None


def test_after_their_time_records_forget_their_subject(scene: Scene) -> None:
    """90 days on, June's list shows no id where it showed one, and no item of the service has it in any spelling; the
    trail and the counts are there as before."""
    user, request_id = person("forgotten").user, scene.requests["forgotten"]
    wait_for(lambda: request_of(scene.stack, request_id).purged_at, "the purge", SCHEDULES)
    assert scene.trail("forgotten") == ["requested", "planned", "finished", "purged"]
    shown = scene.backend.accept("GET", "/api/platform/data_management/user_deletion_requests", 200).json()["data"]
    (own,) = [request for request in shown if request["id"] == request_id]
    assert (own["user_id"], own["state"]) == (None, "finished")
    assert sum(outcome.count for outcome in request_of(scene.stack, request_id).outcomes) >= len(scene.of["forgotten"])
    texts = own_items(scene.stack)
    assert any(person("bystander").user not in text and person("late").user in text for text in texts)
    for spelling in (user, quote(user), quote(user, safe=""), user.replace("+", " "), "forgotten"):
        assert not [text for text in texts if spelling in text], spelling
    # By its digest the subject's requests are still found.
    assert request_id in [request["id"] for request in scene.requests_about("forgotten")]


def test_hold_stops_what_is_open_and_lifting_it_goes_on(scene: Scene) -> None:
    """Under a legal hold, put while one request waits: that one is held, those that come are held when they are
    planned, nothing is erased, and whoever would be promised an effect at once, by self-deletion's two calls and
    HelloJohn's delete, is told why not, of a further id too. Once the hold is lifted all are finished, and their trails
    and the hold's are whole."""
    backend, user, alias = scene.backend, person("held").user, person("held-alias").user
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    waiting = backend.erase(person("held"), not_before=later)["requests"][0]["request"]["id"]
    client = H2OGPTE(address=scene.stack.api_url, api_key=token(user, TENANT, stack=scene.stack))
    delete_id = client.request_current_user_deletion()

    path = f"/v1/legal-holds/{quote(user, safe='')}"
    said = {"reason": "proceedings 12/26", "author": "legal@acme.example", "aliases": [alias]}
    hold = backend.accept("PUT", path, 201, said).json()
    assert (hold["held_requests"], hold["aliases"]) == (1, 1)
    assert request_of(scene.stack, waiting).state == HELD
    for call in (client.request_current_user_deletion, lambda: client.confirm_current_user_deletion(delete_id)):
        with pytest.raises(HTTPError, match="legal hold") as refused:
            call()
        assert refused.value.status_code == 409
    for held in (user, alias):
        answer = backend.accept("DELETE", backend.user(held), 409)
        assert "legal hold" in answer.json()["message"]
        assert held not in answer.text
    june = "/api/platform/data_management/user_deletion_request"
    coming = backend.accept("POST", june, 200, {"user_id": user}).json()["id"]
    wait_for(lambda: request_of(scene.stack, coming).state == HELD, "the job's plan to see the hold")
    # Nobody knew of the hold when the delete id was handed out: what it confirms waits as well.
    about = [request_of(scene.stack, request["id"]) for request in scene.requests_about("held")]
    assert sorted((request.family, request.state) for request in about) == [
        ("h2o", HELD), ("june", HELD), ("native", HELD),
    ]  # fmt: skip
    assert scene.left("held") == scene.of["held"]
    assert scene.left("held-alias") == scene.of["held-alias"]

    backend.accept("DELETE", path, 204)
    assert request_of(scene.stack, waiting).state == REQUESTED
    backend.accept("POST", f"/v1/erasure-requests/{waiting}/expedite", 202)
    wait_until_finished(scene.stack, [request.request_id for request in about])
    assert scene.left("held") == []
    for request in about:
        scene.requests["held"] = request.request_id
        told = [event for event in scene.trail("held") if event in ("held", "resumed", "finished")]
        assert told == ["held", "resumed", "finished"]
    trail = audit_of(scene.stack).entries(f"HOLD#{hold['subject_digest']}")
    assert broken_at(trail) is None
    assert [entry.event for entry in trail] == ["hold_set", "refused", "refused", "hold_lifted"]
    assert [entry.details["family"] for entry in trail if entry.event == "refused"] == ["h2o", "hellojohn"]
    # The further id names another user, whom nothing holds any more.
    backend.accept("DELETE", backend.user(alias), 204)


@pytest.fixture
def platform(scene: Scene) -> Iterator[Backend]:
    """With a key of the platform's. Afterwards the sample's map is the current one again, without rules of age."""
    yield Backend(scene.stack, "*")
    put_data_map(scene.stack, SAMPLE_DATA_MAP)


def test_rule_of_age_reports_first_and_then_erases(scene: Scene, platform: Backend) -> None:
    """A rule that is put with the map counts what is old before it erases anything; then what is old goes, and what is
    young, of unknown age, or somebody's whom a hold concerns stays."""
    now = datetime.now(UTC)
    names = {"old": (60, "aged-1"), "older": (400, "aged-2"), "young": (1, "aged-1"), "held": (60, "aged-held")}
    sessions = {
        name: _session(name, owner, (now - timedelta(days=days)).isoformat()) for name, (days, owner) in names.items()
    }
    sessions["unknown"] = _session("unknown", "aged-1", "some time ago")
    plant(scene.stack, sessions.values())
    scene.of["aged"] = list(sessions.values())
    hold = f"/v1/legal-holds/{quote(person('aged-held').user, safe='')}"
    scene.backend.accept("PUT", hold, 201, {"reason": "proceedings", "author": "legal"})
    document = yaml.safe_load(SAMPLE_DATA_MAP.read_text())
    document["retention"] = [
        {"target": "sessions", "older_than": "30d", "attribute": "last_seen_at"},
        {"target": "avatars", "older_than": "1y"},
    ]
    put = platform.call("PUT", "/v1/data-map", document, X_Tenant_ID=TENANT)
    assert put.status_code == 200, put.text

    def after(what: str) -> dict[str, dict[str, Any]]:
        rules: dict[str, dict[str, Any]] = wait_for(
            lambda: _swept_rules(scene.stack, platform, what), f"each rule's {what}", seconds=90, every=1
        )
        return rules

    report = after("last_report")
    assert {name: rule["last_report"]["matched"] for name, rule in report.items()} == {"sessions": 2, "avatars": 0}
    run = after("last_run")
    assert {name: rule["last_run"]["erased"] for name, rule in run.items()} == {"sessions": 2, "avatars": 0}
    assert run["sessions"]["last_run"]["kept"] == 1
    assert run["sessions"]["last_run"]["unreadable"] >= 1
    kept = [sessions[name] for name in ("young", "held", "unknown")]
    assert still_there(scene.stack, sessions.values()) == kept
    reported, erased = (request_of(scene.stack, rules["sessions"][what]["request_id"]) for rules, what in (
        (report, "last_report"), (run, "last_run"),
    ))  # fmt: skip
    assert [outcome.outcome for outcome in reported.outcomes] == ["reported"]
    assert reported.finished_at is not None
    assert erased.started_at is not None
    assert reported.finished_at <= erased.started_at
    assert run["sessions"]["state"] == "erasing"
    scene.backend.accept("DELETE", hold, 204)


def _session(name: str, owner: str, last_seen_at: str) -> Thing:
    values = {
        "session_id": f"session-of-age-{name}",
        "tenant_user": f"{TENANT}#{person(owner).user}",
        "last_seen_at": last_seen_at,
    }
    return Thing("app-sessions", "session", {attribute: {"S": value} for attribute, value in values.items()})


def _swept_rules(stack: Stack, platform: Backend, what: str) -> dict[str, dict[str, Any]]:
    """The rules by their targets, once a sweep has noted ``what`` of all of them."""
    client: Any = stack.client
    answer = client("lambda").invoke(FunctionName=stack["RETENTION_SWEEP_FUNCTION_NAME"], Payload=b"{}")
    assert "FunctionError" not in answer
    shown = platform.call("GET", "/v1/retention", X_Tenant_ID=TENANT)
    assert shown.status_code == 200, shown.text
    rules = shown.json()["rules"]
    return {rule["target"]: rule for rule in rules} if all(what in rule for rule in rules) else {}


def test_restored_tables_are_clean_again_after_the_replay(scene: Scene) -> None:
    """Tables that are restored bring back people whom four families have erased since: the operator's replay erases
    them again, in these tables, and nobody else, and not the one who has an account again; once more, it finds nothing
    to do."""
    stack, tables = scene.stack, ("app-documents", "app-sessions")
    scene.finish(*RESTORED)
    clean = {name: scene.left(name) for name in RESTORED}
    back = {name: [thing for thing in scene.of[name] if thing.place in tables and thing.item] for name in RESTORED}
    plant(stack, [thing for things in back.values() for thing in things])
    plant(stack, [thing for thing in scene.of["back-returned"] if thing.category == "account"])
    assert all(scene.left(name) != clean[name] for name in RESTORED)

    since = scene.began_at.isoformat()
    arguments = ["--since", since, *(part for table in tables for part in ("--table", table)), "--json"]
    report = json.loads(operate(stack, "nothing was replayed", "replay", *arguments))
    assert report["skipped"] == {"returned": 1}
    again = {name: scene.requests_about(name)[0]["id"] for name in RESTORED if name != "back-returned"}
    wait_until_finished(stack, again.values())
    for name, request_id in again.items():
        request = request_of(stack, request_id)
        assert (request.purpose, request.follows) == ("replay", scene.requests[name])
        assert scene.left(name) == clean[name]
        assert broken_at(audit_of(stack).entries(request_id)) is None
    assert still_there(stack, back["back-returned"]) == back["back-returned"]
    repeated = json.loads(operate(stack, "nothing was replayed", "replay", *arguments))
    assert (repeated["replayed"], repeated["done_before"]) == (0, report["replayed"])


def test_nobody_else_has_lost_or_gained_anything(scene: Scene) -> None:
    """After all of this, what is others', people with the same ids in another tenant included, is as it was before."""
    after = everything(scene.stack, but=scene.theirs())
    assert {name for name in scene.before.keys() | after.keys() if scene.before.get(name) != after.get(name)} == set()
    assert scene.left("bystander") == scene.of["bystander"]
