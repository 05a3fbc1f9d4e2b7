"""Whatever a subject is called, whichever family asks: nothing is erased but the data of the one who was named.

Whole jobs, from the API's handler to the closed request, in an application full of people who are easily mistaken for
the one named.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from erasure.domain.request import CATEGORIES, FAMILY_CATEGORIES, FINISHED
from erasure.domain.subject import GROUP, USER, Subject
from erasure.services import accounts
from tests.functional.job_stack import JobStack, stack_on_moto
from tests.functional.mistakable_people import (
    WITH_FOLDERS,
    WITHOUT_FOLDERS,
    Place,
    Thing,
    place_of,
    things_of,
    without,
)
from tests.functional.mistakable_worlds import CloudWorld, MemoryWorld, World, token_of

pytestmark = pytest.mark.timeout(240)

TENANTS = ("acme", "acme2", "avatars", "work")
"""One begins like another; two are words of the map."""

ODD = [
    *("groups", "PROFILE", "PREFERENCE#", "PREFERENCE#theme", "avatars", "acme", "acme#ann", "TENANT#acme#USER#ann"),
    *(
        "#",
        "/",
        ":",
        "|",
        "a#b",
        "a/b",
        "a:b",
        "a|b",
        "ann#",
        "ann/",
        "ann:",
        "#ann",
        "/ann",
        "{user_id}",
        "{tenant_id}",
    ),
    *("{}", "{0}", "%s", "$x", "*", "?", "a*", "%", "_", ".*", "[a-z]", "^a", "(", "\\", "'", '"', "''", "--", ";"),
    *(".", "..", "../ann", "./ann", "a.b", "%2F", "%23", "%25", "a%2Fb", "+", "a+b", "&", "a=b", "<a>", "bulk-delete"),
    *(
        " ",
        "  ",
        " ann",
        "ann ",
        "a b",
        "\t",
        "a\nb",
        "\u00a0",
        "\u200b",
        "ann\u200b",
        "\ufeffann",
        "\u2028",
        "a\u202eb",
    ),
    *("0", "00", "01", "1e3", "null", "None", "true", "NaN", "-1", "me", "current", "undefined"),
    *("Ann", "ANN", "ß", "SS", "ı", "K", "é", "e\u0301", "ﬁ", "ａｎｎ", "𝐚", "😀", "\ufffd", "\U0010ffff"),
    *("", "\x00", "a\x00b", "\x7f", "\ud800", "a\udfff"),
    *("ann/1", "ann:1", "groups/1"),
]
LONG = ["x", "x" * 255, "x" * 256, "x" * 257, "é" * 256, "é" * 257, "😀" * 256, "😀" * 257, "#" * 256, "*" * 257]
# Moto's S3 fails for these two, which no XML may hold.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\ufffe\uffff")
IDS = st.one_of(
    st.sampled_from(ODD),
    st.sampled_from(LONG),
    st.sampled_from(["ann", "groups", "*"]).flatmap(
        lambda name: st.sampled_from([f"{name}{mark}1" for mark in "#/:|"])
    ),
    st.text("an#/:|{}*.%+ 0", min_size=1, max_size=6),
    st.text(CHARACTERS, min_size=1, max_size=8),
    st.text(CHARACTERS, min_size=254, max_size=257),
)


def look_alikes(name: str) -> list[str]:
    """Ids of others that a careless comparison would take for ``name``, most likely ones first."""
    others = [
        *(f"{name}0", name[:-1], name[:256], f"{name}#1", f"{name}/1", f"{name}:1", f" {name}", f"{name} "),
        *(name.strip(), name.swapcase(), name.casefold(), quote(name, "", errors="replace"), unquote(name)),
        *(unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC")),
        *(name.replace("*", "ann"), name.replace("{user_id}", "ann"), name.rpartition("/")[2]),
        *_halves(name),
        *(name.encode("utf-8", "replace").decode(), f"{name}\u200b", "groups", "PROFILE", "ann", "acme"),
    ]
    return [other for other in dict.fromkeys(others) if other != name and is_storable(other)]


def _halves(name: str) -> list[str]:
    return [name.partition(mark)[0] for mark in "#/:|"]


def is_storable(name: str) -> bool:
    """Whether the application can have somebody of this id."""
    return 1 <= len(name) <= 256 and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


@dataclass(frozen=True)
class Case:
    """Who is to be erased (``names``, in ``organizations`` if there are any), and who else is there."""

    tenant_id: str
    names: tuple[str, ...]
    organizations: tuple[str, ...]
    neighbours: tuple[str, ...]


@st.composite
def cases(draw: st.DrawFn, *, several: bool, limited: bool) -> Case:
    name = draw(IDS)
    alike = look_alikes(name)
    # Whose id this one would become if it were cut, at its length or at a separator, is always there.
    cut = [other for other in alike if name.startswith(other) and other in {name[:256], *_halves(name)}]
    neighbours = [*cut, *draw(st.lists(st.sampled_from(alike), min_size=2, max_size=3, unique=True))]
    names = [name]
    if several:
        # Who is named besides is a look-alike too: within one call, nobody's data may count as another's.
        names += draw(st.lists(st.sampled_from(alike), max_size=1, unique=True))
    organizations = draw(st.lists(IDS, min_size=1, max_size=2, unique=True)) if limited else []
    return Case(draw(st.sampled_from(TENANTS)), tuple(names), tuple(organizations), tuple(neighbours))


def people_of(case: Case, targets: Collection[str]) -> list[Thing]:
    """What the application keeps of the named, of groups and users of the same ids, and of their neighbours and
    namesakes in other tenants."""
    people = [name for name in dict.fromkeys([*case.names, *case.neighbours]) if is_storable(name)]
    subjects = [Subject(case.tenant_id, name, kind) for name in people for kind in (USER, GROUP)]
    subjects += [Subject(tenant, name) for tenant in TENANTS for name in case.names[:1] if is_storable(name)]
    organizations = [*case.organizations, *(f"{name}0" for name in case.organizations), "org", "org0"]
    storable = [name for name in dict.fromkeys(organizations) if is_storable(name)]
    things: dict[Place, Thing] = {}
    for subject in dict.fromkeys(subjects):
        for thing in things_of(subject, storable, targets):
            assert things.setdefault(thing.place, thing) == thing, "the application itself mistakes them"
    return list(things.values())


# What each family is asked, and whose erasure it says it has accepted.


def h2o(world: World, case: Case) -> set[str]:
    token = token_of(case.names[0], case.tenant_id)
    reply = world.ask_as_subject(token, "DELETE", "/users/current")
    if reply["statusCode"] == 200:
        reply = world.ask_as_subject(token, "POST", "/users/current/confirm-delete?timeout=0", reply["body"])
    return accepted(reply["statusCode"], {202}, {400, 401}, case)


def accepted(status: int, yes: set[int], no: set[int], case: Case) -> set[str]:
    assert status in yes | no
    return set(case.names) if status in yes else set()


def hellojohn(world: World, case: Case) -> set[str]:
    status, _ = world.ask(case.tenant_id, "DELETE", f"/v1/users/{_in_path(case.names[0])}")
    return accepted(status, {204}, {404, 405, 422}, case)


def hellojohn_sessions(world: World, case: Case) -> set[str]:
    path = f"/v1/users/{_in_path(case.names[0])}/disable"
    status, _ = world.ask(case.tenant_id, "POST", path, {"revoke_sessions": True})
    return accepted(status, {200}, {404, 405, 422}, case)


def _in_path(name: str) -> str:
    return quote(name, safe="", errors="surrogatepass")


def hellojohn_bulk(world: World, case: Case) -> set[str]:
    status, body = world.ask(case.tenant_id, "POST", "/v1/users/bulk-delete", {"user_ids": case.names})
    if not accepted(status, {202}, {422}, case):
        return set()
    return {result["user_id"] for result in body["results"] if result["status"] == "accepted"}


def velt(world: World, case: Case) -> set[str]:
    data: dict[str, Any] = {"userIds": case.names}
    if case.organizations:
        data["organizationIds"] = case.organizations
    status, _ = world.ask(case.tenant_id, "POST", "/v2/users/data/delete", {"data": data})
    return accepted(status, {202}, {400}, case)


def june(world: World, case: Case, kind: str = USER) -> set[str]:
    path = f"/api/platform/data_management/{kind}_deletion_request"
    status, _ = world.ask(case.tenant_id, "POST", path, {f"{kind}_id": case.names[0]})
    return accepted(status, {200}, {400}, case)


def june_group(world: World, case: Case) -> set[str]:
    return june(world, case, GROUP)


def native(world: World, case: Case, kind: str = USER) -> set[str]:
    body: dict[str, Any] = {"subjects": [{"type": kind, "id": name} for name in case.names]}
    if case.organizations:
        body["scope"] = {"organization_ids": case.organizations}
    status, answer = world.ask(case.tenant_id, "POST", "/v1/erasure-requests", body)
    if not accepted(status, {202}, {400}, case):
        return set()
    return {result["subject"]["id"] for result in answer["requests"] if result["status"] == "accepted"}


def native_group(world: World, case: Case) -> set[str]:
    return native(world, case, GROUP)


ALL = frozenset(CATEGORIES)


@dataclass(frozen=True)
class Form:
    """A way to ask for an erasure. ``several``: of more than one at once; ``limited``: within organizations."""

    ask: Callable[[World, Case], set[str]]
    categories: frozenset[str]
    kind: str = USER
    several: bool = False
    limited: bool = False


def _of(family: str) -> frozenset[str]:
    return FAMILY_CATEGORIES[family] or ALL


FORMS = {
    "h2o": Form(h2o, _of("h2o")),
    "hellojohn": Form(hellojohn, _of("hellojohn")),
    "hellojohn-sessions": Form(hellojohn_sessions, frozenset({"session"})),
    "hellojohn-bulk": Form(hellojohn_bulk, _of("hellojohn"), several=True),
    "velt": Form(velt, _of("velt"), several=True),
    "velt-organizations": Form(velt, _of("velt"), several=True, limited=True),
    "june": Form(june, ALL),
    "june-group": Form(june_group, ALL, GROUP),
    "native": Form(native, ALL, several=True),
    "native-organizations": Form(native, ALL, several=True, limited=True),
    "native-group": Form(native_group, ALL, GROUP, several=True),
}


def check(world: World, form: Form, case: Case, targets: Collection[str]) -> int:
    """Ask, and compare what is left; returns for how many the erasure was accepted."""
    things = people_of(case, targets)
    world.application.put(things)
    before = world.application.contents()
    assert {place_of(found) for found in before} == {thing.place for thing in things}
    names = form.ask(world, case)
    world.work()
    assert world.states() <= {FINISHED}
    named = {Subject(case.tenant_id, name, form.kind) for name in names}
    gone = [thing for thing in things if thing.is_covered(named, form.categories, case.organizations)]
    assert world.application.contents() == without(before, gone)
    return len(names)


def names_of(data_map: Mapping[str, Any]) -> set[str]:
    return {target["name"] for target in data_map["targets"]}


BOUNDED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("data_map", [WITH_FOLDERS, WITHOUT_FOLDERS], ids=["folders", "keys"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_nobody_but_who_was_named_is_erased(form: Form, data_map: dict[str, Any]) -> None:
    """What is accepted is erased to the last thing, of exactly those who were named; what is refused changes
    nothing."""
    accepted_of: list[int] = []

    @settings(BOUNDED, max_examples=40, phases=[Phase.generate, Phase.shrink])
    @given(cases(several=form.several, limited=form.limited))
    def try_case(case: Case) -> None:
        accepted_of.append(check(MemoryWorld(data_map), form, case, names_of(data_map)))

    try_case()
    assert min(accepted_of) == 0 < max(accepted_of), "only one half of the claim was tried"


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    # The message of a deletion that was waited for comes when the call is surely over. Here it is.
    monkeypatch.setattr(accounts, "DELAY_SECONDS", 0)
    yield from stack_on_moto(monkeypatch)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_nor_with_the_engines(stack: JobStack, form: Form) -> None:
    """The same, for fewer, with what DynamoDB and S3 find and delete."""
    world = CloudWorld(stack, WITH_FOLDERS, TENANTS)

    @settings(BOUNDED, max_examples=4, phases=[Phase.generate])
    @given(cases(several=form.several, limited=form.limited))
    def try_case(case: Case) -> None:
        world.clear()
        check(world, form, case, names_of(WITH_FOLDERS))

    try_case()
