"""The service as its callers see it: does it answer, does it take the key, is there a map, is the promise kept."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from erasure_client._version import __version__
from erasure_client.cli._doctor_checks import Check, Status
from erasure_client.cli._exits import CommandError
from erasure_client.cli._times import counted
from erasure_client.errors import (
    ErasureClientError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    TooManyCallsError,
)

if TYPE_CHECKING:
    from erasure_client import ApiKey, DataMap, ErasureClient, RetentionRule, SlaFigures

PATIENCE = 10.0
"""Seconds."""
MOST_REQUESTS = 500
"""How many started requests are looked at: five calls of the key's limit."""
SKEW_SEEN, SKEW_HARMFUL = 30.0, 300.0
"""Seconds. AWS refuses calls that are signed by a clock that is five minutes off."""
ENDS_SOON_DAYS = 14
READER = "erasure:read"
_ADDRESS = "Look at the address: `erasure profiles list`."


@dataclass(frozen=True, slots=True)
class Answered:
    """What /health came to. ``at``: the clock here, in the middle of the call."""

    response: httpx.Response
    at: datetime


def look_at_address(
    url: str, transport: httpx.BaseTransport | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Check]:
    """Reachability, health, version and clock, all by ``GET /health``, without the key."""
    try:
        answered = _health(url, transport, now)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, OSError, ValueError) as error:
        yield _unreached(error)  # all but the first: proxies or certificates of the environment that cannot be used
        return
    response = answered.response
    body = _body(response)
    if response.status_code != 200 or body.get("status") != "ok":
        said = f"answers {response.status_code} where it should tell its health"
        step = "See the log of SubjectApi." if response.status_code >= 500 else _ADDRESS
        yield Check("service", "address", "problem", said, step)
        return
    yield Check("service", "address", "ok", "answers, and is well")
    yield _version(str(body.get("version", "")))
    yield _clock(answered)


def _health(url: str, transport: httpx.BaseTransport | None, now: Callable[[], datetime]) -> Answered:
    # As the client: what is not encrypted stays on this machine, whatever proxy the environment names.
    is_encrypted = url.startswith("https:")
    http = httpx.Client(transport=transport, timeout=PATIENCE, follow_redirects=False, trust_env=is_encrypted)
    try:
        before = now()
        response = http.get(f"{url.rstrip('/')}/health", headers={"Accept": "application/json"})
        return Answered(response, before + (now() - before) / 2)
    finally:
        # One that was handed in is the caller's to close.
        if transport is None:
            http.close()


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _unreached(error: Exception) -> Check:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            said, step = "its certificate is not one that is trusted here", "Has it expired? Is it another's?"
            return Check("service", "address", "problem", said, step)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return Check("service", "address", "problem", "does not answer in time", "Run it again; see the API's stage.")
    return Check("service", "address", "problem", "cannot be reached", _ADDRESS)


def _version(version: str) -> Check:
    if version.split(".")[:2] == __version__.split(".")[:2]:
        return Check("service", "version", "ok", f"{version}, as this client's")
    step = f"Install the client of the clone that is deployed, or deploy again. This client is {__version__}."
    return Check("service", "version", "warning", f"{version or 'not told'}, another than this client's", step)


def _clock(answered: Answered) -> Check:
    told: datetime | None
    try:
        told = parsedate_to_datetime(answered.response.headers["date"])
    except (KeyError, ValueError, OverflowError):
        told = None
    if told is None or told.tzinfo is None:
        return Check("service", "clock", "unknown", "the answer has no date")
    # A date has whole seconds, so the moment was in the second after it.
    apart = (answered.at - told).total_seconds() - 0.5
    if abs(apart) < SKEW_SEEN:
        return Check("service", "clock", "ok", "as this machine's")
    said = f"this machine's is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}"
    status: Status = "problem" if abs(apart) >= SKEW_HARMFUL else "warning"
    return Check("service", "clock", status, said, "Have this machine's clock set by NTP.")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the key let doctor see. ``data_map``: None if it was not seen."""

    checks: tuple[Check, ...]
    data_map: DataMap | None = None


def look_with_key(client: Callable[[], ErasureClient], key: str) -> Seen:
    """Everything that takes the key. Calls that the key does not allow are told as such."""
    try:
        service = client()
    except CommandError as error:
        return Seen((Check("service", "key", "problem", error.message, error.next or ""),))
    except ErasureClientError as error:
        return Seen((Check("service", "key", "problem", str(error), "Correct it: `erasure login`."),))
    figures, accepted = _accepted(service)
    if accepted.status == "problem":
        return Seen((accepted,))
    checks = [
        accepted,
        *_asked("service", "scopes", service.api_keys.list, lambda keys: _scopes(keys, key), "a key with keys:write"),
    ]
    maps: list[DataMap] = []

    def read_map(found: DataMap) -> Iterator[Check]:
        maps.append(found)
        targets = counted(len(found.document.get("targets", [])), "target", "targets")
        yield Check("data map", "version", "ok", f"version {found.version}, {targets}")

    checks += _asked("data map", "version", service.data_map.get, read_map, READER)
    if figures is not None:
        checks += _promise(figures)
    checks += _asked("promise", "parked", lambda: _troubled(service), _trouble, READER)
    checks += _asked("retention", "rules", service.retention, _rules, "a platform key")
    return Seen(tuple(checks), maps[0] if maps else None)


def _accepted(service: ErasureClient) -> tuple[SlaFigures | None, Check]:
    """Whether the service takes the key, by asking for the figures of the promise."""
    try:
        return service.sla(), Check("service", "key", "ok", "accepted")
    except NotSignedInError:
        step = "Make a new one, `erasure keys create`, and sign in: `erasure login`."
        return None, Check("service", "key", "problem", "not accepted: unknown, revoked or expired", step)
    except NotAllowedError as error:
        if error.code == "tenant_mismatch":
            step = "Name the key's own tenant, or none: `erasure login`."
            return None, Check("service", "key", "problem", "the key is not of this tenant", step)
        return None, Check("service", "key", "ok", "accepted, without erasure:read")
    except InvalidRequestError:
        step = "Name one: `erasure login --tenant`, or ERASURE_TENANT."
        return None, Check("service", "key", "problem", "a platform key has to name a tenant", step)
    except TooManyCallsError:
        return None, Check("service", "key", "warning", "accepted; its calls of this minute are used up")
    except ErasureClientError as error:
        return None, Check("service", "key", "problem", str(error), "Run it again; see the log of BackendApi.")


def _asked(
    area: str,
    name: str,
    ask: Callable[[], Any],
    told: Callable[[Any], Iterable[Check]],
    scope: str,
) -> list[Check]:
    """What ``told`` says of what ``ask`` got. ``scope``: what the call takes."""
    try:
        return list(told(ask()))
    except NotAllowedError:
        if scope != READER:
            # Most keys do right not to have it.
            return [Check(area, name, "skipped", f"only {scope} may see them")]
        return [Check(area, name, "unknown", f"not to be seen without {scope}", f"Use a key with {scope}.")]
    except NotFoundError:
        if area == "data map":
            step = "Put one: `erasure data-map put FILE`."
            return [Check(area, name, "problem", "there is none: nothing is accepted, nobody is erased", step)]
        return [Check(area, name, "unknown", "the service knows no such call", "Deploy its newest version.")]
    except ErasureClientError as error:
        return [Check(area, name, "unknown", str(error), "Run it again.")]


def _scopes(keys: Iterable[ApiKey], key: str) -> Iterator[Check]:
    """``sk_live_<key id>_<secret>``: its own entry among the tenant's. A platform key's is not there."""
    parts = key.split("_", 3)
    own = next((each for each in keys if len(parts) == 4 and each.key_id == parts[2]), None)
    if own is None:
        yield Check("service", "scopes", "unknown", "the key is not in its tenant's list: a platform key is not")
        return
    scopes = ", ".join(sorted(own.scopes))
    left = None if own.valid_until is None else (own.valid_until - datetime.now(UTC)).days
    if left is not None and left < ENDS_SOON_DAYS:
        step = "Make another, `erasure keys create`, and sign in with it: `erasure login`."
        yield Check("service", "scopes", "warning", f"{scopes}; the key ends in {left} days", step)
    else:
        yield Check("service", "scopes", "ok", scopes)


def _promise(figures: SlaFigures) -> Iterator[Check]:
    """Of the key's tenant."""
    if figures.overdue:
        said = f"{figures.overdue} open after {figures.sla_hours} hours"
        yield Check("promise", "overdue", "problem", said, "Operations guide, A request is late; `erasure list`.")
    else:
        yield Check("promise", "overdue", "ok", f"none of {figures.open} open requests is late")
    near = figures.at_risk.get(75, 0) + figures.at_risk.get(90, 0)
    if near:
        said = f"{near} open after 75 percent of their time"
        yield Check("promise", "at risk", "warning", said, "Operations guide, A request is late; `erasure list`.")
    else:
        yield Check("promise", "at risk", "ok", "none is near its time")
    if figures.more:
        yield Check("promise", "counted", "warning", "there are more than could be counted", "Read the alarms, too.")


@dataclass(frozen=True, slots=True)
class _Troubled:
    parked: int
    attention: int
    is_whole: bool


def _troubled(service: ErasureClient) -> _Troubled:
    parked = attention = seen = 0
    for request in service.requests.list(state="started", limit=MOST_REQUESTS):
        seen += 1
        parked += request.parked_at is not None
        attention += request.attention and request.parked_at is None
    return _Troubled(parked, attention, seen < MOST_REQUESTS)


def _trouble(found: _Troubled) -> Iterator[Check]:
    of = "" if found.is_whole else f", of the newest {MOST_REQUESTS}"
    # What nobody works on is among the oldest, which were not looked at.
    well: Status = "ok" if found.is_whole else "unknown"
    more = "" if found.is_whole else "See the alarms, and the older ones: `erasure list --state started --limit N`."
    if found.parked:
        step = "Mend the cause, then `erasure retry ID`. Operations guide, A request is parked."
        yield Check("promise", "parked", "problem", f"{found.parked} not tried again by itself{of}", step)
    else:
        yield Check("promise", "parked", well, f"none has been given up{of}", more)
    if found.attention:
        step = "Tried again by itself. Which: `erasure list --state started`; why: `erasure status ID`."
        yield Check("promise", "attention", "warning", f"{found.attention} with something not erased{of}", step)
    else:
        yield Check("promise", "attention", well, f"none with something not erased{of}", more)


def _rules(rules: Iterable[RetentionRule]) -> Iterator[Check]:
    listed = list(rules)
    unread = [each.target for each in listed if (run := each.last_run or each.last_report) and run.unreadable]
    for target in unread:
        step = "Correct the times, or the rule: `erasure retention` tells how many."
        yield Check("retention", target, "warning", "has things of an age that nobody can tell: they stay", step)
    if not unread:
        yield Check("retention", "rules", "ok", counted(len(listed), "rule", "rules") if listed else "the map has none")
