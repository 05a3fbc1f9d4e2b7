"""The command line's page says what there is: its commands run and print what it shows, and every command, option, exit
code, variable and permission is told."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from erasure_client.cli import _doctor_account, _doctor_aws, _profiles, _session
from erasure_client.cli._app import SECTIONS, app
from erasure_client.cli._doctor_account import READS, Account
from erasure_client.cli._doctor_checks import WORST_FIRST
from erasure_client.cli._exits import _ENDS, Exit
from erasure_client.cli._requests import STATES
from erasure_client.testing import EXAMPLE_MAP
from tests.unit.client.cli.account_of_template import AccountOfTemplate
from tests.unit.client.docs_examples import World, blocks, page, rewrite, section
from tests.unit.client.docs_terminal import WIDTH, Terminal, anew, commands_of

PAGE = page("command-line.md")
BLOCKS = list(blocks(PAGE))
CONSOLES = [block for block in BLOCKS if block.language == "console"]
HEADINGS = list(dict.fromkeys(block.heading for block in CONSOLES))

ONE, ANOTHER, LATER = "er_01M80EY0A4QSF0B1MX3Y6VC2RT", "er_01M80F136NHBE2JQNEWSAJ1BFC", "er_01M80EY0A4RAXPTRK38X6B3QTY"
"""Ids that commands of the page name."""


# --- what is shown -----------------------------------------------------------------------------------------------


def requested(terminal: Terminal, name: str, user_id: str, **how: Any) -> str:
    terminal.ids[name] = terminal.world.service.client().requests.create(user_id, **how).request.id
    return terminal.ids[name]


def of_ann(terminal: Terminal) -> None:
    requested(terminal, ONE, "usr_1", categories=["content", "record"])


def several(terminal: Terminal) -> None:
    terminal.world.service.finish(requested(terminal, ANOTHER, "usr_2"))
    terminal.run("erasure request usr_1 --not-before +7d --yes")
    terminal.run("erasure request usr_3 --yes")
    terminal.run("erasure request usr_4 --yes")


def of_all_kinds(terminal: Terminal) -> None:
    service = terminal.world.service
    requested(terminal, ANOTHER, "usr_1")
    terminal.run("erasure request usr_2 --not-before +7d --yes")
    (waiting,) = service.client().requests.list(subject="usr_2")
    terminal.ids[LATER] = waiting.id
    service.fail("documents")
    service.finish(requested(terminal, ONE, "usr_3", categories=["content"]))
    service.mend("documents")


def finished(terminal: Terminal) -> None:
    terminal.world.service.finish(requested(terminal, ONE, "usr_1", categories=["content"]))


def suppressed(terminal: Terminal) -> None:
    terminal.world.service.suppress("usr_2")


def keys(terminal: Terminal) -> None:
    service = terminal.world.service
    (own,) = service.client().api_keys.list()
    revoked = service.client().api_keys.create(["users:read"], name="import of 2025")
    terminal.ids |= {"a1b2c3d4e5f6g7h8": own.key_id, "k3jd82hf7a6s5d4f": revoked.key_id}


def leavers(terminal: Terminal) -> None:
    Path("leavers.csv").write_text("user_id\nusr_1\nusr_2\nusr_1\nteam/ops\n", encoding="utf-8")


def with_platform_key(terminal: Terminal) -> None:
    terminal.key = terminal.world.service.make_key(is_platform=True)
    terminal.run("erasure login --tenant acme", "API key (it is not shown): \n")


MAP = """version: 1
targets:
  - name: documents
    category: content
    dynamodb:
      table: app-documents
      key: {pk: "{tenant_id}#{user_id}"}
"""


def maps(terminal: Terminal) -> None:
    with_platform_key(terminal)
    Path("data-map.yaml").write_text(MAP, encoding="utf-8")
    Path("broken.yaml").write_text(MAP.replace("#{user_id}", ""), encoding="utf-8")


def nobody(terminal: Terminal) -> None:
    Path("config.toml").unlink()
    terminal.piped = {"pass erasure/staging": terminal.world.service.make_key("globex")}


def rules(terminal: Terminal) -> None:
    with_platform_key(terminal)
    client = terminal.world.service.client(api_key=terminal.key, tenant_id="acme")
    document = {**client.data_map.get().document, "retention": [{"target": "files", "older_than": "30d"}]}
    client.data_map.put(document)


BEFORE: dict[str, Callable[[Terminal], None]] = {
    "Sign in": nobody,
    "What all commands have in common": lambda terminal: terminal.ids.update({ANOTHER: LATER}),
    "status": of_ann,
    "list": several,
    "cancel, expedite, retry": of_all_kinds,
    "audit": finished,
    "bulk": leavers,
    "suppress": suppressed,
    "keys": keys,
    "retention": rules,
    "data-map": maps,
    "Handed over": maps,
}
"""What there is before the commands of a section, besides four users and somebody who is signed in."""


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    world = World(monkeypatch, moves_time=False)
    for name in ("ERASURE_URL", "ERASURE_API_KEY", "REGISTRY_TABLE"):
        monkeypatch.delenv(name, raising=False)
    world.service.add_user("usr_1", documents=3, files=2, invoices=4)
    for user_id in ("usr_2", "usr_3", "usr_4"):
        world.service.add_user(user_id, documents=1)
    targets = EXAMPLE_MAP["targets"]
    tables = ",".join(each["dynamodb"]["table"] for each in targets if "dynamodb" in each)
    account = AccountOfTemplate(KeyMode="test", TargetTables=tables, TargetBuckets="app-files")
    account.change("sqs", "get_queue_attributes", _one_letter)
    account.change("events", "describe_rule", _off)
    monkeypatch.setattr(_doctor_account, "boto3_clients", lambda _: account._client)
    made = Terminal(world, tmp_path, monkeypatch)
    made.run("erasure login --url https://erasure.example.com/prod", "API key (it is not shown): \n")
    assert made.last_code == 0
    yield made
    monkeypatch.undo()
    time.tzset()


def _one_letter(answer: dict[str, Any], asked: Any) -> Any:
    dead = "DeadLetterQueue" in str(asked)
    return {"Attributes": {**answer["Attributes"], "ApproximateNumberOfMessages": "1"}} if dead else None


def _off(answer: dict[str, Any], asked: Any) -> Any:
    return {**answer, "State": "DISABLED"} if "SlaWatchWatch" in str(asked) else None


@pytest.mark.parametrize("heading", HEADINGS)
def test_commands_print_what_is_shown(heading: str, terminal: Terminal) -> None:
    """Every command of the page runs, and prints what the page shows below it. With ``REFRESH_DOCS`` set, the page is
    written anew where it does not: for whoever changes what the command line says."""
    if heading in BEFORE:
        BEFORE[heading](terminal)
    for block in (each for each in CONSOLES if each.heading == heading):
        renewed = []
        for command, shown in commands_of(block.code):
            printed = terminal.run(command, shown)
            if "REFRESH_DOCS" not in os.environ:
                terminal.check(shown, printed)
            renewed.append(terminal.renewed(shown, printed))
        if "REFRESH_DOCS" in os.environ:
            rewrite("command-line.md", block.code, anew(block.code, renewed))


def test_commands_have_been_found() -> None:
    """Most sections show something, and no block is left over."""
    assert len(CONSOLES) >= 18
    assert set(BEFORE) <= set(HEADINGS)
    assert len(re.findall("^```", PAGE, re.MULTILINE)) == 2 * len(BLOCKS)
    shown = {
        command.split()[1] for block in CONSOLES for command, _ in commands_of(block.code) if "erasure " in command
    }
    assert len(shown) >= 18


def test_all_fits_a_terminal() -> None:
    """What is shown is as wide as a small terminal, and no wider, but for JSON lines: those are for programs."""
    lines = [line for block in CONSOLES for line in block.code.splitlines() if not line.startswith('{"')]
    assert [line for line in lines if len(line) > WIDTH] == []


# --- commands and options ----------------------------------------------------------------------------------------

COMMON = {"--json", "--help", "-h", "--yes", "-y", "--type", "--idempotency-key", "--profile", "--version"}


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that does something, by its words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            yield from leaves(below, (*words, name))
    else:
        yield words, command


LEAVES = dict(leaves(app))


def option_of(parameter: click.Option, context: click.Context) -> str:
    text = parameter.opts[0]
    if not parameter.is_flag:
        text += f" {parameter.make_metavar() if click.__version__ < '8.2' else parameter.make_metavar(context)}"  # type: ignore[call-arg]
    text = text if parameter.required else f"[{text}]"
    return f"{text}..." if parameter.multiple else text


def synopsis(words: tuple[str, ...]) -> str:
    """``erasure hold show ID [--type [user|group|organization]] [--json]``."""
    command = LEAVES[words]
    context = click.Context(command)
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    options = [each for each in command.params if isinstance(each, click.Option) and each.name != "as_json"]
    shown = [each.human_readable_name if each.metavar is None else each.metavar for each in arguments]
    shown = ["[bash|zsh|fish]" if each.name == "shell" else text for each, text in zip(arguments, shown, strict=True)]
    shown = ["ARGUMENT..." if each.name == "arguments" else text for each, text in zip(arguments, shown, strict=True)]
    options.sort(key=lambda option: not option.required)
    return " ".join(["erasure", *words, *shown, *(option_of(each, context) for each in options)])


def told_synopses() -> list[str]:
    text = "\n".join(block.code for block in BLOCKS if block.language == "text" and block.code.startswith("erasure "))
    return [" ".join(each.split()) for each in re.split(r"\n(?=erasure )", text)]


def test_every_command_is_told_with_all_its_options() -> None:
    """The page has each command's form with all arguments and options, as the parser knows them, and no other."""
    assert sorted(told_synopses()) == sorted(map(synopsis, LEAVES))
    assert len(LEAVES) >= 35


def section_of(words: tuple[str, ...]) -> str:
    """The section in which the command's form stands."""
    found = [
        block.heading
        for block in BLOCKS
        if block.language == "text" and re.search(rf"^erasure {' '.join(words)}(\s|$)", block.code, re.MULTILINE)
    ]
    assert len(found) == 1, words
    return section(PAGE, found[0])


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    """Each option of a command is explained in its section, or among those that all commands have."""
    text = re.sub(r"^```.*?^```$", "", section_of(words), flags=re.MULTILINE | re.DOTALL)
    for parameter in LEAVES[words].params:
        if isinstance(parameter, click.Option) and not COMMON & set(parameter.opts):
            assert re.search(rf"`{parameter.opts[0]}\b", text), parameter.opts[0]
    common = section(PAGE, "What all commands have in common")
    assert all(f"`{option}" in common for option in COMMON)


def test_no_option_is_told_that_is_none() -> None:
    """Every option that the page names belongs to some command: what is handed over has its options elsewhere."""
    known = COMMON | {opt for command in LEAVES.values() for each in command.params for opt in each.opts}
    code = re.findall(r"`([^`\n]+)`", PAGE)
    named = {option for text in code for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", text)}
    assert named <= known


def test_only_shared_options_are_left_to_the_common_section() -> None:
    """An option that is not explained where it stands is one of several commands."""
    for option in COMMON - {"--help", "-h", "--profile", "--version"}:
        assert sum(option in each.opts for command in LEAVES.values() for each in command.params) >= 2, option


def test_commands_of_the_text_exist() -> None:
    """Each `erasure …` in the text is a command."""
    for text in re.findall(r"`erasure ([^`\n]+)`", PAGE):
        words = tuple(word for word in text.split() if re.fullmatch("[a-z][a-z-]*", word))
        if "--profile" in text:
            continue
        assert any(words[: len(known)] == known for known in LEAVES), text


def test_every_heading_of_the_help_has_its_section() -> None:
    """The page is in the order of `erasure --help`."""
    names = [name for names in SECTIONS.values() for name in names]
    headings = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    told = [name for heading in headings for name in heading.split(", ")]
    assert set(told) == set(names) - {"login", "profiles", "replay", "operator"}


# --- JSON --------------------------------------------------------------------------------------------------------

RUNS = {
    "login": "--url https://erasure.example.com/prod",
    "profiles list": "",
    "profiles use": "default",
    "request": "usr_4 team/ops --yes",
    "status": ONE,
    "cancel": ANOTHER,
    "expedite": f"{LATER} --yes",
    "list": "",
    "retry": ONE,
    "audit": ONE,
    "preview": "usr_1",
    "bulk": "leavers.csv --results results.jsonl --yes",
    "hold put": "usr_4 --reason Litigation --author legal@example.com --until +7d",
    "hold show": "usr_4",
    "hold list": "",
    "hold lift": "usr_4 --yes",
    "suppress check": "usr_2",
    "suppress list": "",
    "suppress lift": "usr_2 --yes",
    "users show": "usr_1",
    "users disable": "usr_1 --delete-after-days 3 --yes",
    "users enable": "usr_1",
    "users delete": "usr_1 --yes",
    "sla": "",
    "retention": "",
    "doctor": "",
    "keys create": "--scope erasure:read --valid-until +7d --calls-per-minute 5",
    "keys list": "",
    "keys revoke": "k3jd82hf7a6s5d4f --yes",
    "data-map show": "",
    "data-map put": "data-map.yaml --yes",
    "completion": "bash",
    "profiles remove": "default",
}
"""Commands in the order in which they are run, with their arguments."""
SHOWN_BY_THE_API = {"status", "cancel", "expedite", "sla"}


def told_keys() -> dict[str, set[str]]:
    rows = re.findall(r"^\| (`[a-z][a-z `,-]*`) \| (.*) \|$", section(PAGE, "JSON"), re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", keys)) for names, keys in rows for name in re.findall("`([^`]+)`", names)}
    told["request"] = {"batch_id", "requests"} & told["request"]
    for name, alike in LISTS.items():
        assert told[name] >= {_plural(name)}, name
        told[name] = told[name] - {_plural(name)} if alike is None else told[alike] - {"key"}
    return told


LISTS = {"profiles list": None, "hold list": "hold show", "suppress list": "suppress check", "keys list": "keys create"}
"""Commands that print a list, and the command whose keys each in it has, if that is not told in their own row."""


def _plural(name: str) -> str:
    """The only key of a list's document."""
    return {"hold": "legal_holds", "suppress": "suppressions"}.get(name.split()[0], name.split()[0])


def test_documents_have_the_keys_that_are_told(terminal: Terminal) -> None:
    """With --json, each command prints one document with the keys of its row, and no other."""
    with_platform_key(terminal)
    keys(terminal)
    for prepare in (of_all_kinds, suppressed, leavers, maps):
        prepare(terminal)
    told = told_keys()
    assert set(told) == set(RUNS) == {" ".join(words) for words in LEAVES if "as_json" in names_of(words)}
    for name, arguments in RUNS.items():
        asked = "API key (it is not shown): \n" if name == "login" else ""
        printed = terminal.run_json(f"erasure {name} {arguments} --json", asked)
        documents = [printed]
        if name in LISTS:
            assert set(printed) == {_plural(name)}, name
            documents = printed[_plural(name)]
        assert documents, name
        if name in SHOWN_BY_THE_API:
            assert {"state", "id"} <= set(printed) or "sla_hours" in printed
            continue
        for document in documents:
            assert set(document) <= told[name], name
        assert name in LEAVES_WITH_ABSENT or set().union(*map(set, documents)) == told[name], name


LEAVES_WITH_ABSENT = {"users show", "users enable", "keys create", "keys list", "users disable"}
"""What these do not know is left out."""


def names_of(words: tuple[str, ...]) -> set[str | None]:
    return {each.name for each in LEAVES[words].params}


# --- codes, variables, permissions -------------------------------------------------------------------------------


def test_exit_codes_are_told() -> None:
    """The table has each exit code, and no other."""
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", section(PAGE, "Exit codes"), re.MULTILINE)]
    assert told == sorted(int(code) for code in Exit)


def codes_in_code() -> set[str]:
    """Words that the command line has of its own: of the client's errors, and of what modules refuse."""
    folder = Path(_session.__file__).parent
    found = {end.code for _, end in _ENDS if end.code}
    for path in folder.glob("*.py"):
        found |= set(re.findall(r'Exit\.[A-Z_]+,\s+"([a-z_]+)"', path.read_text(encoding="utf-8")))
    return found


def test_codes_of_errors_are_told() -> None:
    """Each word of the command line's own in an error's document is on the page."""
    text = section(PAGE, "What all commands have in common")
    own = re.search(r"or one of the command's own: (.*?)\. ", text)
    assert own is not None
    service = {"refused", "not_found", "conflict"}
    assert set(re.findall(r"`(\w+)`", own[1])) == codes_in_code() - service


def test_variables_are_told() -> None:
    """Each variable of the environment that the command line reads is on the page."""
    own = {_session.URL_VARIABLE, _session.KEY_VARIABLE, _session.TENANT_VARIABLE, _session.PROFILE_VARIABLE}
    own.add(_profiles.CONFIG_VARIABLE)
    told = set(re.findall(r"`(ERASURE_\w+)`", section(PAGE, "Environment")))
    assert told == own


def test_states_are_told() -> None:
    """The states by which a list can be narrowed, and the words of doctor, in their order."""
    assert ", ".join(f"`{state}`" for state in STATES) in section(PAGE, "list")
    told = re.findall(r"^\| `([a-z]+)` \|", section(PAGE, "doctor"), re.MULTILINE)
    assert sorted(told[: len(WORST_FIRST)]) == sorted(WORST_FIRST)


def test_areas_of_doctor_are_told() -> None:
    """Each area that doctor looks at has its row: those of the stack, and those of the API."""
    rows = re.findall(r"^\| `([a-z ]+)` \|", section(PAGE, "doctor"), re.MULTILINE)
    told = set(rows) - set(WORST_FIRST)
    assert told == {*_doctor_aws.AREAS, "stack", "service", "data map", "promise", "retention"}


def test_the_policy_is_what_doctor_needs() -> None:
    """The page's policy allows exactly what doctor may call."""
    (policy,) = [json.loads(block.code) for block in BLOCKS if block.language == "json" and "Statement" in block.code]
    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Action"] == sorted(set(READS.values()))


def test_doctor_calls_nothing_else() -> None:
    """An operation without its permission in the list cannot be called."""
    with pytest.raises(KeyError):
        Account(lambda _: None).look("s3", "get_object")


def test_commands_of_other_pages_exist() -> None:
    """Each `erasure …` in the README and the other pages is a command, with options that it knows."""
    names = [
        "../README.md",
        "client.md",
        "operations.md",
        "deploying.md",
        "limits.md",
        "security.md",
        "architecture.md",
    ]
    for name in names:
        text = page(name)
        lines = re.findall(r"(?:`|^|\$\()erasure ([a-z][^`\n#)|]*)", text, re.MULTILINE)
        for line in lines:
            words = tuple(re.findall(r"^[a-z-]+(?: [a-z-]+)?", line)[0].split())
            known = [each for each in LEAVES if words[: len(each)] == each]
            groups = {each[:1] for each in LEAVES}
            assert known or words[:1] in groups, f"{name}: {line}"
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", line) if known else []:
                params = LEAVES[known[0]].params
                taken = any(option in each.opts for each in params) or any(each.name == "arguments" for each in params)
                assert taken, f"{name}: {line}"
