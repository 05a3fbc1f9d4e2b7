"""Erasure requests as people read them. No word here says that something is gone unless the service has verified it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from erasure_client.cli._output import clean, plain, table
from erasure_client.cli._times import counted, local, moment, number, relative, span

if TYPE_CHECKING:
    from erasure_client import ErasureRequest, Subject, Target

AT_WORK = frozenset({"erasing", "verifying"})
_STYLES = {
    "requested": "cyan",
    "started": "blue",
    "held": "yellow",
    "cancelled": "dim",
    "finished": "green",
    "failed": "bold red",
    "retained": "yellow",
    "blocked": "yellow",
    "erased": "green",
    "detached": "green",
    "redacted": "green",
    "already_absent": "green",
    "erasing": "blue",
    "verifying": "blue",
}
REASONS = {
    "ambiguous_identifier": "the data map cannot tell them from others by this id",
    "not_covered": "the data map has nothing that is asked for",
}


class Standing(NamedTuple):
    """How a request stands: a word or two for a column, a sentence, the colour of both."""

    word: str
    sentence: str
    style: str


def subject_text(subject: Subject) -> str:
    """``user ann``; of one that the record has forgotten, its type only."""
    return (
        f"{clean(subject.type)} {clean(subject.id)}" if subject.id is not None else f"{clean(subject.type)} (forgotten)"
    )


def state_text(state: str) -> Text:
    return plain(state.replace("_", " "), _STYLES.get(state, ""))


def standing(request: ErasureRequest, since: datetime) -> Standing:
    """What can be said of the request, and not more."""
    if request.is_finished:
        return _finished(request)
    if request.attention:
        return _attention(request)
    word, style = clean(request.state), _STYLES.get(request.state, "")
    if request.state == "held":
        return Standing(word, "A legal hold concerns the subject. Nothing is erased until it is lifted.", style)
    if request.state == "cancelled":
        return Standing(word, "It was taken back before it began. It erases nothing.", style)
    if request.state == "requested":
        if request.not_before is not None and request.not_before > since:
            begins = moment(request.not_before, since)
            return Standing(word, f"Accepted. It begins {begins}; until then it can be cancelled.", style)
        return Standing(word, "Accepted and queued. The data is not gone yet.", style)
    if request.scan_at is not None:
        scan = moment(request.scan_at, since)
        return Standing(word, f"What has to be searched for is erased from {scan} on. Until then it stays.", style)
    if request.state == "started":
        return Standing(word, "It is being worked on. Not everything is gone yet.", style)
    return Standing(word, "This version of the command line does not know this state. Do not take it for done.", style)


def _finished(request: ErasureRequest) -> Standing:
    if request.is_complete:
        if all(target.state == "already_absent" for target in request.targets):
            return Standing("finished", "Looked for everywhere that it covers: there was nothing.", "green")
        return Standing("finished", "All that it covers is erased, and verified.", "green")
    if not request.targets:
        return Standing("finished", "What became of its targets is not told here.", "green")
    kept = request.kept
    others = [clean(target.name) for target in request.targets if not target.is_gone and target not in kept]
    parts = []
    if kept:
        things = counted(sum(target.kept for target in kept), "thing is", "things are")
        more = "at least " if any(target.kept_more for target in kept) else ""
        parts.append(f"{more}{things} kept: {', '.join(_kept_text(target) for target in kept)}")
    if others:
        parts.append(f"not known to be gone: {', '.join(others)}")
    if request.late_arrivals:
        by = "" if request.followed_by is None else f", which {clean(request.followed_by)} erases"
        parts.append(f"{counted(request.late_arrivals, 'thing was', 'things were')} found afterwards{by}")
    if request.attention:
        parts.append("something could not be erased")
    return Standing("finished", f"finished; {'; '.join(parts)}.", "yellow")


def _kept_text(target: Target) -> str:
    why = [] if target.basis is None else [clean(target.basis)]
    why.append(until_text(target.until))
    return f"{number(target.kept)} in {clean(target.name)} ({', '.join(why)})"


def until_text(until: datetime | None) -> str:
    """Until when something is kept: the day."""
    return "without a known end" if until is None else f"until {local(until)[:10]}"


def _attention(request: ErasureRequest) -> Standing:
    failed = ", ".join(f"{clean(each.name)} ({clean(each.reason or 'unknown')})" for each in request.failed)
    what = f"Could not be erased: {failed}. " if failed else "Something could not be erased. "
    if request.parked_at is not None:
        what += "It is not tried again by itself any more."
    elif request.job is not None:
        what += "It is being tried again."
    else:
        what += "It is tried again by itself."
    return Standing("needs attention", f"{what} That data is still there.", "bold red")


def advice(request: ErasureRequest) -> str | None:
    """What somebody who looks at the request may do next; None: nothing is to be done."""
    if request.is_finished and request.late_arrivals and request.followed_by is not None:
        return f"see what was found afterwards with `erasure status {request.followed_by}`"
    if request.is_finished or request.state == "cancelled":
        return None
    if request.attention:
        return f"mend what the reason names, then `erasure retry {request.id}`"
    if request.state == "held":
        return "see the hold with `erasure hold show ID`"
    return f"watch it with `erasure status {request.id} --watch`"


def heading(request: ErasureRequest) -> Text:
    return Text.assemble((clean(request.id), "bold"), "  ", plain(subject_text(request.subject)))


def said(stands: Standing) -> Text:
    """The standing as a sentence, the state in front of it in colour."""
    sentence = stands.sentence.removeprefix("finished; ")
    joint = "; " if sentence != stands.sentence else ": "
    return Text.assemble((stands.word, stands.style), f"{joint}{sentence}")


def request_view(request: ErasureRequest, since: datetime) -> Group:
    """One request: whom it is about, how it stands, its times, its targets."""
    parts: list[RenderableType] = [heading(request), said(standing(request, since)), "", _times(request, since)]
    if request.targets:
        parts += ["", targets_table(request.targets)]
    return Group(*parts)


def _times(request: ErasureRequest, since: datetime) -> Table:
    rows = Table.grid(padding=(0, 2))
    for label, at in (
        ("requested", request.requested_at),
        ("not before", request.not_before),
        ("started", request.started_at),
        ("held since", request.held_since),
        ("parked", request.parked_at),
        ("searched for", request.scan_at),
        ("finished", request.finished_at),
        ("taken up again", request.follow_up_at),
        ("forgotten", request.purged_at),
    ):
        if at is not None:
            rows.add_row(label, moment(at, since))
    if request.is_open:
        rows.add_row("due", due_text(request, since))
    if request.organization_ids:
        within = ", ".join(clean(each) for each in request.organization_ids)
        rows.add_row("within", plain(within))
    for label, value in (
        ("batch", request.batch_id),
        ("followed by", request.followed_by),
        ("follows", request.follows),
    ):
        if value is not None:
            rows.add_row(label, clean(value))
    if request.late_arrivals:
        rows.add_row("written late", counted(request.late_arrivals, "thing", "things"))
    return rows


def due_text(request: ErasureRequest, since: datetime) -> Text:
    """The deadline, and how much of the promised time is over."""
    text = Text(moment(request.due_at, since))
    if request.state == "held":
        text = Text("stands still while it is held")
    elif request.due_at <= since:
        text = Text(f"{local(request.due_at)}, late by {span((since - request.due_at).total_seconds())}", "bold red")
    elif request.sla is not None and request.sla.state == "at_risk":
        text.append(f" (at risk: {request.sla.percent} % is over)", "yellow")
    return text


def targets_table(targets: Iterable[Target], marks: Sequence[str] = ()) -> Table:
    """One row for each. ``marks``: what stands before the states, one for each."""
    # Set in by an empty column: rich's Padding measures a table too narrow, and cuts names that there is room for.
    rows = table("", "TARGET", "CATEGORY", "STATE", "COUNT", "", right=("COUNT",), whole=("STATE",))
    for place, target in enumerate(targets):
        state = state_text(target.state)
        if marks:
            state = Text.assemble((marks[place], "blue"), " ", state)
        count = number(target.count) + ("+" if target.at_least else "")
        rows.add_row("", plain(target.name), plain(target.category), state, count, plain(target_note(target)))
    return rows


def target_note(target: Target) -> str:
    """What there is to say beside the count."""
    notes = []
    if target.reason is not None:
        notes.append(target.reason)
    if target.kept:
        more = "+" if target.kept_more else ""
        law = f", {target.basis}" if target.basis else ""
        notes.append(f"{number(target.kept)}{more} kept {until_text(target.until)}{law}")
    return "; ".join(notes)


def requests_table(requests: Iterable[ErasureRequest], since: datetime) -> Table:
    """One row for each: id, state, what its time is, whom it is about."""
    rows = table("ID", "STATE", "TIME", "SUBJECT", whole=("ID", "STATE", "TIME"))
    for request in requests:
        stands = standing(request, since)
        rows.add_row(
            clean(request.id), Text(stands.word, stands.style), _short_time(request, since), _whom(request.subject)
        )
    return rows


def _short_time(request: ErasureRequest, since: datetime) -> Text:
    if request.finished_at is not None:
        return Text(relative(request.finished_at, since))
    if request.state == "held" or not request.is_open:
        return Text("")
    if request.due_at <= since:
        return Text(f"late by {span((since - request.due_at).total_seconds())}", "bold red")
    if request.state == "requested" and request.not_before is not None and request.not_before > since:
        return Text(f"begins {relative(request.not_before, since)}")
    return Text(f"due {relative(request.due_at, since)}")


def _whom(subject: Subject) -> Text:
    """In a list users are the rule: their ids stand alone."""
    if subject.type == "user":
        return plain("(forgotten)" if subject.id is None else subject.id)
    return plain(subject_text(subject))
