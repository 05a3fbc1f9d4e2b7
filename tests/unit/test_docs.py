"""The documentation says what is there: links, commands, parameters, reasons and examples are checked."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erasure.adapters.events import EventBridgeBus
from erasure.domain import clock, data_map_schema, holds
from erasure.domain.api_key import SCOPES, parse_key
from erasure.domain.identifiers import is_batch_id, is_request_id
from erasure.domain.request import SECOND_LOOK, ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.times import parse_time
from erasure.entry import api, backend_auth, exchange, fields, hellojohn, june, native, openapi, operator, velt
from erasure.entry import holds as entry_holds
from erasure.services import (
    account_targets,
    accounts,
    api_keys,
    close_job,
    commands,
    erasure_plans,
    follow_ups,
    identify,
    lost_requests,
    previews,
    purge,
    refusals,
    release_due,
    replay,
    second_look,
    sla_alerts,
    sla_figures,
    start_jobs,
    tenant_settings,
)
from erasure.targets import dynamodb_scan
from tests.unit.openapi_document import closed, problems_of, resolved
from tests.unit.translated_template import ROOT, source

PACKAGE = ROOT / "layers" / "core" / "python" / "erasure"
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- links -------------------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    """Where the page's links lead, code left aside."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:", target)]


def anchors(page: Path) -> set[str]:
    """Fragments by which the page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to another page or heading of the project has its file and its heading."""
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_every_page_can_be_reached() -> None:
    """From the README, link by link, one gets to every page."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and page not in seen:
            seen.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"]
    assert set(DOCS) <= seen


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_named_files_exist(page: Path) -> None:
    """A path in code marks that begins with one of the project's folders is a file or folder of it."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:docs|tests|layers|functions|local|events)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_named_tests_exist(page: Path) -> None:
    """A test module that is named as holding a promise is there."""
    known = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"\btest_\w+\.py", page.read_text(encoding="utf-8"))) <= known


# --- commands ----------------------------------------------------------------------------------------------------


MAKE = r"(?:^|`|\(|[A-Z]=\S+ )make ([a-z][a-z-]*)"
"""A make command at the beginning of a line or of code, within `$(…)`, or behind a variable."""


def make_targets() -> set[str]:
    found = re.findall(r"^([a-z][\w-]*):", read("Makefile") + read("build.mk"), re.MULTILINE)
    return set(found)


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_make_commands_exist(page: Path) -> None:
    """Every `make something` of the pages is a target of the Makefile."""
    code = re.findall(r"```.*?```|`[^`\n]*`", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = {name for text in code for name in re.findall(MAKE, text, re.MULTILINE)}
    assert named <= make_targets()


def test_readme_tells_how_to_test() -> None:
    """The README's test command is `make test`, alone in its block."""
    assert "```\nmake test\n```" in read("README.md")
    assert {"demo", "up", "seed", "token", "key", "test", "down"} <= make_targets()


COMMANDS = r"(?:data-map|retry|audit|replay|sla|retention|tenant|hold|key)\b"
"""With what the operator's commands begin."""


def operator_commands(parser: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The operator's commands as the parser knows them: ("data-map", "put"), ("retry",), ..."""
    parser = parser or operator._parser()
    nested = [action for action in parser._actions if isinstance(action.choices, dict)]
    if not nested:
        yield words
    for action in nested:
        for name, below in action.choices.items():
            yield from operator_commands(below, (*words, name))


def test_operator_commands_are_documented() -> None:
    """Each command has its row in the operations page, and the page names no other."""
    table = set(re.findall(rf"^\| `({COMMANDS}[a-z -]*)", read("docs/operations.md"), re.MULTILINE))
    known = {" ".join(command) for command in operator_commands()}
    assert len(known) >= 16
    assert {row.partition(" --")[0].strip() for row in table} == known


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_operator_commands_of_examples_are_taken(page: Path) -> None:
    """Every command line with the operator's module is one that the parser takes."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(rf"-m erasure\.entry\.operator ({COMMANDS}[^`#\n]*)", text):
        operator._parser().parse_args(shlex.split(re.sub(r"<[^>]*>", "id", line)))


# --- parameters --------------------------------------------------------------------------------------------------


def test_parameters_are_documented_with_their_defaults() -> None:
    """Each parameter of the template has its row in the deploying page, with its default; no other is named there."""
    section = read("docs/deploying.md").partition("\n## All parameters\n")[2]
    documented: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", section, re.MULTILINE):
        found = re.findall(r"`(\w+)`", names)
        values = [defaults.strip()] if len(found) == 1 else [value.strip() for value in defaults.split(",")]
        documented |= dict(zip(found, values, strict=True))
    parameters = source()["Parameters"]
    assert set(documented) == set(parameters)
    for name, shown in documented.items():
        default = str(parameters[name]["Default"])
        words = {"": "empty", "erasure-no-table-yet": "none", "erasure-no-bucket-yet": "none"}
        assert shown.strip("`") == words.get(default, default), name


def test_alarms_are_documented() -> None:
    """Each alarm of the template is in the operations page; those of single functions share a row."""
    page = read("docs/operations.md")
    resources = source()["Resources"]
    alarms = {name for name, resource in resources.items() if resource["Type"] == "AWS::CloudWatch::Alarm"}
    own_row = {name for name in alarms if resources[name]["Properties"].get("Namespace") != "AWS/Lambda"}
    assert own_row
    assert {name for name in own_row if f"| `{name}` |" not in page} == set()
    assert all(name.endswith("ErrorsAlarm") for name in alarms - own_row)
    assert "| `…ErrorsAlarm`, one for each function |" in page


# --- routes ------------------------------------------------------------------------------------------------------


def told_routes() -> dict[str, str]:
    """Who may make a call, by the call, from the table of the API page."""
    section = read("docs/api.md").partition("\n## All calls\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([A-Z]+ /\S*)` \| ([^|]+) \|", section, re.MULTILINE))


def test_routes_are_documented() -> None:
    """The API page has each route of the template and names no other."""
    functions = (source()["Resources"][name]["Properties"]["Events"].values() for name in ("SubjectApi", "BackendApi"))
    routes = [event["Properties"] for events in functions for event in events]
    deployed = {f"{route['Method']} {route['Path'].removeprefix('/api/v1')}" for route in routes}
    assert set(told_routes()) == deployed


def test_questions_of_the_guided_deployment_are_counted() -> None:
    """SAM asks once for every route; the deploying page says how often that is."""
    page, together = read("docs/deploying.md"), 0
    for name in ("SubjectApi", "BackendApi"):
        number = len(source()["Resources"][name]["Properties"]["Events"])
        assert f"`{name} has no authentication. Is this okay?`, {number} times" in page
        together += number
    assert f"rather not answer {together} times" in page


def test_scopes_of_routes_are_documented() -> None:
    """Each route is shown with who may call it, those of backends with the scope that they ask for."""
    documented = told_routes()
    for route in openapi.documented_routes():
        who = documented[f"{route.method} {route.path.removeprefix('/api/v1')}"]
        expected = {exchange.BACKEND: f"`{route.scope}`", exchange.SUBJECT: "person", exchange.OPEN: "anybody"}
        assert re.fullmatch(rf"{re.escape(expected[route.auth])}(, .*)?", who.strip())


def test_scopes_are_explained() -> None:
    """The operations page says what each scope opens, and knows no other."""
    section = read("docs/operations.md").partition("\n## API keys\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+:\w+)` \|", section, re.MULTILINE)) == set(SCOPES)


def test_codes_of_errors_are_documented() -> None:
    """The API page has every code with its status, and Velt's page every word of its own."""
    page = read("docs/api.md").partition("\n## Errors\n")[2]
    documented = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page, re.MULTILINE)}
    told = {(refusal.status, refusal.code) for refusal in api.REFUSALS.values()}
    told |= {(401, reason) for reason in (backend_auth.MISSING, backend_auth.INVALID)}
    told |= {(403, "insufficient_permissions"), (403, "tenant_mismatch")}
    told |= {(405, "method_not_allowed"), (422, "validation_error")}
    assert documented == told
    words = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", read("docs/api/velt.md"), re.MULTILINE)
    assert {int(status): word for word, status in words} == {**velt._STATUS, 500: "INTERNAL"}


def test_reasons_of_refused_subjects_are_explained() -> None:
    """The API page says why a subject is refused when it is asked for."""
    section = read("docs/api.md").partition("\n## Ids\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert explained == {"ambiguous_identifier", refusals.NOT_COVERED}


CURL = re.compile(r"^(?:[A-Z_]+=\$\()?curl (.*?\$API_URL(/[^\s\"?]*).*)$", re.MULTILINE)


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_curl_examples_call_what_is_there(page: Path) -> None:
    """Every call of an example with curl is one of a route."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line, path in CURL.findall(text):
        method = re.search(r"-X ([A-Z]+)", line)
        called = f"{method.group(1) if method else 'POST' if ' -d ' in line else 'GET'} {path}"
        rules = [re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route)) for route in told_routes()]
        assert any(re.fullmatch(rule, called) for rule in rules), called


NUMBERS = [
    ("docs/api.md", "at most {:,} different ones", commands.MAX_SUBJECTS),
    ("docs/api.md", "at most {} KiB", exchange.MAX_BODY_BYTES // 1024),
    ("docs/api.md", "in Velt's calls, {} MiB", exchange.MAX_BULK_BODY_BYTES // 1024**2),
    ("docs/api/hellojohn.md", "up to {:,}.", commands.MAX_SUBJECTS),
    ("docs/api/hellojohn.md", "(1 to {})", hellojohn.MAX_DELETE_AFTER_DAYS),
    ("docs/api/hellojohn.md", "works for {:.0f} seconds at most", accounts.BUDGET_SECONDS),
    ("docs/api/velt.md", "(1 to {}, at most", velt.MAX_ORGANIZATIONS),
    ("docs/api/velt.md", "at most {} KiB together", fields.MAX_ORGANIZATIONS_BYTES // 1024),
    ("docs/limits.md", "| {} (Velt),", velt.MAX_ORGANIZATIONS),
    ("docs/limits.md", "for 1,000 subjects {:,} bytes", fields.MAX_COPIED_BYTES // commands.MAX_SUBJECTS),
    ("docs/limits.md", "subjects times targets: {:,}", native.MAX_PLANNED),
    ("docs/limits.md", "targets in a map | {},", data_map_schema.MAX_TARGETS),
    ("docs/limits.md", "and {} identifiers,", data_map_schema.MAX_IDENTIFIERS),
    ("docs/limits.md", "{} paths to redact", data_map_schema.MAX_REDACTED),
    ("docs/limits.md", "requests of one scan | {:,}:", release_due.ROUND),
    ("docs/limits.md", "read from up to {:,} items", identify.MAX_ITEMS),
    ("docs/limits.md", "counts up to {:,} of each target", previews.BOUND),
    ("docs/limits.md", "follows up to {:,} different values", previews.MAX_LED_TO),
    ("docs/limits.md", "a preview | {} subjects in a call", erasure_plans.MAX_SUBJECTS),
    ("docs/limits.md", "at most {}; each reads up to 3,000", dynamodb_scan.MOST_SHARDS),
    ("docs/limits.md", "{:,} at most: one item", api_keys.MAX_CALLS_PER_MINUTE),
    ("docs/limits.md", "5 years, {:,} days", hellojohn.MAX_DELETE_AFTER_DAYS),
    ("docs/api/velt.md", "Up to {:,} different", commands.MAX_SUBJECTS),
    ("docs/api/june.md", '"per_page": {},', june.PER_PAGE),
    ("docs/api/native.md", "1 to {:,} different ones", commands.MAX_SUBJECTS),
    ("docs/api/native.md", "1 to {} different ones, at most", native.MAX_ORGANIZATIONS),
    ("docs/api/native.md", "at most {} KiB together", fields.MAX_ORGANIZATIONS_BYTES // 1024),
    ("docs/api/native.md", "At most {:,} targets", native.MAX_PLANNED),
    ("docs/api/native.md", "| `limit` | 1 to {},", native.MAX_LIMIT),
    ("docs/api/native.md", " {} if not given |", native.DEFAULT_LIMIT),
    ("docs/api/native.md", "at most {} characters", api_keys.MAX_NAME_LENGTH),
    ("docs/api/native.md", "from 1 to {:,}", api_keys.MAX_CALLS_PER_MINUTE),
    ("docs/operations.md", "within {:.0f} seconds", backend_auth.BELIEVED_FOR_SECONDS),
    ("docs/operations.md", "up to {:,} in one job", start_jobs.JOB_REQUESTS),
    ("docs/operations.md", "at most {} in a sweep", follow_ups.AT_ONCE),
    ("docs/operations.md", "at most {} days; `0d`: none", tenant_settings.MAX_GRACE.days),
    ("docs/operations.md", "at most {} days; it takes effect", tenant_settings.MAX_GRACE.days),
    ("docs/api/native.md", "up to {} further ids of the subject", holds.MAX_ALIASES),
    ("docs/api/native.md", "1 to {} and", entry_holds.MAX_REASON),
    ("docs/api/native.md", "and 1 to {} characters, without", entry_holds.MAX_AUTHOR),
    ("docs/api/native.md", "of the newest {:,}:", sla_figures.MAX_FINISHED),
    ("docs/api/native.md", "than the {:,} newest of a state", sla_figures.MAX_OPEN),
    ("docs/api.md", "a legal hold {} KiB", entry_holds.MAX_BODY_BYTES // 1024),
    ("docs/data-map.md", "up to {} rules by which", data_map_schema.MAX_TARGETS),
]


@pytest.mark.parametrize(("page", "text", "number"), NUMBERS)
def test_limits_are_the_documented_ones(page: str, text: str, number: float) -> None:
    """What a page says about how much or how long is what the code has."""
    assert text.format(number) in read(page)


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_ids_of_examples_are_ids(page: Path) -> None:
    """Ids of requests and batches, and keys, have the form that the service gives them."""
    text = page.read_text(encoding="utf-8")
    assert all(map(is_request_id, re.findall(r"\ber_[0-9A-Z]{9,}", text)))
    assert all(map(is_batch_id, re.findall(r"\beb_[0-9A-Z]{9,}", text)))
    assert all(map(parse_key, re.findall(r'"(sk_[^"]+)"', text)))


# --- what runs by the clock ---------------------------------------------------------------------------------------


def test_pauses_between_tries_are_the_documented_ones() -> None:
    """The operations page has the pauses after each try with the default patience, the number of tries and how long
    they take together."""
    policy = clock.ClockPolicy()
    hours = [policy.pause_after(tries).total_seconds() / 3600 for tries in range(clock.MAX_TRIES)]
    assert hours == [0.25, 0.5, 1, 2, 4, 8, 12, 12]
    assert sum(hours) == pytest.approx(40, abs=1)
    page = read("docs/operations.md")
    assert "15 minutes, half an hour, one, two, four, eight, and then twelve hours each" in page
    assert "tried eight times" in page
    assert "some forty hours" in page


def test_levels_are_the_documented_ones() -> None:
    """The hours at which a request is told of, with the default promise."""
    hours = [f"{clock.ClockPolicy().sla_hours * level / 100:g}" for level in clock.LEVELS]
    assert f"({', '.join(hours[:-1])} and {hours[-1]} hours)" in read("docs/operations.md")
    assert f"At {clock.LEVELS[0]}, {clock.LEVELS[1]}, {clock.LEVELS[2]} and" in read("docs/operations.md")


EVENT_CALLS = {"next_entry": 2, "append": 1}
"""Where the event of an entry of a trail stands among the arguments of the functions that write one."""
TRAILS_OF_HOLDS = {"hold_set", "hold_changed", "hold_lifted", "hold_ended", "refused"}
CHOSEN_EVENTS = {
    close_job.ACCESS_REVOKED, close_job.ACCESS_NOT_REVOKED, close_job._FINISHED, close_job._ATTENTION,
    close_job._WAITS_FOR_SCAN, follow_ups._FOLLOWED, follow_ups.NOT_FOLLOWED, SECOND_LOOK,
    second_look.NOT_LOOKED, replay.REPLAYED, replay.NOT_REPLAYED, sla_alerts.AT_RISK, sla_alerts.BREACHED,
}  # fmt: skip
"""Events that a module chooses among before it writes."""


def events_of_trails() -> Iterator[str]:
    for path in (PACKAGE / "services").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = importlib.import_module(f"erasure.services.{path.stem}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                place = EVENT_CALLS.get(str(getattr(node.func, "id", None) or getattr(node.func, "attr", "")))
                if place is None or len(node.args) <= place + 1:
                    continue
                event = node.args[place]
                if isinstance(event, ast.Name):
                    yield from [getattr(module, event.id)] if hasattr(module, event.id) else []
                else:
                    yield from words_in(event)


def test_events_of_trails_are_explained() -> None:
    """The native page has every event of a request's trail, the operations page every one of the trail of holds; they
    know no others."""
    section = read("docs/api/native.md").partition("\n## The audit trail\n")[2].partition("\n## ")[0]
    explained = {
        event for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section, re.M) for event in re.findall(r"\w+", row)
    }
    found = set(events_of_trails()) | CHOSEN_EVENTS
    assert {"requested", "planned", "held", "resumed", "parked", "purged", "expedited"} <= found
    assert explained == found - TRAILS_OF_HOLDS
    of_holds = read("docs/operations.md").partition("\n## Legal holds\n")[2].partition("\n## ")[0]
    named = {
        event for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", of_holds, re.M) for event in re.findall(r"\w+", row)
    }
    assert named == found & TRAILS_OF_HOLDS == TRAILS_OF_HOLDS


def test_reasons_not_to_look_again_are_explained() -> None:
    """The operations page has every reason with which nobody looks for what was written late."""
    section = read("docs/operations.md").partition("\n## The second look\n")[2].partition("\n## ")[0]
    reasons_told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert reasons_told == {
        account_targets.ACCOUNT_EXISTS,
        account_targets.ACCOUNT_UNKNOWN,
        second_look.MAY_EXIST,
        second_look.NOWHERE,
        second_look.UNREADABLE,
    }
    assert purge.PURGED in read("docs/operations.md")


class Bus:
    """Stands in for EventBridge. ``entries``: what was put."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def put_events(self, **arguments: Any) -> dict[str, Any]:
        self.entries += arguments["Entries"]
        return {"FailedEntryCount": 0}


def test_events_on_the_bus_are_explained() -> None:
    """The operations page has every kind of event, and its example is what the bus would be given."""
    section = read("docs/operations.md").partition("\n## Events\n")[2].partition("\n## ")[0]
    kinds = set(re.findall(r"^\| `(erasure\.\w+)` \|", section, re.MULTILINE))
    text = "".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "services").glob("*.py"))
    written = set(re.findall(r'"(erasure\.[a-z_]+)"', text)) - {"erasure.access"}
    assert kinds == written | {f"erasure.{event}" for event in (sla_alerts.AT_RISK, sla_alerts.BREACHED)}
    example = json.loads(section.partition("```json\n")[2].partition("```")[0])
    detail, due_at = example["detail"], parse_time(example["detail"]["due_at"])
    subject = Subject("acme", "usr_1")
    request = ErasureRequest(detail["request_id"], subject, "0" * 64, detail["family"], due_at, due_at, due_at)
    bus = Bus()
    event = sla_alerts.event_of_level(request, detail["percent"], parse_time(detail["at"]))
    EventBridgeBus(lambda: bus, "bus").put([event])
    (entry,) = bus.entries
    assert (entry["Source"], entry["DetailType"]) == (example["source"], example["detail-type"])
    assert json.loads(entry["Detail"]) == detail


def names_of_metrics() -> set[str]:
    """Texts of the modules that write metrics which have a metric's form; a level stands behind a name's beginning."""
    found: set[str] = set()
    for name in ("sweeps.py", "workers.py"):
        for node in ast.walk(ast.parse((PACKAGE / "entry" / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"(?:[A-Z][a-z]+){2,}", str(node.value)):
                found.add(str(node.value))
    found.remove("SlaAtRisk")
    return found | {f"SlaAtRisk{level}" for level in clock.LEVELS[:-1]}


def test_metrics_are_explained() -> None:
    """The operations page has every metric of the service, and no other."""
    section = read("docs/operations.md").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z]\w+`(?:, `\w+`)*) \|", section, re.MULTILINE)
    explained = {metric for row in rows for metric in re.findall(r"\w+", row)}
    found = names_of_metrics()
    assert {"RequestsFinished", "OpenRequests", "RequestsPurged", "SlaBreached"} <= found
    assert explained == found
    alarms = [each["Properties"] for each in source()["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    stated = [metric["MetricStat"]["Metric"] for alarm in alarms for metric in alarm.get("Metrics", ())[:1]]
    watched = {each["MetricName"] for each in [*alarms, *stated] if each.get("Namespace") == "ErasureService"}
    assert watched <= found


# --- reasons -----------------------------------------------------------------------------------------------------

CODE = re.compile(r"[a-z]+(_[a-z]+)*")
CALLS_WITH_REASONS = {"TargetError", "error_for", "_stalled", "_Verdict", "mismatch"}
MODULES_OF_REASONS = {
    "retention.py", "retention_runs.py", "s3_by_age.py",
    "s3_errors.py", "dynamodb_calls.py", "dynamodb_plan.py", "dynamodb_verdict.py", "protocol.py", "task_parts.py",
    "linked_units.py",
}  # fmt: skip
NO_REASONS = {
    "gone",  # somebody else removed it first: neither a problem nor an outcome
    "blocked",  # an outcome of its own: a lock is no failure
    "pending", "erased", "verified", "failed",  # states of tasks, beside their reasons
}  # fmt: skip


def words_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and CODE.fullmatch(part.value):
            yield part.value


def is_reason(target: ast.AST) -> bool:
    """Whether something is assigned to a reason: a name, an attribute or a key of that name, also among others."""
    return any(
        (isinstance(part, ast.Name) and part.id == "reason")
        or (isinstance(part, ast.Constant) and part.value == "reason")
        for part in ast.walk(target)
    )


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """Fixed codes that a module can give as the reason of an outcome."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "reason" and not isinstance(node.value, ast.Call):
            yield from words_in(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS_WITH_REASONS:
            for argument in node.args:
                yield from words_in(argument)
        elif isinstance(node, ast.Assign) and any(map(is_reason, node.targets)):
            yield from words_in(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "reason":
                    yield from words_in(value)


def constants_of(tree: ast.Module) -> Iterator[str]:
    """Texts of upper-case names at the top of a module: ``THROTTLED = "throttled"``."""
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            yield from words_in(node.value)


def reasons() -> set[str]:
    found: set[str] = set()
    for folder in ("services", "targets", "domain"):
        for path in (PACKAGE / folder).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= set(reasons_in(tree))
            if path.name in MODULES_OF_REASONS:
                found |= set(constants_of(tree))
    return found - NO_REASONS


def test_reasons_are_explained() -> None:
    """Every reason that an outcome can have is explained in the operations page, and nothing else is."""
    page = read("docs/operations.md").partition("\n## Reasons\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    found = reasons()
    assert {"throttled", "target_missing", "no_targets", "not_finished", "still_present", "children_left"} <= found
    assert explained == found | {lost_requests.TARGETS_FAILED, lost_requests.NOT_FINISHED}


def test_reasons_of_refused_callers_are_explained() -> None:
    """Every word that a refused token or key leaves in the log is in the security page."""
    page = read("docs/security.md")
    found = {f"{how}_{what}_claim" for how in ("missing", "invalid") for what in ("user", "tenant")}
    for name in ("tokens.py", "signing_keys.py"):
        for node in ast.walk(ast.parse((PACKAGE / "entry" / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "AuthenticationError":
                found |= {word for argument in node.args for word in words_in(argument) if word not in ("missing", "_")}
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_REASONS":
                assert isinstance(node.value, ast.Dict)
                found |= {word for value in node.value.values for word in words_in(value)}
    assert {"missing_token", "signature", "expired", "unknown_key"} <= found
    found |= {backend_auth.MISSING, backend_auth.INVALID, "insufficient_permissions", "tenant_mismatch"}
    assert {word for word in found if f"`{word}`" not in page} == set()


# --- examples ----------------------------------------------------------------------------------------------------

EXAMPLES = [
    pytest.param(page, example, said, id=f"{name_of(page)}-{number}")
    for page in DOCS
    for number, (example, said) in enumerate(
        re.findall(r"```yaml\n(.*?)```\n(?:\n```text\n(.*?)```)?", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize(("page", "example", "said"), EXAMPLES)
def test_data_maps_are_as_described(
    page: Path, example: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `data-map validate` says about an example, the numbers of lines left out, is the text below it; without one
    it finds nothing wrong."""
    file = tmp_path / "data-map.yaml"
    file.write_text(example, encoding="utf-8")
    code = operator.main(["data-map", "validate", str(file)], {})
    told = re.sub(r"^(warning: )?line \d+: ", r"\1", capsys.readouterr().err, flags=re.MULTILINE)
    if said:
        assert told == said
    else:
        assert re.fullmatch(r"\d+ targets, no errors\n", told)
    assert code == (0 if told.endswith("no errors\n") else 1)


def test_there_are_examples() -> None:
    """Of good maps, of bad ones, and in the README."""
    pages = {name_of(example.values[0]) for example in EXAMPLES}  # type: ignore[arg-type]
    assert pages == {"README.md", "docs/data-map.md"}
    assert sum(1 for example in EXAMPLES if example.values[2]) >= 15


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_json_is_json(page: Path) -> None:
    """Every JSON example can be read."""
    for example in re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        json.loads(example)


def schemas() -> Iterator[dict[str, Any]]:
    """Of every body that the API takes or gives, by its OpenAPI document, with no room for other keys. What is said
    of the document itself would fit anything."""
    for item in (item for path, item in closed()["paths"].items() if path != "/openapi.json"):
        for operation in item.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                contents = resolved(body).get("content", {}).values()
                yield from (content["schema"] for content in contents if "schema" in content)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "api").glob("*.md")), ids=name_of)
def test_bodies_are_of_the_api(page: Path) -> None:
    """Every JSON example of the API's pages is a body of some call, with all the keys that it must have."""
    known = list(schemas())
    examples = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        value = json.loads(example)
        assert any(not problems_of(schema, value, closed()) for schema in known), example
