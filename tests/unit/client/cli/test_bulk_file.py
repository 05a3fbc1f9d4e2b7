"""Files that list whom to erase: what is read of them, and what is refused."""

from __future__ import annotations

import io
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_client.cli._bulk_file import CSV, JSONL, Entry, Layout, format_of, read_entries, survey
from erasure_client.cli._exits import CommandError


def read(content: str | bytes, layout: Layout) -> list[Entry]:
    data = content if isinstance(content, bytes) else content.encode()
    with closing(read_entries(io.BufferedReader(io.BytesIO(data)), layout)) as entries:
        return list(entries)


def read_csv(content: str | bytes, column: str | None = None, subject_type: str = "user") -> list[Entry]:
    return read(content, Layout(CSV, column, subject_type))


def read_json(content: str | bytes, column: str | None = None) -> list[Entry]:
    return read(content, Layout(JSONL, column))


def ids(entries: list[Entry]) -> list[str]:
    assert not any(entry.problem for entry in entries)
    return [entry.id for entry in entries]


class TestCSV:
    @pytest.mark.parametrize("header", ["user_id", "id", "email,user_id", "customer_id", "userId"])
    def test_the_column_that_is_meant(self, header: str) -> None:
        """user_id or id, wherever it stands; the only column if it is named like ids."""
        row = ",".join(["x@example.com"] * header.count(",") + ["ann"])
        assert ids(read_csv(f"{header}\n{row}\n")) == ["ann"]

    @pytest.mark.parametrize("header", ["id,user_id", "email,name", "usr_17", "david", "ann@example.com", "42", ""])
    def test_a_column_that_may_not_be_meant(self, header: str) -> None:
        """Two columns that could be it, none, or a first line that may be an id: not guessed."""
        with pytest.raises(CommandError, match="The first line") as caught:
            read_csv(f"{header or chr(34) * 2}\n{','.join(['ann'] * (header.count(',') + 1))}\n")
        assert "ann" not in f"{caught.value} {caught.value.next}"

    def test_a_named_column(self) -> None:
        """--column names it; one that is not there is refused."""
        assert ids(read_csv("id,user_id\n1,ann\n", column="user_id")) == ["ann"]
        with pytest.raises(CommandError, match="--column"):
            read_csv("ann\nben\n", column="user_id")

    def test_a_column_twice(self) -> None:
        """A header with the column twice is refused."""
        with pytest.raises(CommandError, match="twice"):
            read_csv("id,id\nann,ben\n", column="id")

    @pytest.mark.parametrize("separator", [";", "\t", "|"])
    def test_other_separators(self, separator: str) -> None:
        """A file whose columns are separated otherwise is refused: its lines would be taken for ids."""
        with pytest.raises(CommandError, match="commas"):
            read_csv(f"user{separator}user_id\n1{separator}ann\n")

    def test_an_id_with_a_comma_that_is_not_quoted(self) -> None:
        """The part before the comma may be somebody else: the line is a problem."""
        entries = read_csv('user_id\nteam,ops\n"team,ops"\n')
        assert entries[0].problem is not None
        assert (entries[1].id, entries[1].problem) == ("team,ops", None)

    def test_quotes_line_ends_and_the_byte_order_mark(self) -> None:
        """As Excel writes it: BOM, CRLF, quotes. Ids are taken as they are."""
        content = b'\xef\xbb\xbfuser_id,note\r\n"a ""b""","two\r\nlines"\r\nc d,\r\n'
        entries = read_csv(content)
        assert ids(entries) == ['a "b"', "c d"]
        assert [entry.line for entry in entries] == [2, 4]

    def test_blanks_around_an_id(self) -> None:
        """Of " ann" there would be nothing, and ann would be told to be gone: such a line is a problem."""
        entries = read_csv('user_id,n\n ann,1\nben ,2\n"\u00a0cay",3\ndan,4\n')
        assert [entry.problem is None for entry in entries] == [False, False, False, True]
        assert [entry.problem for entry in read_json('" ann"\n')] == [None]

    def test_a_quote_that_is_not_closed(self) -> None:
        """It would swallow the lines after it, and their ids: nothing is read."""
        with pytest.raises(CommandError, match="not good CSV"):
            read_csv('user_id,note\nann,"x\nben,y\ncay,z\n')

    def test_types(self) -> None:
        """A column type says what each id is; another word is a problem, not the default."""
        entries = read_csv("id,type\nann,user\nops,group\nx,\ny,User\n", subject_type="organization")
        assert [entry.subject_type for entry in entries[:2]] == ["user", "group"]
        assert [entry.problem is None for entry in entries] == [True, True, False, False]
        assert read_csv("id\nacme\n", subject_type="organization")[0].subject_type == "organization"

    def test_blank_lines_are_nobody(self) -> None:
        """Lines with nothing on them are passed over, and counted as lines."""
        assert [entry.line for entry in read_csv("\nuser_id\n\nann\n\n\nben\n\n")] == [4, 7]

    def test_an_empty_file(self) -> None:
        """Nobody."""
        assert read_csv("") == []


class TestJSONLines:
    def test_texts_and_objects(self) -> None:
        """A text by itself is a user's id; an object has id or user_id, and perhaps type."""
        content = '"ann"\n\n{"id": "ben", "type": "group", "more": 1}\r\n{"user_id": "cay"}'
        assert [(entry.line, entry.subject_type, entry.id) for entry in read_json(content)] == [
            (1, "user", "ann"),
            (3, "group", "ben"),
            (4, "user", "cay"),
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "ann",
            "17",
            "null",
            "[]",
            "{}",
            '{"id": 17}',
            '{"id": null}',
            '{"id": "ann", "user_id": "ben"}',
            '{"id": "ann", "id": "ben"}',
            '{"id": "ann", "type": "person"}',
            '{"id": "ann", "type": null}',
            '"\\ud800"',
            '"a\\u0000b"',
            '""',
            '" "',
            '"' + "x" * 257 + '"',
            "[" * 100_000,
        ],
    )
    def test_lines_that_cannot_be_sent(self, line: str) -> None:
        """What is no id, or not one alone, is a problem of its line."""
        bad, good = read_json(f'{line}\n"zed"\n')
        assert (bad.line, bad.id) == (1, "")
        assert bad.problem
        assert "ann" not in bad.problem
        assert (good.line, good.id) == (2, "zed")

    def test_bytes_that_are_no_text(self) -> None:
        """A line that is not UTF-8 is a problem of its own."""
        bad, good = read_json(b'"a\xffb"\n"zed"\n')
        assert bad.problem == "is not UTF-8 text"
        assert good.id == "zed"

    def test_a_named_key(self) -> None:
        """--column names the key."""
        assert ids(read_json('{"id": "1", "customer": "ann"}', column="customer")) == ["ann"]

    def test_a_line_without_end(self) -> None:
        """A file that is one endless line is not read into memory."""
        with pytest.raises(CommandError, match="Line 2 is too long"):
            read_json('"ann"\n"' + "x" * (1 << 21))


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20), max_size=20))
def test_ids_come_through_as_they_are(named: list[str]) -> None:
    """Byte for byte, whatever characters they have, in both formats."""
    import csv
    import json

    named = [name for name in named if name == name.strip() and name]
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["user_id"])
    writer.writerows([[name] for name in named])
    assert ids(read_csv(text.getvalue())) == named
    assert ids(read_json("".join(json.dumps(name) + "\n" for name in named))) == named
    assert ids(read_json("".join(json.dumps(name, ensure_ascii=False) + "\n" for name in named))) == named


class TestSurvey:
    def test_counts(self) -> None:
        """How many lines, how many different subjects, and which lines break which rule."""
        found = survey(read_csv("id,type\nann,user\nann,group\nann,user\n,user\n,user\nann,user\nx,y\n"))
        assert (found.entries, found.different, found.duplicates, found.invalid) == (7, 2, 2, 3)
        assert found.told() == [
            ("lines 5-6", "the id is empty"),
            ("line 8", "the type must be one of user, group, organization"),
        ]
        assert len(found.repeated) == 1

    def test_lines_are_told_in_ranges(self) -> None:
        """All lines are told, however many they are."""
        found = survey(read_json('1\n1\n1\n"a"\n1\n"b"\n1\n1\n'))
        assert found.told() == [("lines 1-3, 5, 7-8", "must be text, or an object with id")]


def test_formats_by_name() -> None:
    """The end of a name says how to read it; no other is guessed."""
    assert [format_of(name) for name in ("a.csv", "A.CSV", "b.jsonl", "c.ndjson", "d.txt", "-")] == [
        CSV,
        CSV,
        JSONL,
        JSONL,
        None,
        None,
    ]
