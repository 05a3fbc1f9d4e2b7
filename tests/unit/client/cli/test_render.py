"""Erasure requests as people read them. What is not known to be gone never sounds like it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from erasure_client import DryRun, Plan, PlannedTarget, PlanTarget, Subject
from erasure_client.cli._plans import dry_runs_view, plans_view
from erasure_client.cli._render import advice, request_view, requests_table, standing
from tests.unit.client.cli.requests_told import NOW, REQUEST_ID, request, target

SOUNDS_GONE = re.compile(r"is erased|are erased|erased, and|verified|there was nothing|is done|complete", re.IGNORECASE)
TAX = {"kept": 3, "until": "2036-01-31T12:00:00.000Z", "basis": "tax law"}


def shown(view: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def sentence(*args: Any, **more: Any) -> str:
    stands = standing(request(*args, **more), NOW)
    return f"{stands.word}: {stands.sentence}"


NOT_FINISHED: list[dict[str, Any]] = [
    {"state": "requested"},
    {"state": "requested", "not_before": "2026-11-29T12:00:00.000Z"},
    {"state": "started"},
    {"state": "started", "attention": True},
    {"state": "started", "attention": True, "parked_at": "2026-11-22T11:00:00.000Z"},
    {"state": "started", "scan_at": "2026-11-23T12:00:00.000Z"},
    {"state": "held", "held_since": "2026-11-22T11:00:00.000Z"},
    {"state": "cancelled"},
    {"state": "a word of tomorrow"},
]


@pytest.mark.parametrize("told", NOT_FINISHED, ids=lambda told: ",".join(map(str, told.values())))
def test_what_is_not_finished_never_sounds_gone(told: dict[str, Any]) -> None:
    """Whatever its targets say, a request that is not finished is not told as one."""
    for targets in ([], [target("a", "erased", 3), target("b", "already_absent")]):
        more = {name: value for name, value in told.items() if name != "state"}
        text = sentence(told["state"], *targets, **more)
        assert not SOUNDS_GONE.search(text.replace("is erased from", "").replace("Nothing is erased until", "")), text
        assert "finished" not in text


def test_finished_and_all_gone_is_said_so() -> None:
    """Only a request whose every target is known to be gone is told as erased."""
    gone = [target("documents", "erased", 6), target("mentions", "detached", 2), target("drafts", "already_absent")]
    assert sentence("finished", *gone) == "finished: All that it covers is erased, and verified."
    nothing = sentence("finished", target("documents", "already_absent"))
    assert nothing == "finished: Looked for everywhere that it covers: there was nothing."


def test_what_is_kept_is_said_with_the_reason() -> None:
    """Finished with kept things: how many, where, by what law, until when."""
    kept = target("receipts", "retained", 1, **TAX)
    text = shown(request_view(request("finished", target("documents", "erased", 6), kept), NOW))
    assert "finished; 3 things are kept: 3 in receipts (tax law, until 2036-01-31)." in text
    assert not SOUNDS_GONE.search(text)


def test_what_a_bucket_does_not_let_go_is_said() -> None:
    """Of what stays without an end that anybody knows, that is said."""
    blocked = target("exports", "blocked", 0, kept=1, until=None)
    assert "1 thing is kept: 1 in exports (without a known end)" in sentence("finished", blocked)
    several = target("exports", "blocked", 0, kept=1_000, kept_more=True, until=None)
    assert "at least 1,000 things are kept" in sentence("finished", several)


@pytest.mark.parametrize("state", ["reported", "failed", "waiting", "a word of tomorrow"])
def test_an_end_that_is_not_known_is_not_gone(state: str) -> None:
    """A finished request with a target in no state that means gone says which."""
    text = sentence("finished", target("documents", "erased", 1), target("odd", state))
    assert text == "finished: finished; not known to be gone: odd."


def test_a_finished_request_without_targets_promises_nothing() -> None:
    """In lists, and when the record has forgotten, targets are not told: then nothing is said of them."""
    assert "not told here" in sentence("finished")


def test_attention_says_what_failed_and_what_to_do() -> None:
    """The failed targets with their reasons; that it is tried again, or not; the next command."""
    failed = [target("invoices", "failed", 0, reason="access_denied"), target("documents", "erased", 6)]
    attention = request("started", *failed, attention=True)
    text = sentence("started", *failed, attention=True)
    assert "Could not be erased: invoices (access_denied)." in text
    assert "tried again by itself" in text
    assert "still there" in text
    parked = sentence("started", *failed, attention=True, parked_at="2026-11-22T11:00:00.000Z")
    assert "not tried again by itself any more" in parked
    assert f"erasure retry {REQUEST_ID}" in (advice(attention) or "")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({}, "in 2 d 14 h"),
        ({"due_at": "2026-11-22T11:00:00.000Z"}, "late by 1 h"),
        ({"state": "held"}, "stands still while it is held"),
    ],
)
def test_the_deadline_is_told(told: dict[str, Any], text: str) -> None:
    """How long is left, or how late it is; a hold lets it stand still."""
    more = {name: value for name, value in told.items() if name != "state"}
    assert text in shown(request_view(request(told.get("state", "started"), **more), NOW))


def test_a_request_fits_eighty_columns() -> None:
    """Of everything that may be long only names are cut off, with …; ids and counts are whole."""
    long = target("n" * 100, "already_absent", 1_234_567, category="c" * 100, **{**TAX, "basis": "b" * 200})
    text = shown(request_view(request("started", long, subject={"type": "user", "id": "i" * 256}), NOW))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert REQUEST_ID in text
    assert "1,234,567" in text
    row = next(line for line in text.splitlines() if "already absent" in line)
    assert row.count("…") == 3


def test_a_list_fits_eighty_columns() -> None:
    """One line each, with the whole id."""
    requests = [
        request("started", attention=True, due_at="2026-10-22T11:00:00.000Z"),
        request("finished", finished_at="2026-11-22T11:00:00.000Z"),
        request("held", subject={"type": "organization", "id": "o" * 256}),
        request("cancelled", subject={"type": "user", "id": None}),
    ]
    lines = shown(requests_table(requests, NOW)).splitlines()
    assert len(lines) == 5
    assert all(len(line) <= 80 for line in lines)
    assert all(REQUEST_ID in line for line in lines[1:])
    assert "needs attention" in lines[1]
    assert "late by 31 d 1 h" in lines[1]
    assert "1 h ago" in lines[2]
    assert "(forgotten)" in lines[4]


@given(st.text(max_size=40))
def test_no_name_is_obeyed(name: str) -> None:
    """Whatever targets, categories, reasons and subjects are called, a view has only its own control characters."""
    hostile = target(name, "failed", category=name, reason=name, kept=1, basis=name, until=None)
    changed = request(name or "started", hostile, subject={"type": name, "id": name}, organization_ids=[name])
    text = shown(request_view(changed, NOW)) + shown(requests_table([changed], NOW))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_a_plan_says_what_would_be_found_and_what_not_counted() -> None:
    """A count that nobody knows is a question mark with its reason, never 0."""
    targets = (
        PlanTarget("documents", "content", "delete", 12),
        PlanTarget("files", "content", "delete", 1_000, more=True),
        PlanTarget("events", "record", "delete", None),
        PlanTarget("mentions", "membership", "detach", None, problem="timed_out"),
        PlanTarget("invoices", "record", "redact", 3, kept=3),
    )
    text = shown(plans_view([Plan(Subject.user("ann"), "f" * 64, targets, ("accounts",))], NOW))
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "1,000+" in rows["files"]
    assert "? " in rows["events"]
    assert "not counted" in rows["events"]
    assert "timed_out" in rows["mentions"]
    assert "3 kept" in rows["invoices"]
    assert "left out" in text
    assert f"plan hash  {'f' * 64}" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_dry_run_says_that_nothing_was_requested() -> None:
    """And names what could not be erased."""
    targets = (PlannedTarget("documents", "content", "s3", "delete", "ambiguous_identifier"),)
    text = shown(dry_runs_view([DryRun(Subject.user("ann"), targets)], NOW))
    assert "Nothing was requested." in text
    assert "cannot be erased: ambiguous_identifier" in text


def test_names_are_whole_where_there_is_room() -> None:
    """Nothing of a name or a category is cut off in a terminal that has room for it."""
    seen = request_view(request("started", target("documents", "waiting"), target("files", "waiting")), NOW)
    plan = Plan(Subject.user("ann"), "0" * 64, (PlanTarget("memberships", "membership", "delete", 2),))
    run = DryRun(Subject.user("ann"), (PlannedTarget("memberships", "membership", "s3", "delete"),))
    for view in (seen, plans_view([plan], NOW), dry_runs_view([run], NOW)):
        assert "…" not in shown(view)
        assert "  TARGET" in shown(view)
        assert "CATEGORY" in shown(view)
