"""The bodies of what is about time: the promise, legal holds and retention rules. For development time only, like
:mod:`erasure.entry.openapi_models`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from erasure.domain.holds import MAX_ALIASES
from erasure.domain.request import PURPOSES
from erasure.entry.holds import MAX_AUTHOR, MAX_REASON
from erasure.entry.native import MAX_LIMIT
from erasure.entry.openapi_models import (
    NOT_BLANK,
    Absent,
    Count,
    Digest,
    Identifier,
    Model,
    Moment,
    RequestId,
    Strict,
    SubjectType,
    one_of,
    text,
)
from erasure.entry.retention import STATES as RULE_STATES
from erasure.services.sla_figures import MAX_FINISHED, MAX_OPEN
from erasure.services.sla_view import STATES

# The promise.

Seconds = Annotated[int, Field(description="Whole seconds; negative when it is late.")]
Purpose = Annotated[str, one_of(*PURPOSES)]
LateArrivals = Annotated[Count, Field(description="What was found when it was looked for once more, after the end.")]


class Promise(Model):
    age_seconds: Annotated[Count, Field(description="Since it might be started, without pauses, until its end.")]
    remaining_seconds: Annotated[Seconds, Field(description="Until it is due, or from its end or pause.")]
    percent: Annotated[Count, Field(description="Of the promised time that is over; more than 100 when it is late.")]
    paused_seconds: Annotated[Count, Field(description="How long it was held.")]
    state: Annotated[str, one_of(*STATES)]


class Job(Model):
    attempt: Count
    age_seconds: Count
    remaining_seconds: Seconds


class AtRisk(Model):
    """Requests that have reached so many percent of their time, each counted once, at the highest."""

    at_50: Annotated[Count, Field(alias="50")]
    at_75: Annotated[Count, Field(alias="75")]
    at_90: Annotated[Count, Field(alias="90")]


class Ended(Model):
    of: Annotated[int, Field(ge=0, le=MAX_FINISHED, description=f"The newest ones, {MAX_FINISHED} at most.")]
    within: Annotated[Count, Field(description="Of these, were finished in time.")]
    late: Count


class Sla(Model):
    sla_hours: Annotated[int, Field(ge=1, description="What is promised.")]
    open: Count
    requested: Count
    started: Count
    held: Annotated[Count, Field(description="Their time stands still: nothing below counts them.")]
    overdue: Count
    at_risk: Annotated[AtRisk, Field(description="Without those that are overdue.")]
    oldest_age_seconds: Annotated[Count, Field(description="Those that still wait for their time have none.")]
    seconds_to_deadline: Annotated[Seconds | None, Field(description="Of the first one that is due.")]
    next_due_at: Moment | None
    finished: Ended
    more: Annotated[
        bool, Field(description=f"There are more than the newest {MAX_OPEN} in a state, which alone are counted.")
    ]


# Legal holds.


class PutLegalHold(Strict):
    """Neither text may name the subject by any of its ids: both are kept in clear."""

    reason: Annotated[str, text(NOT_BLANK, min_length=1, max_length=MAX_REASON)]
    author: Annotated[str, text(NOT_BLANK, min_length=1, max_length=MAX_AUTHOR)]
    until: Annotated[Moment | Absent, Field(description="When it ends by itself; in the future.")] = None
    aliases: Annotated[
        Annotated[list[Identifier], Field(max_length=MAX_ALIASES)] | Absent,
        Field(description="Further ids of the subject. Kept as digests only."),
    ] = None


class LegalHold(Model):
    hold_id: Annotated[str, text("^lh_[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    subject_type: SubjectType
    subject_digest: Digest
    reason: str
    author: str
    set_at: Moment
    until: Moment | Absent = None
    aliases: Annotated[int, Field(ge=0, le=MAX_ALIASES, description="How many further ids it names.")]


class SetLegalHold(LegalHold):
    held_requests: Annotated[Count, Field(description="How many of the subject's requests it holds now.")]


class LegalHolds(Model):
    legal_holds: Annotated[list[LegalHold], Field(max_length=MAX_LIMIT)]
    cursor: Annotated[Digest, Field(description="For the next page; left out on the last one.")] | Absent = None


# Retention rules.


class _EndedRun(Model):
    at: Moment
    request_id: RequestId
    kept: Annotated[Count | Absent, Field(description="Old things that stay: held, or kept by the law.")] = None
    unreadable: Annotated[Count | Absent, Field(description="Things whose age could not be told: they stay.")] = None


class RetentionReport(_EndedRun):
    matched: Annotated[Count, Field(description="What would have gone.")]


class RetentionRun(_EndedRun):
    erased: Count


class RetentionRule(Model):
    target: str
    older_than: Annotated[str, Field(description="Years, months, weeks, days or hours, such as `30d`.")]
    attribute: Annotated[str | Absent, Field(description="Of items: by which their age is told.")] = None
    mode: Annotated[str, one_of("erase", "report")]
    state: Annotated[
        str,
        one_of(*RULE_STATES),
        Field(description="Nothing goes before there is a report; then a while is left to look at it."),
    ]
    last_report: RetentionReport | Absent = None
    last_run: RetentionRun | Absent = None
    next_at: Annotated[
        Moment | Absent, Field(description="When its next run begins; left out while one is under way or due.")
    ] = None


class RetentionRules(Model):
    rules: list[RetentionRule]
