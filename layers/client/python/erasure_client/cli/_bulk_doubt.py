"""What became of a chunk whose idempotency key the service has forgotten: the requests that it led to, if any.

A request of somebody else's for the same person must not be taken for the bulk's: it may be for less. So it has to
have come the same way in, in the minutes in which the chunk was sent, as one batch, within the same organizations, and
to cover the same targets as the bulk's would. What cannot be told counts as not made, and is sent: a second request
erases nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from erasure_client.cli._journal import CLOCKS_APART, Intent
from erasure_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from erasure_client import ErasureClient, ErasureRequest, Subject

LONGEST_SENDING = timedelta(minutes=30)
"""How long the client goes on sending a chunk again that is not answered."""

_FAMILY = "native"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the bulk asks for, besides the subjects, as the client's methods take it."""

    categories: Sequence[str] | None
    organization_ids: Sequence[str] | None

    def arguments(self) -> dict[str, Any]:
        return {"categories": self.categories, "organization_ids": self.organization_ids}


def requests_of(client: ErasureClient, intent: Intent, subjects: Sequence[Subject], terms: Terms) -> Mapping[int, str]:
    """By position among ``subjects``: the request that sending the ``intent`` has led to. The key needs
    ``erasure:read``. Raises :class:`~erasure_client.errors.ErasureClientError`."""
    batches: dict[str, dict[int, ErasureRequest]] = {}
    for position, subject in enumerate(subjects):
        if position in intent.found:
            continue
        for request in client.requests.list(subject=subject):
            if request.requested_at < intent.first_at - CLOCKS_APART:
                break  # the newest come first
            if _may_be(request, intent, terms):
                batches.setdefault(request.batch_id or request.id, {})[position] = request
    # A chunk is one batch. If there are several that could be it, it is the one with most of its subjects.
    for batch in sorted(batches.values(), key=len, reverse=True):
        if _is_same(client, batch, subjects, terms):
            return {position: each.id for position, each in batch.items() if not _was_withdrawn(client, each)}
    return {}


def _may_be(request: ErasureRequest, intent: Intent, terms: Terms) -> bool:
    return (
        request.requested_at <= intent.at + LONGEST_SENDING + CLOCKS_APART
        and request.purpose is None
        and set(request.organization_ids) == set(terms.organization_ids or ())
        and (intent.not_before is None or _is_at(request.not_before, datetime.fromisoformat(intent.not_before)))
    )


def _is_at(moment: datetime | None, meant: datetime) -> bool:
    return moment is not None and abs(moment - meant) < timedelta(seconds=1)


def _is_same(
    client: ErasureClient, batch: Mapping[int, ErasureRequest], subjects: Sequence[Subject], terms: Terms
) -> bool:
    """One request stands for its batch: they differ in their subjects only."""
    position, request = next(iter(batch.items()))
    made = client.requests.audit(request.id).entries[:1]
    if not made or made[0].details.get("family") != _FAMILY:
        return False
    try:
        plan = client.requests.dry_run(subjects[position], **terms.arguments())[0]
    except InvalidRequestError:
        return False
    covered = {target.name for target in client.requests.get(request.id).targets}
    return bool(covered) and covered == {target.name for target in plan.targets}


def _was_withdrawn(client: ErasureClient, request: ErasureRequest) -> bool:
    """Whether the service took it back itself, and had promised nothing. One that somebody has cancelled was made."""
    if request.state != "cancelled":
        return False
    return any(
        entry.event == "cancelled" and entry.details.get("reason") == "not_queued"
        for entry in client.requests.audit(request.id).entries
    )
