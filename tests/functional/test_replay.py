"""Tables and buckets are restored, and whom the service had erased since is erased again, on moto with real jobs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from erasure.adapters.messaging import SQSJobQueue
from erasure.domain.audit import broken_at
from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import ERASED
from erasure.domain.request import FINISHED, HELD, STARTED
from erasure.domain.subject import Subject
from erasure.domain.times import format_time
from erasure.services.replay import ReplayCommand, Replays
from tests.functional.full_application import Application, put_document
from tests.functional.job_stack import stack_on_moto
from tests.functional.replay_world import WITHOUT_SCANS, ReplayWorld

pytestmark = pytest.mark.timeout(240)

WAYS: tuple[str, ...] = ("key", "identifiers")


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[ReplayWorld]:
    """With few ways of keeping data, unless a test names others."""
    for stack in stack_on_moto(monkeypatch):
        yield ReplayWorld(stack, monkeypatch, capsys, getattr(request, "param", WAYS))


def ask_in_every_family(world: ReplayWorld) -> list[str]:
    """The users of whom each asks."""
    world.stack.confirm(Subject("acme", "hanna"))
    world.ask("POST", "/v1/erasure-requests", {"subjects": [{"type": "user", "id": "nora"}]})
    world.ask("POST", "/api/platform/data_management/user_deletion_request", {"user_id": "june"})
    world.ask("POST", "/v2/users/data/delete", {"data": {"userIds": ["velma"]}})
    world.ask("DELETE", "/v1/users/john")
    world.stack.work()
    # The message of the one who was deleted at once comes half a minute later.
    late = [request.request_id for request in world.requests() if request.state != FINISHED]
    SQSJobQueue(lambda: world.stack.sqs, world.stack.batch_queue_url).send(late, 1)
    world.stack.work()
    return ["hanna", "nora", "june", "velma", "john"]


@pytest.mark.parametrize("world", [WITHOUT_SCANS], indirect=True)
def test_everyone_erased_since_is_erased_again(world: ReplayWorld) -> None:
    """Whatever family it was and in whatever way the data is kept, by further ids and through other items too; who was
    erased before and who never was keeps everything."""
    people = ["hanna", "nora", "june", "velma", "john"]
    for user in ("early", "bob", *people):
        world.application.put_all(user)
    world.erase("early")
    world.application.put("app-drafts", pk="acme#early", sk="back again")
    since = world.back_up()
    assert ask_in_every_family(world) == people
    erased = world.application.things()
    world.restore()
    assert len(world.application.things()) > len(erased) + 50

    report = world.replay(since)
    assert world.application.things() == erased
    assert (report["found"], report["replayed"], report["skipped"], report["complete"]) == (5, 5, {}, True)
    by_follows = {request.follows: request for request in world.made()}
    assert len(by_follows) == len(world.made()) == 5
    for first in [request for request in world.requests() if request.purpose is None and request.subject.id != "early"]:
        made = by_follows[first.request_id]
        assert (made.state, made.family, made.subject, made.categories) == (
            FINISHED,
            first.family,
            first.subject,
            first.categories,
        )
        assert (made.purged_by, made.late_arrivals) == (first.purged_by, None)
        assert {told.target for told in made.outcomes} == {told.target for told in first.outcomes}
        trail = world.stack.audit.entries(first.request_id)
        assert (trail[-1].event, trail[-1].details["replayed_by"]) == ("replayed", made.request_id)
        assert broken_at(trail) is None
        begun = world.stack.audit.entries(made.request_id)[0]
        assert (begun.details["follows"], begun.details["since"]) == (first.request_id, format_time(since))


@pytest.mark.parametrize("world", [WITHOUT_SCANS], indirect=True)
def test_only_the_restored_places_are_touched(world: ReplayWorld) -> None:
    """Whoever stays and has written since, in places that were not restored, keeps that."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann", categories=["content"])
    world.restore("app-drafts")
    world.application.put("app-remarks", id="new", author="acme#ann")
    put_document(world.application, "ann", "new")
    kept = {each for each in world.application.things() if '"app-drafts"' not in each}
    report = world.replay(since, "--table", "app-drafts")
    assert (report["targets"], report["replayed"]) == (["notes"], 1)
    assert world.application.things() == kept
    (made,) = world.made()
    assert (made.only_targets, made.categories) == (("notes",), ("content",))


@pytest.mark.parametrize("world", [("for_each",)], indirect=True)
def test_what_restored_items_lead_to_goes_if_it_was_restored(world: ReplayWorld) -> None:
    """A whole tree goes; what was written since under other items stays."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann")
    world.restore()
    report = world.replay(since)
    assert (report["unreachable"], report["replayed"]) == ([], 1)
    assert {each for each in world.application.things() if each.startswith("[")} == set()
    (made,) = world.made()
    assert {told.target: told.outcome for told in made.outcomes} == dict.fromkeys(
        ("docs", "pdfs", "pages", "images"), ERASED
    )


@pytest.mark.parametrize("world", [("for_each",)], indirect=True)
def test_what_nothing_leads_to_any_more_is_told(world: ReplayWorld) -> None:
    """Pages came back without their documents: nobody can find them, new documents are not touched, and the command
    says that it is not done."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann")
    world.restore("app-pages")
    put_document(world.application, "ann", "new")
    before = world.application.things()
    report = world.replay(since, "--table", "app-pages")
    assert (report["unreachable"], report["skipped"], report["complete"]) == (["pages"], {"nothing_there": 1}, False)
    assert world.made() == []
    assert world.application.things() == before


@pytest.mark.parametrize("world", [("for_each",)], indirect=True)
def test_a_tree_that_reaches_elsewhere_is_not_followed_there(world: ReplayWorld) -> None:
    """Documents came back; what has been written since under their ids, elsewhere, is not what was erased."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann")
    world.restore("app-docs")
    world.application.put("app-pages", doc="ann-doc", number="new", image="new")
    report = world.replay(since, "--table", "app-docs")
    assert report["replayed"] == 1
    assert [each for each in world.application.things() if '"app-docs"' in each] == []
    assert [each for each in world.application.things() if '"app-pages"' in each] != []


def test_further_ids_are_those_of_the_restored_moment(world: ReplayWorld) -> None:
    """Letters are found by the address that the restored account has, also if the person had another one when it was
    erased; that one's letters were somebody else's then."""
    put = world.application.put
    put("app-users", pk="acme#ann", email="old@x")
    put("app-letters", recipient="acme#old@x", id="ann's")
    put("app-letters", recipient="acme#later@x", id="somebody else's")
    since = world.back_up()
    world.stack.dynamodb.delete_item(
        TableName="app-letters", Key={"recipient": {"S": "acme#later@x"}, "id": {"S": "somebody else's"}}
    )
    put("app-users", pk="acme#ann", email="later@x")
    world.erase("ann")
    world.restore()
    report = world.replay(since)
    assert (report["replayed"], report["in_part"]) == (1, 0)
    assert world.application.things() == {json.dumps(["app-letters", letter("later@x", "somebody else's")])}
    (made,) = world.made()
    assert made.identifiers == {"email": ("old@x",)}


def letter(email: str, name: str) -> dict[str, Any]:
    return {"id": {"S": name}, "recipient": {"S": f"acme#{email}"}}


def test_further_ids_are_remembered_where_their_source_is_not_restored(world: ReplayWorld) -> None:
    """The account is gone for good; its letters came back and are found by the address that was noted. An address that
    somebody who stays has today is not taken."""
    for user in ("ann", "stays"):
        world.application.put_all(user)
    since = world.back_up()
    world.erase("ann")
    world.erase("stays", categories=["content"])
    world.restore("app-letters")
    put = world.application.put
    put("app-users", pk="acme#stays", email="new@x")
    put("app-letters", recipient="acme#new@x", id="somebody else's")
    report = world.replay(since, "--table", "app-letters")
    assert report["replayed"] == 2
    letters = {each for each in world.application.things() if "app-letters" in each}
    assert letters == {json.dumps(["app-letters", letter("new@x", "somebody else's")])}
    assert {request.state for request in world.made()} == {FINISHED}


def test_who_was_not_there_yet_is_not_looked_for_by_further_ids(world: ReplayWorld) -> None:
    """Somebody who signed up after the moment had no address then: what came back under it is another's, and the report
    and the request say what was left out."""
    put = world.application.put
    put("app-letters", recipient="acme#ann@example.org", id="the former owner's")
    since = world.back_up()
    world.stack.dynamodb.delete_item(
        TableName="app-letters",
        Key={"recipient": {"S": "acme#ann@example.org"}, "id": {"S": "the former owner's"}},
    )
    world.application.put_all("ann")
    world.erase("ann")
    world.restore()
    before = world.application.things()
    report = world.replay(since)
    assert (report["replayed"], report["in_part"]) == (1, 1)
    assert world.application.things() == before
    (made,) = world.made()
    assert (made.state, made.only_targets) == (FINISHED, ("accounts", "notes"))


def test_who_came_back_is_left_alone(world: ReplayWorld) -> None:
    """Who has an account again, in a table that was not restored, keeps what came back, and the trail says so; unless
    the operator wants it otherwise."""
    world.application.put_all("ann")
    since = world.back_up()
    first = world.erase("ann")
    world.restore("app-drafts")
    world.application.put("app-users", pk="acme#ann", email="ann@example.org")
    before = world.application.things()
    report = world.replay(since, "--table", "app-drafts")
    assert (report["skipped"], report["replayed"], report["complete"]) == ({"returned": 1}, 0, True)
    assert world.application.things() == before
    last = world.stack.audit.entries(first.request_id)[-1]
    assert (last.event, last.details) == ("not_replayed", {"reason": "returned"})
    assert world.replay(since, "--table", "app-drafts", "--include-returned")["replayed"] == 1
    assert [each for each in world.application.things() if "app-drafts" in each] == []
    assert world.stack.items("app-users") != []


def test_nobody_is_erased_again_while_it_is_not_known_whether_they_are_back(
    world: ReplayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If accounts cannot be read nothing is made; the same command goes on when they can."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann")
    world.restore("app-drafts")
    with monkeypatch.context() as patch:
        patch.setattr(world.stack.clients.get("lambda"), "invoke", lambda **_: {"FunctionError": "Unhandled"})
        report = world.replay(since, "--table", "app-drafts")
    assert (report["skipped"], report["complete"]) == ({"account_unknown": 1}, False)
    assert world.made() == []
    assert world.replay(since, "--table", "app-drafts")["replayed"] == 1


def test_who_is_held_waits(world: ReplayWorld) -> None:
    """A legal hold, put since, keeps what came back, and lifting it lets it go."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann")
    world.restore()
    before = world.application.things()
    world.ask("PUT", "/v1/legal-holds/ann", {"reason": "a lawsuit", "author": "legal"})
    world.replay(since)
    (made,) = world.made()
    assert made.state == HELD
    assert world.application.things() == before
    world.ask("DELETE", "/v1/legal-holds/ann")
    world.stack.work()
    assert world.stack.request(made.request_id).state == FINISHED
    assert world.application.things() == set()


def test_a_hold_by_a_further_id_is_seen(world: ReplayWorld) -> None:
    """Also if only what the first request knew of the subject tells that it is held."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann")
    world.restore("app-letters")
    world.ask("PUT", "/v1/legal-holds/bob", {"reason": "a lawsuit", "author": "legal", "aliases": ["ann@example.org"]})
    world.replay(since, "--table", "app-letters")
    (made,) = world.made()
    assert (made.state, len(world.stack.items("app-letters"))) == (HELD, 2)


def test_a_dry_run_changes_nothing(world: ReplayWorld) -> None:
    """It tells what would be done; no store, no trail and no queue has changed."""
    for user in ("ann", "bob"):
        world.application.put_all(user)
    since = world.back_up()
    for user in ("ann", "bob"):
        world.erase(user)
    world.restore("app-drafts")
    world.application.put("app-users", pk="acme#bob", email="bob@example.org")
    before = everything(world)
    report = world.replay(since, "--table", "app-drafts", "--dry-run")
    assert (report["dry_run"], report["found"], report["replayed"]) == (True, 2, 1)
    assert report["skipped"] == {"returned": 1}
    assert everything(world) == before


def everything(world: ReplayWorld) -> Any:
    tables = [world.stack.items(table) for table in ("Requests", "Audit", "Registry")]
    queues = [world.stack.messages(url) for url in (world.stack.queue_url, world.stack.batch_queue_url)]
    return json.dumps([tables, queues, sorted(world.application.things())], sort_keys=True)


class KilledError(Exception):
    """The operator's process ended here."""


class Killing:
    """Ends the process at the write ``at``, before it or right after it. ``writes`` counts them."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._at = at
        self._after = after
        self._lock = threading.Lock()
        self.writes = 0

    def around(self, store: Any, *names: str) -> Any:
        outer = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                real = getattr(store, name)
                return (lambda *args, **more: outer._write(real, args, more)) if name in names else real

        return Wrapped()

    def all_of(self, replays: Replays) -> Replays:
        return replace(
            replays,
            acceptance=self.around(replays.acceptance, "accept"),
            audit=self.around(replays.audit, "append"),
            queue=self.around(replays.queue, "send"),
        )

    def _write(self, real: Any, arguments: Any, more: Any) -> Any:
        with self._lock:  # writes are side by side
            self.writes += 1
            is_the_end = self.writes == self._at
        if is_the_end and not self._after:
            raise KilledError
        result = real(*arguments, **more)
        if is_the_end:
            raise KilledError
        return result


def test_killed_at_every_write_and_repeated(world: ReplayWorld) -> None:
    """Wherever the command dies, the next one makes exactly the requests that are missing, and all of them are sent."""
    for user in ("ann", "bob"):
        world.application.put_all(user)
    since = world.back_up()
    for user in ("ann", "bob"):
        world.erase(user)
    world.restore()
    writes = 5  # two requests, two trails, a message
    for at, after in [(at, after) for at in range(1, writes + 1) for after in (False, True)] + [(0, False)]:
        known = {request.request_id for request in world.made()}
        command = ReplayCommand(since, frozenset({"accounts", "letters", "notes"}), run=f"run-{at}-{after}")
        killing = Killing(at, after=after)
        with pytest.raises(KilledError) if at else nullcontext():
            killing.all_of(world.replays()).run(command)
        assert at or killing.writes == writes
        report = world.replays().run(command)
        assert (report.found, report.replayed, report.done_before) == (2, 2, 0)
        made = {request.request_id: request for request in world.made() if request.request_id not in known}
        assert sorted(request.subject.id for request in made.values()) == ["ann", "bob"]
        sent = [
            json.loads(record["body"])["request_ids"] for record in world.stack.messages(world.stack.batch_queue_url)
        ]
        assert sorted(sent[-1]) == sorted(made)
        for request in made.values():
            told = [entry.details for entry in world.stack.audit.entries(request.follows or "")]
            assert sum(each.get("replayed_by") == request.request_id for each in told) == 1
    world.replays().queue.send(list(made), 1)
    world.stack.work()
    assert world.application.things() == set()
    assert {world.stack.request(request_id).state for request_id in made} == {FINISHED}


def test_the_same_run_erases_nobody_twice(world: ReplayWorld) -> None:
    """What has been written since the replay stays when the command is given once more; another run, after another
    restore to the same moment, is told as such and does it again."""
    world.application.put_all("ann")
    since = world.back_up()
    world.erase("ann", categories=["content"])
    world.restore("app-drafts")
    assert world.replay(since, "--table", "app-drafts")["replayed"] == 1
    world.application.put("app-drafts", pk="acme#ann", sk="written since")
    report = world.replay(since, "--table", "app-drafts")
    assert (report["found"], report["replayed"], report["done_before"], report["complete"]) == (1, 0, 1, True)
    assert len(world.stack.items("app-drafts")) == 1
    world.restore("app-drafts")
    report = world.replay(since, "--table", "app-drafts", "--run", "second restore")
    assert (report["run"], report["replayed"]) == ("second restore", 1)
    assert world.stack.items("app-drafts") == []


def test_what_a_replay_has_erased_can_be_restored_and_replayed(world: ReplayWorld) -> None:
    """A backup that was made between a restore and its replay has people whose first erasure was before it."""
    world.application.put_all("ann")
    first_moment = world.back_up()
    world.erase("ann")
    world.restore()
    second_moment = world.back_up()
    world.replay(first_moment)
    assert world.application.things() == set()
    world.restore()
    assert world.replay(second_moment)["replayed"] == 1
    assert world.application.things() == set()


def test_until_leaves_out_whom_the_restored_place_was_erased_of(world: ReplayWorld) -> None:
    """An erasure that began after the restore has found the place as it is; what was written since stays."""
    for user in ("ann", "bob"):
        world.application.put_all(user)
    since = world.back_up()
    world.erase("ann")
    world.restore("app-drafts")
    items = world.items
    until = world.back_up()
    world.items = items
    world.erase("bob", categories=["content"])
    world.application.put("app-drafts", pk="acme#bob", sk="written since")
    report = world.replay(since, "--until", format_time(until), "--table", "app-drafts")
    assert (report["found"], report["replayed"]) == (1, 1)
    assert [item["pk"]["S"] for item in world.stack.items("app-drafts")] == ["acme#bob"]


def test_a_job_at_work_may_have_passed_the_place(world: ReplayWorld) -> None:
    """A request under way is told, and that the command has to be repeated; when it has ended, it is among those that
    are made again, for it had begun before. One that begins later is neither."""
    world.application.put_all("ann")
    since = world.back_up()
    world.ask("POST", "/v1/erasure-requests", {"subjects": [{"type": "user", "id": "ann"}]})
    command = ["--table", "app-drafts"]
    seen: list[dict[str, Any]] = []

    def between(state: str) -> None:
        if state == "Verify" and not seen:
            world.restore("app-drafts")
            command.extend(["--until", format_time(datetime.now(UTC))])
            _, out, err = world.run("replay", "--since", format_time(since), "--json", *command)
            seen.append(json.loads(out))
            assert f"--run {seen[0]['run']}" in err

    world.stack.work(between)
    assert (seen[0]["under_way"], seen[0]["replayed"], seen[0]["complete"]) == (1, 0, False)
    world.application.put_all("bob")
    world.ask("POST", "/v1/erasure-requests", {"subjects": [{"type": "user", "id": "bob"}]})
    reports: list[dict[str, Any]] = []

    def again(_state: str) -> None:
        if not reports:
            reports.append(world.replay(since, *command))

    world.stack.work(again)
    assert (reports[0]["run"], reports[0]["found"], reports[0]["replayed"]) == (seen[0]["run"], 1, 1)
    assert (reports[0]["under_way"], reports[0]["complete"]) == (0, True)
    assert world.application.things() == set()


@pytest.mark.parametrize("world", [("key", "scan")], indirect=True)
def test_what_an_open_request_has_erased_already_is_erased_again(world: ReplayWorld) -> None:
    """One that waits for the end of a scan's window does not look at the rest once more: that is made again at once."""
    world.application.put_all("ann")
    since = world.back_up()
    answer = world.ask("POST", "/v1/erasure-requests", {"subjects": [{"type": "user", "id": "ann"}]})
    world.stack.work()
    waiting = world.stack.request(answer["requests"][0]["request"]["id"])
    assert (waiting.state, waiting.scan_at is None) == (STARTED, False)
    world.restore("app-drafts")
    report = world.replay(since, "--table", "app-drafts")
    assert (report["found"], report["replayed"], report["under_way"]) == (1, 1, 0)
    assert world.stack.items("app-drafts") == []
    assert world.stack.request(waiting.request_id).state == STARTED
    assert len(world.stack.items("app-events")) == 3


def test_what_is_forgotten_is_told(world: ReplayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the purge nobody can be erased again: the report says so, and from when on it knows everybody. Before that,
    the new request forgets with the first one."""
    world.application.put_all("ann")
    since = world.back_up()
    first = world.erase("ann")
    world.move_clock(monkeypatch, 70)
    world.restore()
    assert world.replay(since)["replayed"] == 1
    (made,) = world.made()
    assert made.purged_by == first.purged_by
    world.move_clock(monkeypatch, 84)
    world.stack.call("retention_sweep", {})
    assert all(request.purged_at is not None for request in world.requests())
    world.restore()
    report = world.replay(since, "--run", "late")
    assert (report["found"], report["replayed"], report["complete"]) == (0, 0, False)
    assert report["known_since"] > report["since"]


def test_nothing_about_anybody_is_said(world: ReplayWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither report, remarks, logs nor trails hold an id of a subject."""
    world.application.put_all("zq9xwv")
    since = world.back_up()
    first = world.erase("zq9xwv")
    world.restore()
    code, out, err = world.run("replay", "--since", format_time(since), "--all-targets")
    world.stack.work()
    assert code == 0
    trails = [world.stack.audit.entries(request_id) for request_id in (first.request_id, world.made()[0].request_id)]
    assert "zq9xwv" not in out + err + "".join(capsys.readouterr()) + str(trails)
    assert "replayed     1" in out


def test_a_command_that_makes_no_sense_is_refused(world: ReplayWorld) -> None:
    """With the rule, above all a table that the map does not name: nothing would be erased in it."""
    since = ["--since", "2026-01-01T00:00:00Z"]
    for arguments, message in (
        (["--since", "yesterday", "--all-targets"], "--since: must be a time"),
        (["--since", "2999-01-01T00:00:00Z", "--all-targets"], "since: must not be in the future"),
        ([*since, "--until", "2025-01-01T00:00:00Z", "--all-targets"], "until: must not be before"),
        (since, "name what was restored"),
        ([*since, "--all-targets", "--table", "app-drafts"], "name what was restored"),
        ([*since, "--table", "app-drafts-restored"], "none of the current data map's"),
        ([*since, "--bucket", "app-drafts"], "none of the current data map's"),
        ([*since, "--table", "app-drafts", "--role", "arn"], "none of the current data map's"),
    ):
        code, out, err = world.run("replay", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err


def test_a_table_of_several_accounts_has_to_be_told(world: ReplayWorld) -> None:
    """A table of one name in two accounts: only the one that was restored is touched."""
    role = "arn:aws:iam::210987654321:role/erasure"
    other = {
        "name": "drafts-elsewhere",
        "dynamodb": {"table": "app-drafts", "key": {"pk": "{tenant_id}#{user_id}"}},
        "role_arn": role,
    }
    put_map(world.application, other)
    since = "2026-01-01T00:00:00Z"
    code, _, err = world.run("replay", "--since", since, "--table", "app-drafts")
    assert code == 1
    assert "several accounts" in err
    _, out, _ = world.run("replay", "--since", since, "--json", "--table", "app-drafts", "--role", role)
    assert json.loads(out)["targets"] == ["drafts-elsewhere"]


def put_map(application: Application, *targets: dict[str, Any]) -> None:
    known = [target for way in application.ways for target in way.targets]
    rules = {name: rule for way in application.ways for name, rule in way.identifiers.items()}
    document = {"version": 1, "targets": [*known, *targets], "identifiers": rules}
    application.stack.maps.put(parse_data_map(document), datetime.now(UTC))
