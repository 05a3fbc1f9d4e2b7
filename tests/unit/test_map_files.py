"""Lines of the places in a data map."""

from __future__ import annotations

from pathlib import Path

import pytest

from erasure.entry.map_files import MapFile, read_map_file

TEXT = """\
# a comment
version: 1
targets:
  - name: files
    s3:
      bucket: app-files
      prefix: "{user_id}/"
  - name: notes
    dynamodb: {table: app-notes,
               key: {a.b: "{user_id}"}}
    subjects: [
      user]
"""


@pytest.fixture
def file(tmp_path: Path) -> MapFile:
    path = tmp_path / "map.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return read_map_file(path)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("version", 2),
        ("targets", 3),
        ("targets[0]", 4),
        ("targets[0].s3.prefix", 7),
        ("targets[1]", 8),
        ("targets[1].dynamodb.table", 9),
        ("targets[1].dynamodb.key.a.b", 10),
        ("targets[1].subjects[0]", 12),
        ("targets[1].category", 8),  # not there: the target's
        ("targets[0].s3.key.more", 5),
        ("targets[7].name", 3),
        ("identifiers.email", None),
        ("data map", None),
        ("", None),
    ],
)
def test_lines(file: MapFile, path: str, line: int | None) -> None:
    """A place has the line on which it begins; what is missing, that of the nearest place around it."""
    assert file.line_of(path) == line
    assert file.located(path) == (path if line is None else f"line {line}: {path}")


def test_aliases_are_followed_once(tmp_path: Path) -> None:
    """A document that aliases blow up takes as long to locate as to read."""
    path = tmp_path / "map.yaml"
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    path.write_text("\n".join(["a0: &a0 x", *levels]), encoding="utf-8")
    assert len(read_map_file(path).lines) < 1000


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    """And no document."""
    path = tmp_path / "map.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert read_map_file(path) == MapFile(None, {})
