"""What a bulk remembers of itself, and what it refuses to go on with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from erasure_client.cli._exits import CommandError
from erasure_client.cli._journal import Heading, Intent, Journal, journal_path

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HEADING = Heading("bulk_1", "digest", 6, {"--chunk": 2}, None)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def intent(chunk: int, *, found: dict[int, str] | None = None) -> Intent:
    """Of two entries."""
    return Intent(chunk, 2 * chunk, 2 * chunk + 2, "digest", f"key-{chunk}", NOW, NOW, None, found or {})


def lines(*numbers: int) -> list[dict[str, int]]:
    return [{"line": number} for number in numbers]


def begun(results: Path) -> Journal:
    journal = Journal.open(results)
    journal.begin(HEADING)
    return journal


def test_what_was_written_is_read(results: Path) -> None:
    """Heading and last intent come back as they were."""
    with begun(results) as journal:
        journal.intend(intent(0))
        journal.intend(intent(1, found={0: "er_1"}))
    with Journal.open(results) as journal:
        assert journal.heading == HEADING
        assert journal.last == intent(1, found={0: "er_1"})


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_last_line_is_cut_off(results: Path, cut: int) -> None:
    """Whatever of the last intent is missing: the one before is the last, and the next one is written behind it."""
    with begun(results) as journal:
        journal.intend(intent(0))
        journal.intend(intent(1))
    path = journal_path(results)
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal.open(results) as journal:
        assert journal.last == intent(0)
        journal.intend(intent(2))
    with Journal.open(results) as journal:
        assert journal.last == intent(2)


def test_a_torn_heading_is_none(results: Path) -> None:
    """A run that ended while its heading was written has not begun."""
    begun(results).close()
    path = journal_path(results)
    path.write_bytes(path.read_bytes()[:-9])
    with Journal.open(results) as journal:
        assert journal.heading is None
        journal.begin(HEADING)
    with Journal.open(results) as journal:
        assert journal.heading == HEADING


def test_a_line_in_the_middle_that_was_changed(results: Path) -> None:
    """What is not readable in the middle was not torn but changed: refused, and left as it is."""
    with begun(results) as journal:
        journal.intend(intent(0))
        journal.intend(intent(1))
    path = journal_path(results)
    changed = path.read_bytes().replace(b'"chunk":0', b'"chunk":?')
    path.write_bytes(changed)
    with pytest.raises(CommandError, match="changed"):
        Journal.open(results)
    assert path.read_bytes() == changed


@pytest.mark.parametrize("content", [b"mine\n", b"mine", b'{"journal":2}\n', b"{}\n"])
def test_another_file_in_its_place(results: Path, content: bytes) -> None:
    """A file that no bulk of this version has written is refused, and left as it is."""
    journal_path(results).write_bytes(content)
    with pytest.raises(CommandError, match=r"another|changed"):
        Journal.open(results)
    assert journal_path(results).read_bytes() == content


class TestTakeBack:
    """Results are kept up to the chunk in doubt."""

    def test_all_are_there(self, results: Path) -> None:
        """Nothing is in doubt, also behind the last chunk."""
        with begun(results) as journal:
            journal.intend(intent(0))
            journal.append_results(lines(1, 2, 3))
            assert journal.take_back() == 3
            assert list(journal.read_results()) == lines(1, 2, 3)

    @pytest.mark.parametrize("written", [0, 1])
    def test_some_of_the_last_chunk_are_missing(self, results: Path, written: int) -> None:
        """Results of a chunk that are not complete go; those before it stay."""
        with begun(results) as journal:
            journal.intend(intent(0))
            journal.append_results(lines(1, 2))
            journal.intend(intent(1))
            journal.append_results(lines(*range(3, 3 + written)))
        with Journal.open(results) as journal:
            assert journal.take_back() == 2
            assert list(journal.read_results()) == lines(1, 2)

    def test_a_torn_last_result(self, results: Path) -> None:
        """A torn result is not one: its chunk is in doubt."""
        with begun(results) as journal:
            journal.intend(intent(0))
            journal.append_results(lines(1, 2))
        results.write_bytes(results.read_bytes()[:-1])
        with Journal.open(results) as journal:
            assert journal.take_back() == 0
            journal.append_results(lines(1, 2))
            assert list(journal.read_results()) == lines(1, 2)

    def test_results_that_are_gone(self, results: Path) -> None:
        """Results of chunks that were done cannot be missing: somebody has removed them."""
        with begun(results) as journal:
            journal.intend(intent(0))
            journal.append_results(lines(1, 2))
            journal.intend(intent(1))
        results.unlink()
        with Journal.open(results) as journal, pytest.raises(CommandError, match="missing"):
            journal.take_back()


@pytest.mark.parametrize(("age", "is_remembered"), [(0, True), (22.9, True), (23, False), (9_000, False)])
def test_how_long_a_key_is_relied_upon(age: float, is_remembered: bool) -> None:
    """Less than the service remembers it."""
    assert intent(0).is_remembered(NOW + timedelta(hours=age)) is is_remembered


def test_a_clock_that_was_set_back() -> None:
    """A little is nothing; more, and nobody can tell how old the key is."""
    assert intent(0).is_remembered(NOW - timedelta(minutes=5))
    with pytest.raises(CommandError, match="clock"):
        intent(0).is_remembered(NOW - timedelta(hours=1))


def test_a_journal_with_nothing_in_it_is_removed(results: Path) -> None:
    """Who was asked and said no leaves nothing behind; a run that has begun stays."""
    with Journal.open(results) as journal:
        journal.forget()
    assert not journal_path(results).exists()
    with begun(results) as journal:
        journal.forget()
    assert journal_path(results).exists()


def test_a_full_disk(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written down is an error before anything is sent."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with begun(results) as journal:
        monkeypatch.setattr("erasure_client.cli._journal.os.write", full)
        with pytest.raises(CommandError, match="No space"):
            journal.intend(intent(0))
        assert journal.last is None
