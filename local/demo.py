"""``make demo``: a person's data is found, erased through the API, and looked for again.

Exits with 0 only if nothing of the person is left, nothing of anybody else changed, the request says that it is
finished, and its audit trail is whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from local.demo_view import DemoView, PersonRow, TargetRow, states_text
from local.deployment import SAMPLE_DATA_MAP, up
from local.inventory import SELF_DELETION, Comparison, Snapshot, Thing, compare, take_snapshot
from local.sample import HEAVY, Group, Owner, Person, groups, people
from local.seeding import seed
from local.stack import ROOT, LocalError, Place, Stack, port_argument
from local.tokens import token
from local.watching import JobView, JobWatcher

_LOOK_SECONDS = 0.4
_FINISH_SECONDS = 150.0
_NEIGHBOURS = (
    (Person("acme", "an"), "theirs begins with it"),
    (Person("acme", "anna"), "begins with theirs"),
    (Person("acme", "annabel"), "so does this"),
    (Person("acme", "Ann"), "same id, capital letter"),
    (Person("acme-labs", "ann"), "same id, other tenant"),
    (Person("globex", "ann"), "same id, third tenant"),
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What the two calls led to."""

    request_id: str
    state: str
    outcomes: tuple[Mapping[str, Any], ...]
    job: JobView
    seconds: float


def demo(place: Place) -> int:
    """Run the demo at this place. Returns the exit code."""
    view, person = DemoView(), HEAVY
    view.title()
    view.step("The stack: emulator, token issuer, sam build, sam deploy")
    with view.working("looking at what is there") as change:
        stack = up(place, change)
    view.say(f"API at [cyan]{stack.api_url}[/]")

    view.step("The sample application: 50 people of 3 tenants, one with much data")
    with view.counting(["items", "objects"]) as progress:
        seed(stack, progress)
    with view.working("reading everything, as an independent reader"):
        before = take_snapshot(stack, trust_etags_of=person)
    owners = Counter(type(owner) for owner in before.owners())
    view.say(f"{len(before.things):,} things of {owners[Person]} people and {owners[Group]} groups")

    view.step("What there is of the person")
    rows = _target_rows(before, person)
    view.found(person, rows)
    totals = {row.name: row.found.total() for row in rows if row.erased_now}

    view.step("The two calls, as the person makes them")
    erasure = _erase(stack, person, view, totals)
    view.step(f"The outcome, target by target: the request is {erasure.state}")
    view.outcomes(erasure.outcomes, totals)
    view.say(f"state machine: {states_text(erasure.job)}")
    view.say(f"[dim]{erasure.seconds:.1f} s from the confirmation[/]")

    view.step("Reading everything again")
    with view.working("reading everything, as an independent reader"):
        after = take_snapshot(stack, trust_etags_of=person)
    result = compare(before, after, person)
    view.people(_person_rows(before, after, result, person))
    view.wrong(result.left, list(result.changed))

    view.step("The audit trail")
    entries, whole = _audit(stack, erasure.request_id)
    view.audit(entries)
    view.say("every digest covers the one before it: [green]the chain is whole[/]" if whole else "[red]broken[/]")

    problems = _problems(result, erasure, totals, whole)
    view.verdict(problems)
    view.say(f"The stack is still running: `make down{port_argument(place)}` stops it.")
    return 1 if problems else 0


def _problems(result: Comparison, erasure: Erasure, totals: Mapping[str, int], audit_is_whole: bool) -> list[str]:
    """Everything that is not as it must be."""
    counted = {outcome["target"]: int(outcome["count"]) for outcome in erasure.outcomes}
    checks = {
        f"{len(result.left):,} things of the person are left": not result.left,
        f"{len(result.changed):,} things that were to stay changed": not result.changed,
        f"the request is {erasure.state}, not finished": erasure.state == "finished",
        "the person had too little to show anything": sum(1 for total in totals.values() if total) >= 6,
        "not everything that is gone was counted": sum(counted.values()) == result.erased == sum(totals.values()),
        "the audit trail is broken": audit_is_whole,
    }
    return [problem for problem, fine in checks.items() if not fine]


def _target_rows(snapshot: Snapshot, person: Person) -> list[TargetRow]:
    """The data map's targets, with what the independent reader attributes to each."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for thing in snapshot.of(person):
        found.setdefault(_place(thing), Counter())[thing.kind] += 1
    rows = []
    for target in yaml.safe_load(SAMPLE_DATA_MAP.read_text())["targets"]:
        if "group" in target.get("subjects", ()):
            continue
        engine = "dynamodb" if "dynamodb" in target else "s3"
        container = target[engine].get("table") or target[engine].get("bucket")
        category = target["category"]
        counted = found.get((engine, container, category), Counter())
        if target.get("action", "delete") != "delete":
            counted = Counter({"item": len(snapshot.mentioning(person))})
        place = f"{'DynamoDB' if engine == 'dynamodb' else 'S3'} {container}"
        rows.append(TargetRow(target["name"], category, place, counted, category in SELF_DELETION))
    return rows


def _place(thing: Thing) -> tuple[str, str, str]:
    return ("dynamodb" if thing.kind == "item" else "s3", thing.container, thing.category)


def _erase(stack: Stack, person: Person, view: DemoView, totals: Mapping[str, int]) -> Erasure:
    """Make the two calls and watch the job until the request is settled."""
    watcher = JobWatcher(stack)
    headers = {"Authorization": f"Bearer {token(person.user, person.tenant, stack=stack)}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as http, ThreadPoolExecutor(1) as pool:
        first = http.delete("/users/current")
        if first.status_code != httpx.codes.OK:
            raise LocalError(f"DELETE /users/current was answered with {first.status_code}: {first.text}")
        delete_id = first.json()["delete_id"]
        view.request("DELETE /users/current")
        view.answer(f'200 {{"delete_id": "{delete_id[:12]}…"}}')
        began = time.monotonic()
        confirmation = pool.submit(
            http.post, "/users/current/confirm-delete", params={"timeout": 300}, json={"delete_id": delete_id}
        )
        view.request(f'POST /users/current/confirm-delete?timeout=300\n{{"delete_id": "{delete_id[:12]}…"}}')
        with view.fan_out(totals) as show:
            answer = _watch(confirmation, watcher, show)
            request_id = answer.headers.get("x-erasure-request-id", "")
            if answer.status_code == httpx.codes.ACCEPTED:
                _watch_until_settled(http, request_id, watcher, show)
            seconds = time.monotonic() - began
            job = watcher.look()
            show(job)
    done = answer.status_code == httpx.codes.NO_CONTENT
    view.answer(f"{answer.status_code} " + ("no content: everything is erased and verified" if done else answer.text))
    if not request_id:
        raise LocalError(f"the confirmation was answered with {answer.status_code} and no request id: {answer.text}")
    request = watcher.request(request_id)
    return Erasure(request_id, request["state"], tuple(request["outcomes"] or ()), job, seconds)


def _watch(confirmation: Future[httpx.Response], watcher: JobWatcher, show: Any) -> httpx.Response:
    """Show the job while the confirmation holds the line."""
    while not confirmation.done():
        show(watcher.look())
        time.sleep(_LOOK_SECONDS)
    return confirmation.result()


def _watch_until_settled(http: httpx.Client, request_id: str, watcher: JobWatcher, show: Any) -> None:
    """After a 202: ask for the request's state as the person would."""
    give_up_at = time.monotonic() + _FINISH_SECONDS
    while time.monotonic() < give_up_at:
        show(watcher.look())
        answer = http.get(f"/users/current/erasure-requests/{request_id}")
        answer.raise_for_status()
        status = answer.json()
        if status["state"] == "finished" or status["attention"] or watcher.has_failed():
            return
        time.sleep(2 * _LOOK_SECONDS)


def _person_rows(before: Snapshot, after: Snapshot, result: Comparison, person: Person) -> list[PersonRow]:
    changed = Counter(change.thing.owner for change in result.changed)

    def row(who: Owner, label: str, expected: str) -> PersonRow:
        return PersonRow(label, len(before.of(who)), len(after.of(who)), changed[who], expected)

    kept = len([thing for thing in before.of(person) if thing.category not in SELF_DELETION])
    erased = PersonRow(
        f"{person}: content and preferences",
        len(before.of(person, SELF_DELETION)),
        len(after.of(person, SELF_DELETION)),
        0,
        "nothing left",
    )
    stays = PersonRow(
        f"{person}: account and access",
        kept,
        len([thing for thing in after.of(person) if thing.category not in SELF_DELETION]),
        changed[person],
        "kept",
    )
    near = [row(neighbour, f"{neighbour} ({what})", "unchanged") for neighbour, what in _NEIGHBOURS]
    shown = {person, *(neighbour for neighbour, _ in _NEIGHBOURS)}
    others = [other for other in people() if other not in shown]
    rest = PersonRow(
        f"the other {len(others)} people",
        sum(len(before.of(other)) for other in others),
        sum(len(after.of(other)) for other in others),
        sum(changed[other] for other in others) + changed[None],
        "unchanged",
    )
    of_groups = PersonRow(
        f"the {len(groups())} groups",
        sum(len(before.of(group)) for group in groups()),
        sum(len(after.of(group)) for group in groups()),
        sum(changed[group] for group in groups()),
        "unchanged",
    )
    return [erased, stays, *near, rest, of_groups]


def _audit(stack: Stack, request_id: str) -> tuple[list[Mapping[str, Any]], bool]:
    """The trail as the operator's command prints it, and whether that found it whole."""
    command = [sys.executable, "-m", "erasure.entry.operator", "audit", request_id]
    done = subprocess.run(command, cwd=ROOT, env=stack.environment(), capture_output=True, text=True, check=False)
    if not done.stdout:
        raise LocalError(f"the audit trail could not be read: {done.stderr.strip()}")
    printed = json.loads(done.stdout)
    return list(printed["entries"]), bool(printed["whole"]) and done.returncode == 0
