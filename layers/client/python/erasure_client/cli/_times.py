"""Times, spans and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def now() -> datetime:
    return datetime.now(UTC)


def local(at: datetime, *, seconds: bool = False) -> str:
    """In the time of this machine's place, with its offset from UTC: ``2026-11-25 02:48 +01:00``."""
    try:
        here = at.astimezone()
    except (OverflowError, OSError, ValueError):
        here = at  # for ever, as 9999-12-31, which is no time any more where it is later
    text = here.isoformat(sep=" ", timespec="seconds" if seconds else "minutes")
    return f"{text[:-6]} {text[-6:]}"


def day(at: datetime) -> str:
    """For a narrow column, in the time of this machine's place: ``2026-11-25``."""
    return at.astimezone().date().isoformat()


def span(seconds: float) -> str:
    """Its two largest units: ``2 d 4 h``, ``12 min 5 s``. Without a sign."""
    left = abs(int(seconds))
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            text, rest = f"{left // size} {unit}", left % size
            if place + 1 < len(_UNITS) and (smaller := rest // _UNITS[place + 1][1]):
                text += f" {smaller} {_UNITS[place + 1][0]}"
            return text
    return "0 s"


def relative(at: datetime, since: datetime) -> str:
    """``in 2 d 4 h``, ``3 h ago``, ``now``."""
    seconds = (at - since).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"


def moment(at: datetime, since: datetime) -> str:
    """``2026-11-25 02:48 +01:00, in 2 d 4 h``."""
    return f"{local(at)}, {relative(at, since)}"


def number(count: int) -> str:
    """With separators between thousands."""
    return f"{count:,}"


def counted(count: int, one: str, several: str) -> str:
    """``1 thing``, ``1,200 things``."""
    return f"{number(count)} {one if count == 1 else several}"
