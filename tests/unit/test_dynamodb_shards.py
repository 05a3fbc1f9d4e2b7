"""In how many pieces a table is scanned."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from erasure.targets.dynamodb_pacing import Pacer
from erasure.targets.dynamodb_scan import SEGMENT_READERS, reading_of, shards_of

GB = 1024**3
MB = 1024**2


def table(size: int, units: int = 0, items: int = 0) -> dict[str, Any]:
    return {
        "TableName": "app_data",
        "TableSizeBytes": size,
        "ItemCount": items,
        "ProvisionedThroughput": {"ReadCapacityUnits": units, "WriteCapacityUnits": units},
    }


@pytest.mark.parametrize(
    ("size", "shards", "total"),
    [
        (0, 1, 1),
        (256 * MB, 1, 1),
        (257 * MB, 1, 2),
        (25 * GB, 1, 100),
        (26 * GB, 2, 104),
        (200 * GB, 8, 800),
        (1024 * GB, 16, 5369),
        (10**15, 16, 1_000_000),
    ],
)
def test_pieces_grow_with_the_table(size: int, shards: int, total: int) -> None:
    """Segments of a quarter of a gigabyte, or a little less where many share a pace; up to 25 GB are one shard; never
    more than an engine or a job takes."""
    pieces = shards_of(table(size))
    assert (len(pieces), pieces[0].total) == (shards, total)


@pytest.mark.parametrize("size", [0, 1, 100 * GB, 400 * GB, 10**13, 10**15])
@pytest.mark.parametrize("units", [0, 1, 500])
def test_shards_are_the_whole_table_once(size: int, units: int) -> None:
    """Each segment is in exactly one shard, and no shard is empty."""
    pieces = shards_of(table(size, units))
    assert (pieces[0].first, pieces[-1].end) == (0, pieces[0].total)
    assert all(before.end == after.first for before, after in pairwise(pieces))
    assert all(piece.first < piece.end and piece.total == pieces[0].total for piece in pieces)


def test_segments_of_a_slow_table_are_small() -> None:
    """With 100 read units of which half may be taken, a segment is what that reads in twenty seconds."""
    (shard,) = shards_of(table(GB, 100))
    assert GB / shard.total == pytest.approx(50 * 20 * 8192, rel=0.01)
    (slower,) = shards_of(table(GB, 100), 0.1)
    assert slower.total == pytest.approx(5 * shard.total, rel=0.01)


def test_description_without_a_size_is_one_piece() -> None:
    """An engine that does not tell is taken for a small table."""
    assert len(shards_of({"TableName": "app_data"})) == 1


def test_fast_tables_are_read_side_by_side_and_slow_ones_in_small_pages() -> None:
    """Pages of a slow table cost about a second of its pace; a page of 1 MB is no limit where the pace allows it."""
    fast = reading_of(table(GB, 0, 1000), Pacer(lambda: 0.0, 3000), consistent=False)
    assert (fast.readers, fast.page_items) == (SEGMENT_READERS, None)
    slow = reading_of(table(100 * 2048, 0, 100), Pacer(lambda: 0.0, 10), consistent=False)
    assert (slow.readers, slow.page_items) == (1, 40)
    certain = reading_of(table(100 * 2048, 0, 100), Pacer(lambda: 0.0, 10), consistent=True)
    assert certain.page_items == 20
    huge = reading_of(table(100 * 400_000, 0, 100), Pacer(lambda: 0.0, 1), consistent=True)
    assert huge.page_items == 1
