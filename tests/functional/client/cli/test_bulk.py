"""``erasure bulk``: each id of a file gets exactly one request."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from erasure_client import _http
from erasure_client.cli import _bulk_run, _journal
from erasure_client.cli._bulk_progress import LineProgress
from erasure_client.cli._output import Output
from erasure_client.cli._session import Session
from erasure_client.testing import FakeService
from tests.functional.client.cli.command_runs import run_command
from tests.functional.client.cli.counting_service import CountingService

KEY = "sk_test_0123456789abcdef_secret"


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ERASURE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("ERASURE_URL", "https://erasure.example.com")
    monkeypatch.setenv("ERASURE_API_KEY", KEY)
    monkeypatch.setenv("ERASURE_TENANT", "acme")
    monkeypatch.delenv("ERASURE_PROFILE", raising=False)


@pytest.fixture
def service() -> CountingService:
    return CountingService()


class Runs:
    """Runs of the command in a folder of their own."""

    def __init__(self, folder: Path, service: CountingService) -> None:
        self.service = service
        self.input, self.results = folder / "people.csv", folder / "results.jsonl"

    def write(self, *ids: str, header: str = "user_id") -> None:
        self.input.write_text("\n".join([header, *ids]) + "\n", encoding="utf-8")

    def __call__(self, *options: str, file: str | None = None, piped: str | None = None, yes: bool = True) -> Result:
        session = Session(transport=self.service.transport(), is_interactive=not yes and piped is not None)
        arguments = ["bulk", file or str(self.input), "--results", str(self.results), *options, *(["--yes"] * yes)]
        return run_command(*arguments, obj=session, piped=piped)

    def lines(self) -> list[dict[str, Any]]:
        return read_lines(self.results)

    def fates(self) -> list[tuple[str | None, str]]:
        return [(line["id"], line["status"]) for line in self.lines()]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def runs(tmp_path: Path, service: CountingService) -> Runs:
    return Runs(tmp_path, service)


def names(number: int) -> list[str]:
    return [f"usr_{each}" for each in range(number)]


class TestOneRun:
    def test_each_line_has_its_result_in_order(self, runs: Runs) -> None:
        """A result for each line: accepted with its request, refused with a reason, or told as a duplicate."""
        runs.write("ann", "ben", "ann", "b#d", "cay", "b#d")
        result = runs("--chunk", "2", "--json")
        assert result.exit_code == 3
        assert runs.fates() == [
            ("ann", "accepted"),
            ("ben", "accepted"),
            ("ann", "duplicate"),
            ("b#d", "refused"),
            ("cay", "accepted"),
            ("b#d", "duplicate"),
        ]
        first, _, again, refused, _, refused_again = runs.lines()
        assert first["line"] == 2
        assert first["subject_type"] == "user"
        assert (again["request_id"], again["first_line"]) == (first["request_id"], 2)
        assert refused["reason"] == refused_again["reason"] == "ambiguous_identifier"
        assert runs.service.requests_of_each() == {"ann": 1, "ben": 1, "cay": 1}
        summary = json.loads(result.stdout)
        assert {name: summary[name] for name in ("lines", "accepted", "refused", "duplicate", "invalid")} == {
            "lines": 6,
            "accepted": 3,
            "refused": 1,
            "duplicate": 2,
            "invalid": 0,
        }

    def test_all_accepted_is_done(self, runs: Runs) -> None:
        """Exit code 0 when every id was accepted."""
        runs.write(*names(5))
        result = runs()
        assert result.exit_code == 0
        assert "5 accepted" in result.stdout

    def test_a_single_refused_id_is_a_result(self, runs: Runs) -> None:
        """The service refuses a call for one subject as a whole: the file's last id alone in its chunk is told so."""
        runs.write("ann", "b#d")
        assert runs("--chunk", "1").exit_code == 3
        assert runs.lines()[1]["reason"] == "ambiguous_identifier"

    def test_what_is_asked_for_is_sent(self, runs: Runs) -> None:
        """Types, categories, organizations and the time go with each chunk."""
        runs.write("ann,group", "ben,user", header="id,type")
        at = "2090-01-31T12:00:00+00:00"
        runs("--category", "content", "--organization", "org_1", "--not-before", at)
        (body,) = runs.service.posts()
        assert body == {
            "subjects": [{"type": "group", "id": "ann"}, {"type": "user", "id": "ben"}],
            "categories": ["content"],
            "scope": {"organization_ids": ["org_1"]},
            "not_before": at,
        }

    def test_files_are_their_owners_only(self, runs: Runs) -> None:
        """Results, journal and the copy of what was piped in hold ids: nobody else may read them."""
        assert runs("--format", "jsonl", file="-", piped='"ann"\n').exit_code == 0
        files = [path for path in runs.results.parent.iterdir() if path.name.startswith("results")]
        assert len(files) == 3
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


class TestBeforeAnythingIsSent:
    def test_bad_lines_are_all_told(self, runs: Runs) -> None:
        """Every line that cannot be sent is told by its number, never by what stands there; nothing is sent or kept."""
        runs.input.write_bytes(b"user_id,n\nann,1\n,2\n   ,3\nb\xffn,4\ncay\nd\x00n,6\n" + b"x" * 257 + b",7\n")
        result = runs()
        assert result.exit_code == 2
        assert "lines 3-4: the id is empty" in result.stderr
        assert "line 5: is not UTF-8" in result.stderr
        assert "line 6: must have as many fields" in result.stderr
        assert "line 7: the id must not hold control characters" in result.stderr
        assert "line 8: the id must have at most 256" in result.stderr
        assert "cay" not in result.output
        assert runs.service.calls == []
        assert list(runs.results.parent.glob("results*")) == []

    def test_bad_lines_may_be_left_out(self, runs: Runs) -> None:
        """With --skip-bad-lines they are results of their own, and the others are sent."""
        runs.write("ann", '""', "ben")
        assert runs("--skip-bad-lines").exit_code == 3
        assert runs.fates() == [("ann", "accepted"), (None, "invalid"), ("ben", "accepted")]

    def test_it_asks(self, runs: Runs) -> None:
        """Without a terminal and without --yes, nothing is sent or kept."""
        runs.write("ann")
        result = runs(yes=False)
        assert result.exit_code == 2
        assert runs.service.calls == []
        assert not runs.results.exists()
        assert runs().exit_code == 0

    def test_what_it_asks(self, runs: Runs) -> None:
        """How many it is about, where, and how much of them; a no is a no."""
        runs.write("ann", "ben", "ann", '""')
        how = ("--category", "content", "--organization", "org_1", "--not-before", "+36h", "--skip-bad-lines")
        asked = runs(*how, piped="n\n", yes=False)
        assert asked.exit_code == 1
        for part in (
            "2 subjects",
            "not before",
            "example.com",
            "acme",
            "content",
            "1 organization",
            "1 duplicate, 1 that",
        ):
            assert part in asked.stderr
        assert runs.service.calls == []
        assert not runs.results.exists()
        assert runs(*how, piped="y\n", yes=False).exit_code == 3
        assert runs.service.requests_of_each() == {"ann": 1, "ben": 1}

    def test_a_file_of_somebody_else_is_not_written_over(self, runs: Runs) -> None:
        """A results' file that no bulk has begun is refused and stays as it is; so is one for its journal."""
        runs.write("ann")
        runs.results.write_text("mine")
        assert runs().exit_code == 6
        assert runs.results.read_text() == "mine"
        runs.results.unlink()
        other = runs.results.with_name("results.jsonl.journal")
        other.write_text("mine")
        assert runs().exit_code == 6
        assert other.read_text() == "mine"
        assert runs.service.calls == []

    @pytest.mark.parametrize("option", [("--type", "group"), ("--chunk", "3"), ("--category", "content")])
    def test_other_options_are_refused(self, runs: Runs, option: tuple[str, ...]) -> None:
        """Results that were begun otherwise are not continued, and which option differs is said."""
        runs.write("ann")
        runs()
        sent = len(runs.service.calls)
        result = runs(*option)
        assert result.exit_code == 6
        assert option[0] in result.stderr
        assert len(runs.service.calls) == sent

    def test_another_input_is_refused(self, runs: Runs) -> None:
        """So is another input."""
        runs.write("ann")
        runs()
        runs.write("ben")
        result = runs()
        assert result.exit_code == 6
        assert "the input" in result.stderr
        assert runs.service.requests_of_each() == {"ann": 1}

    @pytest.mark.parametrize("variable", ["ERASURE_TENANT", "ERASURE_URL"])
    def test_another_tenant_or_service_is_refused(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        """So is another tenant, and another service."""
        runs.write("ann")
        runs()
        monkeypatch.setenv(variable, "https://other.example.com")
        assert runs().exit_code == 6
        assert runs.service.requests_of_each() == {"ann": 1}

    def test_without_a_tenant_the_key_must_be_the_same(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key is its tenant's: where none is named, another key may be another tenant's."""
        monkeypatch.delenv("ERASURE_TENANT")
        runs.write("ann")
        runs()
        monkeypatch.setenv("ERASURE_API_KEY", "sk_test_fedcba9876543210_secret")
        assert runs().exit_code == 6

    def test_a_time_that_has_passed_is_refused(self, runs: Runs) -> None:
        """--not-before must be ahead when a bulk begins."""
        runs.write("ann")
        assert runs("--not-before", "2020-01-01T00:00:00Z").exit_code == 2
        assert runs.service.calls == []


class TestAgain:
    def test_a_complete_bulk_sends_nothing(self, runs: Runs) -> None:
        """Run again, a bulk that is complete says so, and tells the same."""
        runs.write("ann", "b#d", "ann")
        runs()
        before, sent = runs.results.read_text(), len(runs.service.calls)
        result = runs("--json")
        assert result.exit_code == 3
        summary = json.loads(result.stdout)
        assert summary["was_complete"]
        assert (summary["accepted"], summary["refused"], summary["duplicate"]) == (1, 1, 1)
        assert runs.results.read_text() == before
        assert len(runs.service.calls) == sent

    def test_a_duplicate_of_an_earlier_run_has_its_request(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        """What stood in a part that was done before is known after a new start."""
        runs.write("ann", "ben", "cay", "ann")
        with monkeypatch.context() as patch:
            stop_after(patch, chunks=1)
            assert runs("--chunk", "2").exit_code == 130
        assert len(runs.lines()) == 2
        assert runs("--chunk", "2").exit_code == 0
        first, _, _, again = runs.lines()
        assert (again["status"], again["request_id"], again["first_line"]) == ("duplicate", first["request_id"], 2)

    def test_what_was_piped_in_is_kept(self, runs: Runs) -> None:
        """What comes through a pipe is copied; run again, nothing has to come, and nothing else may."""
        how = ("--format", "jsonl")
        assert runs(*how, file="-", piped='"ann"\n{"id": "ben"}\n').exit_code == 0
        assert runs(*how, file="-", piped="").exit_code == 0
        assert runs(*how, file="-", piped='"ann"\n{"id": "ben"}\n').exit_code == 0
        assert runs(*how, file="-", piped='"eve"\n').exit_code == 6
        assert runs.service.requests_of_each() == {"ann": 1, "ben": 1}

    def test_two_at_once_are_refused(self, runs: Runs) -> None:
        """A second process on the same results is told to wait."""
        runs.write("ann")
        with _journal.Journal.open(runs.results):
            result = runs()
        assert result.exit_code == 6
        assert "Another process" in result.stderr
        assert runs.service.calls == []

    def test_a_service_that_does_not_answer(self, runs: Runs) -> None:
        """Exit code 8, and the same command goes on when it does."""
        runs.write("ann")
        without = Session(transport=httpx.MockTransport(lambda _: httpx.Response(501, json={})), is_interactive=False)
        command = ("bulk", str(runs.input), "--results", str(runs.results), "--yes")
        failed = run_command(*command, obj=without)
        assert failed.exit_code == 8
        assert "Run the same command again" in failed.stderr
        assert runs().exit_code == 0
        assert runs.service.requests_of_each() == {"ann": 1}

    def test_results_that_were_changed_are_refused(self, runs: Runs) -> None:
        """Results that somebody has changed are not built upon."""
        runs.write("ann", "ben")
        runs()
        runs.results.write_text(runs.results.read_text().replace("ann", "eve"))
        assert runs().exit_code == 6


class TestAnswersThatWereLost:
    """``first_at`` of a chunk in doubt and the service's memory of keys."""

    @pytest.fixture
    def in_doubt(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Four ids were sent; nobody knows what came of it."""
        clock = Clock(monkeypatch, runs.service)
        runs.write("ann", "ben", "cay", "dan")

        def die(*_: object) -> None:
            raise Died

        with monkeypatch.context() as patch:
            patch.setattr(_journal.Journal, "append_results", die)
            with pytest.raises(Died):
                runs()
        assert runs.lines() == []
        return clock

    def test_within_a_day_the_same_call_is_sent(self, runs: Runs, in_doubt: Clock) -> None:
        """A chunk in doubt is sent again under its key, and answered as the first time."""
        in_doubt.pass_(timedelta(hours=22))
        assert runs().exit_code == 0
        first, again = runs.service.posts()
        assert first == again
        assert set(runs.service.requests_of_each().values()) == {1}

    def test_later_the_requests_are_looked_for(self, runs: Runs, in_doubt: Clock) -> None:
        """When the key may be forgotten, ids that have a request of this bulk's keep it; nothing is sent."""
        in_doubt.pass_(timedelta(hours=30))
        assert runs().exit_code == 0
        assert len(runs.service.posts()) == 1
        assert [line["request_id"] for line in runs.lines()] == list(runs.service.requests)

    def test_ids_that_have_none_are_sent(self, runs: Runs, in_doubt: Clock) -> None:
        """Of a call that died half-way, only the rest is sent, under a new key."""
        for request_id, request in list(runs.service.requests.items()):
            if request["subject"]["id"] in ("ben", "dan"):
                del runs.service.requests[request_id]
        in_doubt.pass_(timedelta(hours=30))
        assert runs().exit_code == 0
        assert [each["id"] for each in runs.service.posts()[1]["subjects"]] == ["ben", "dan"]
        assert set(runs.service.requests_of_each().values()) == {1}
        assert [line["id"] for line in runs.lines()] == ["ann", "ben", "cay", "dan"]

    @pytest.mark.parametrize(
        "difference",
        [
            {"requested_at": "2026-01-01T00:00:00Z"},
            {"requested_at": "2026-11-01T14:00:00Z"},
            {"organization_ids": ["org_1"]},
            {"covers": ("documents",)},
            {"purpose": "replay"},
        ],
    )
    def test_a_request_for_less_is_not_taken_for_it(
        self, runs: Runs, in_doubt: Clock, difference: dict[str, Any]
    ) -> None:
        """What others have requested for the same people, before, later, or for less, is not this bulk's."""
        for request in runs.service.requests.values():
            request.update(difference)
        in_doubt.pass_(timedelta(hours=30))
        assert runs().exit_code == 0
        assert len(runs.service.posts()) == 2
        assert set(runs.service.requests_of_each().values()) == {2}

    def test_another_familys_request_is_not_taken_for_it(self, runs: Runs, in_doubt: Clock) -> None:
        """Other ways in erase less: a request through them is not this bulk's."""
        runs.service.families = dict.fromkeys(runs.service.families, "velt")
        in_doubt.pass_(timedelta(hours=30))
        assert runs().exit_code == 0
        assert len(runs.service.posts()) == 2

    @pytest.mark.parametrize(("because", "calls"), [("asked_for", 1), ("not_queued", 2)])
    def test_what_was_cancelled(self, runs: Runs, in_doubt: Clock, because: str, calls: int) -> None:
        """What somebody has cancelled is not requested anew; what the service took back itself is."""
        for request in runs.service.requests.values():
            request.update(state="cancelled", because=because)
        in_doubt.pass_(timedelta(hours=30))
        assert runs().exit_code == 0
        assert len(runs.service.posts()) == calls

    def test_a_clock_that_was_set_back(self, runs: Runs, in_doubt: Clock) -> None:
        """Nobody can tell how old the key is then: nothing is sent."""
        in_doubt.pass_(timedelta(hours=-2))
        assert runs().exit_code == 1
        assert len(runs.service.posts()) == 1

    def test_a_time_that_passes_meanwhile(self, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative --not-before stays the moment that it was; chunks that come after it begin at once."""
        clock = Clock(monkeypatch, runs.service)
        runs.write("ann", "ben", "cay", "dan")
        with monkeypatch.context() as patch:
            stop_after(patch, chunks=1)
            assert runs("--chunk", "2", "--not-before", "+36h").exit_code == 130
        clock.pass_(timedelta(days=3))
        assert runs("--chunk", "2", "--not-before", "+36h").exit_code == 0
        first, refused, second = runs.service.posts()
        assert first["not_before"] == refused["not_before"]
        assert "not_before" not in second
        assert set(runs.service.requests_of_each().values()) == {1}


class TestProgress:
    def test_a_line_now_and_then(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a terminal: done and total, what became of them, the rate and the time left, every ten seconds."""
        moments = iter([0.0, 3.0, 10.0, 12.0])
        counts = _bulk_run.Counts()
        counts.by_status["accepted"] = 500
        progress = LineProgress(Output(), 2_000, counts, lambda: next(moments))
        for accepted in (600, 1_000, 1_100):
            counts.by_status["accepted"] = accepted
            progress.show(counts)
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err == "1,000 of 2,000 lines, 1,000 accepted, 0 refused, 50 a second, 0:20 left\n"


class Died(BaseException):
    """Instead of a kill."""


class Clock:
    """That of this machine and of the service."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, service: CountingService) -> None:
        self._ahead = timedelta(0)
        run = _bulk_run.BulkRun.__init__

        def init(*arguments: Any, **options: Any) -> None:
            run(*arguments, **{**options, "now": self.now})

        monkeypatch.setattr(_bulk_run.BulkRun, "__init__", init)
        service.now = self.now

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def pass_(self, time_: timedelta) -> None:
        self._ahead += time_


def stop_after(monkeypatch: pytest.MonkeyPatch, *, chunks: int) -> None:
    """Ctrl-C while a chunk is at work."""
    left = [chunks]
    send = _bulk_run.BulkRun._send

    def send_and_interrupt(*arguments: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGINT)
        return send(*arguments)

    monkeypatch.setattr(_bulk_run.BulkRun, "_send", send_and_interrupt)


def test_a_lost_answer(tmp_path: Path) -> None:
    """Against the service in memory: an answer that is lost after the work was done makes nothing twice."""
    fake = FakeService()
    path, results = tmp_path / "people.csv", tmp_path / "results.jsonl"
    path.write_text("user_id\n" + "\n".join(names(5)) + "\na/b\n")
    fake.lose_next_answer()
    environment = {"ERASURE_URL": fake.url, "ERASURE_API_KEY": fake.api_key}
    session = Session(transport=fake, is_interactive=False)
    command = ("bulk", str(path), "--results", str(results), "--chunk", "3", "--yes")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert run_command(*command, obj=session).exit_code == 3
    made = {request.id: request.subject.id for request in fake.client().requests.list()}
    assert sorted(str(each) for each in made.values()) == names(5)
    lines = read_lines(results)
    assert [made.get(line["request_id"]) for line in lines] == [*names(5), None]
    assert lines[-1]["status"] == "refused"


class TestKilled:
    def test_wherever_it_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ended before or after each single write and each call, and in the middle of writes: started again, every id
        has exactly one request, and every line its result."""
        point = 0
        while True:
            point += 1
            service = CountingService()
            folder = tmp_path / str(point)
            folder.mkdir()
            runs = Runs(folder, service)
            runs.write(*names(4), "usr_1", "b#d")
            with service.serving() as url:
                monkeypatch.setenv("ERASURE_URL", url)
                if not ends_at(point, runs):
                    break
                assert not ends_at(None, runs)
            assert service.requests_of_each() == dict.fromkeys(names(4), 1), f"ended at {point}"
            assert [line["line"] for line in runs.lines()] == list(range(2, 8)), f"ended at {point}"
        assert point > 25

    def test_killed_at_random(self, tmp_path: Path, service: CountingService) -> None:
        """Killed several times at random moments of a real run of 2,000 ids: each id has one request, and the results
        are complete and in order."""
        chance = random.Random(20261122)  # noqa: S311 - moments, no secrets
        service.after_work = lambda: time.sleep(0.003)
        path, results = tmp_path / "people.jsonl", tmp_path / "results.jsonl"
        path.write_text("".join(json.dumps({"id": name}) + "\n" for name in names(2_000)))
        command = [sys.executable, "-c", "from erasure_client.cli import main; main()", "bulk", str(path)]
        command += ["--results", str(results), "--chunk", "40", "--yes"]
        kills = 0
        with service.serving() as url:
            while True:
                process = subprocess.Popen(
                    command, env={**os.environ, "ERASURE_URL": url}, stderr=subprocess.PIPE, stdout=subprocess.PIPE
                )
                until = len(service.calls) + chance.randint(1, 10)
                while kills < 5 and process.poll() is None and len(service.calls) < until:
                    time.sleep(0.001)
                if kills < 5 and process.poll() is None:
                    time.sleep(chance.random() * 0.01)
                    process.kill()
                    kills += 1
                    process.communicate()
                    continue
                _, told = process.communicate()
                assert process.returncode == 0, told
                break
        assert kills == 5
        assert service.requests_of_each() == dict.fromkeys(names(2_000), 1)
        lines = read_lines(results)
        assert [line["id"] for line in lines] == names(2_000)
        assert all(service.requests[line["request_id"]]["subject"]["id"] == line["id"] for line in lines)


def ends_at(point: int | None, runs: Runs) -> bool:
    """Run the command in a process of its own, which ends at the point. Returns whether it got there."""
    child = os.fork()
    if not child:
        try:
            end = End(point)
            vars(_journal)["os"] = end
            send = _http.HTTPCarrier.send

            def counted(self: _http.HTTPCarrier, call: Any) -> Any:
                end.here()
                answer = send(self, call)
                end.here()
                return answer

            _http.HTTPCarrier.send = counted  # type: ignore[method-assign]
            session = Session(transport=httpx.HTTPTransport(verify=False), is_interactive=False)
            options = ["bulk", str(runs.input), "--results", str(runs.results), "--chunk", "3", "--yes"]
            result = run_command(*options, obj=session)
            os._exit(0 if result.exit_code == 3 else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, End.CODE), code
    return code == End.CODE


class End:
    """The module ``os`` of a process that ends at the ``point``-th place of those that matter."""

    CODE = 99

    def __init__(self, point: int | None) -> None:
        self._left = point

    def here(self) -> None:
        if self._left is not None:
            self._left -= 1
            if not self._left:
                os._exit(self.CODE)

    def write(self, descriptor: int, data: memoryview) -> int:
        self.here()
        written = os.write(descriptor, data[: len(data) // 2])
        self.here()
        return written + os.write(descriptor, data[len(data) // 2 :])

    def fsync(self, _descriptor: int) -> None:
        # What a process has written outlives it, if not the machine: the disk need not be waited for here.
        self.here()

    def ftruncate(self, descriptor: int, size: int) -> None:
        self.here()
        os.ftruncate(descriptor, size)
        self.here()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)
