"""Goals 4, 9 and 10 for batches: calls, states and units of a window of subjects, and what an erasure costs.

On moto, with the real functions (:mod:`tests.bench.windows`). The whole typical erasure is run for one subject in each
lane and for ten together; for 100 and 1,000, where the service's own records are counted, targets stand in that do
nothing. That this changes no count of ours is measured with ten of each. What the targets call and consume is taken
from the ten: it does not depend on how many more there are, and calls are filled better with more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.bench.prices import IRREDUCIBLE, dollars_a_million
from tests.bench.windows import (
    OBJECTS,
    VERSIONS,
    Window,
    by_themselves,
    in_bulk,
    measure,
    one_by_one,
)

MOST_TRANSITIONS = 0.2
MOST_OF_BATCH, MOST_OF_INTERACTIVE = 1.15, 3.0
VERIFIED = {**IRREDUCIBLE, "lists": 6, "read units": 60}
"""The least with a verification by somebody else: lists again, an empty consistent query of each of 5 targets, and
consistent reads, since nobody can be sure of what an eventually consistent one does not show."""

LIST, DELETE_OBJECTS, QUERY, BATCH_WRITE, OTHER = 0.040, 0.200, 0.008, 0.012, 0.008
"""Seconds of a call, as on the stubs of the wall-time benches."""
ABREAST = 8
"""Calls that a function has under way at once, about."""
WAITING_SECONDS = 3.0
"""For which ``subject_api`` keeps the person of a self-deletion waiting: a guess."""


def run(large: int = 1000) -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict``."""
    alone, interactive = measure(1, in_bulk, real=True), measure(1, by_themselves, real=True)
    ten, ten_of_nothing = measure(10, in_bulk, real=True), measure(10, in_bulk, real=False)
    hundred, many = measure(100, in_bulk, real=False), measure(large, in_bulk, real=False)
    single_calls = measure(100, one_by_one, real=False)
    return [
        *_rows_of_transitions(alone, hundred, many, single_calls),
        *_rows_of_accepting(hundred, many, single_calls),
        _stands_in(ten, ten_of_nothing),
        *_rows_of_targets(alone, ten),
        *_rows_of_own(alone, hundred, many),
        *_rows_of_cost("batch lane, 100 a window", _counts(hundred, ten), MOST_OF_BATCH),
        *_rows_of_cost("batch lane, one by one", _counts(single_calls, ten), None),
        *_rows_of_cost("interactive lane", _interactive_counts(interactive), MOST_OF_INTERACTIVE),
    ]


def _row(goal: object, what: str, measured: float, bound: float | None, most: float | None = 1.0) -> dict[str, Any]:
    """``most``: of the ratio; ``None`` for what no goal is set for."""
    ratio = None if not bound else round(measured / bound, 3)
    verdict = "info" if most is None or ratio is None else "pass" if ratio <= most else "miss"
    return {
        "goal": goal,
        "what": what,
        "measured": round(measured, 3),
        "bound": None if bound is None else round(bound, 3),
        "ratio": ratio,
        "verdict": verdict,
    }


def _told(what: str, measured: float, bound: float | None = None) -> dict[str, Any]:
    return _row("-", what, measured, bound, None)


# --- states and calls ----------------------------------------------------------------------------------------------


def _rows_of_transitions(alone: Window, hundred: Window, many: Window, single_calls: Window) -> list[dict[str, Any]]:
    return [
        _told("state transitions of a window of 1 subject, 8 targets", alone.transitions),
        _row(9, "state transitions a subject, 100 in a window", hundred.transitions / 100, MOST_TRANSITIONS),
        _row(9, "the same, accepted by 100 calls", single_calls.transitions / 100, MOST_TRANSITIONS),
        _row(
            9,
            f"state transitions a subject, {many.subjects:,} in a window ({many.transitions} in all)",
            many.transitions / many.subjects,
            MOST_TRANSITIONS,
        ),
    ]


def _rows_of_accepting(hundred: Window, many: Window, single_calls: Window) -> list[dict[str, Any]]:
    rows = []
    for window in (hundred, many):
        writes = window.accepting["TransactWriteItems"]
        rows += [
            _row(4, f"transactions to accept {window.subjects:,} in one call", writes, window.subjects),
            _row(4, f"messages for {window.subjects:,} in one call", window.messages, 1),
        ]
    calls = single_calls.accepting
    keys_own = calls["UpdateItem"] + calls["GetItem"]
    return [
        *rows,
        _row(4, "transactions a request, one by one", calls["TransactWriteItems"] / 100, 1),
        _row(4, "messages a request, one by one", single_calls.messages / 100, 1),
        _told("calls about the API key for each call", keys_own / 100, 1),
        _told("executions for 100 calls that Lambda hands over together", single_calls.executions, 1),
        *(
            _told(f"Lambda calls a subject, {window.subjects:,} in a window", _a_subject(window.functions, window))
            for window in (hundred, many)
        ),
    ]


def _a_subject(counted: Counter[str], window: Window) -> float:
    return counted.total() / window.subjects


def _stands_in(real: Window, nothing: Window) -> dict[str, Any]:
    """Every count of the service's own, with the typical erasure and with targets that do nothing."""
    pairs: list[tuple[Counter[Any], Counter[Any]]] = [
        (real.functions, nothing.functions),
        (real.accepting, nothing.accepting),
        (_own(real.calls), _own(nothing.calls)),
        (_own(real.units), _own(nothing.units)),
    ]
    different = sum(count != other[name] for one, other in pairs for name, count in one.items())
    different += real.transitions != nothing.transitions
    what = "own counts that change when the targets of 10 subjects do nothing"
    return {**_row("-", what, different, 1), "bound": 0, "ratio": None, "verdict": "info" if not different else "miss"}


def _own(counted: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter({name: count for name, count in counted.items() if name[0] == "own"})


def _rows_of_targets(alone: Window, ten: Window) -> list[dict[str, Any]]:
    full = OBJECTS * VERSIONS / 1000
    rows = [_told("DeleteObjects calls a subject, alone", alone.s3["DeleteObjects"], full)]
    for name, bound in (("DeleteObjects", full), ("ListObjectVersions", 6), ("ListMultipartUploads", 6)):
        rows.append(_told(f"{name} calls a subject, 10 in a window", ten.s3[name] / 10, bound))
    rows.append(_told("BatchWriteItem calls a subject, 10 in a window", ten.calls["app", "BatchWriteItem"] / 10, 8))
    return rows


def _rows_of_own(alone: Window, hundred: Window, many: Window) -> list[dict[str, Any]]:
    rows = []
    for window in (alone, hundred, many):
        writes, reads = window.own("write", "index"), window.own("read")
        calls = sum(_own(window.calls).values())
        what = f"own records a subject, {window.subjects:,} in a window"
        rows += [
            _told(
                f"write units of {what}, {window.own('index') / window.subjects:.1f} of them of indexes",
                writes / window.subjects,
            ),
            _told(f"read units of {what}", reads / window.subjects),
            _told(f"calls about {what}", calls / window.subjects),
        ]
    return rows


# --- cost ----------------------------------------------------------------------------------------------------------


def _counts(window: Window, ten: Window) -> dict[str, float]:
    """Of one subject of ``window``; what its targets call and consume, from the ten."""
    share = 1 / window.subjects
    return {
        "write units": ten.units["app", "write"] / 10 + window.own("write", "index") * share,
        "read units": ten.units["app", "read"] / 10 + window.own("read") * share,
        "lists": ten.s3["ListObjectVersions"] / 10 + ten.s3["ListMultipartUploads"] * share,
        "transitions": window.transitions * share,
        "function calls": window.functions.total() * share,
        "GB-seconds": _target_seconds(ten) / 10 + _own_gb_seconds(window) * share,
        "API calls": window.functions["backend_api"] * share,
        "queue calls": window.queue_calls * share,
        "log GB": 0.5e-6 * window.functions.total() * share,
    }


def _interactive_counts(window: Window) -> dict[str, float]:
    """A self-deletion: two calls of the API that was not run here, and one that looks at the end."""
    return {
        "write units": window.units["app", "write"] + window.own("write", "index"),
        "read units": window.units["app", "read"] + window.own("read") + 12,  # 12: looking while somebody waits
        "lists": window.lists,
        "transitions": window.transitions,
        "function calls": window.functions.total() + 3,
        "GB-seconds": _target_seconds(window) + _own_gb_seconds(window) + WAITING_SECONDS * 0.5,
        "API calls": 3,
        "queue calls": window.queue_calls,
        "log GB": 0.5e-6 * (window.functions.total() + 3),
    }


def _target_seconds(window: Window) -> float:
    """GB-seconds of erasing and verifying (1 GB, calls abreast)."""
    lists = window.lists * LIST
    deletes = window.s3["DeleteObjects"] * DELETE_OBJECTS
    items = window.calls["app", "Query"] * QUERY + window.calls["app", "BatchWriteItem"] * BATCH_WRITE
    return (lists + deletes + items) / ABREAST


def _own_gb_seconds(window: Window) -> float:
    """GB-seconds of the service's own calls (0.5 GB, one after the other at most), and 0.1 s for each function call."""
    return 0.5 * (_own(window.calls).total() * OTHER + window.functions.total() * 0.1)


def _rows_of_cost(lane: str, counts: dict[str, float], most: float | None) -> list[dict[str, Any]]:
    dollars = dollars_a_million(counts)
    least = sum(dollars_a_million(IRREDUCIBLE).values())
    with_verification = sum(dollars_a_million(VERIFIED).values())
    total = sum(dollars.values())
    goal = "-" if most is None else 10
    what = f"$ a million typical erasures, {lane}"
    return [
        _row(goal, f"{what}, against the irreducible (at most {most} x)" if most else what, total, least, most),
        _told(f"{what}, against the least that verifies", total, with_verification),
        *(
            _told(f"{lane}: $ a million for {counts[name]:.4g} {name}", cost, dollars_a_million(VERIFIED).get(name))
            for name, cost in dollars.items()
        ),
    ]


def main() -> None:
    for row in run():
        print(f"{row['verdict']:5} {row['goal']!s:3} {row['measured']:>10} / {row['bound']!s:>8}  {row['what']}")


if __name__ == "__main__":
    main()
