"""Whatever a subject is called, whichever family asks: nothing is erased but the data of the one who was named.

Whole jobs, from the API's handler to the closed request, in an application full of people who are easily mistaken for
the one named.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import jwt
import pytest
from aws_lambda_powertools.logging import Logger
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from erasure.domain.data_map import parse_data_map
from erasure.domain.request import CATEGORIES, FAMILY_CATEGORIES
from erasure.domain.subject import GROUP, USER, Subject
from erasure.entry.settings import SubjectApiSettings
from erasure.entry.subject_api import make_subject_api
from erasure.entry.tokens import TokenVerifier
from erasure.services import accounts
from tests.client.token_issuer import AUDIENCE, ec_key, make_token, public_jwk
from tests.functional.backend_calls import make_event
from tests.functional.job_stack import JobStack, stack_on_moto
from tests.functional.mistakable_people import (
    WITH_FOLDERS,
    WITHOUT_FOLDERS,
    Application,
    Place,
    Thing,
    place_of,
    things_of,
    without,
    write_all,
)

pytestmark = pytest.mark.timeout(240)

ISSUER = "https://issuer.example"
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
    *("x", "x" * 255, "x" * 256, "x" * 257, "é" * 256, "😀" * 256, "😀" * 257, "#" * 256, "*" * 256),
]
# Moto's S3 fails for these two, which no XML may hold.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\ufffe\uffff")
IDS = st.one_of(
    st.sampled_from(ODD),
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
        *(name.replace("*", "ann"), name.replace("{user_id}", "ann"), name.rpartition("/")[2], name.partition("#")[0]),
        *(name.encode("utf-8", "replace").decode(), f"{name}\u200b", "groups", "PROFILE", "ann", "acme"),
    ]
    return [other for other in dict.fromkeys(others) if other != name and is_storable(other)]


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
    neighbours = draw(st.lists(st.sampled_from(alike), min_size=2, max_size=3, unique=True))
    names = [name]
    if several:
        # Who is named besides is a look-alike too: within one call, nobody's data may count as another's.
        names += draw(st.lists(st.sampled_from(alike), max_size=1, unique=True))
    organizations = draw(st.lists(IDS, min_size=1, max_size=2, unique=True)) if limited else []
    return Case(draw(st.sampled_from(TENANTS)), tuple(names), tuple(organizations), tuple(neighbours))


class World:
    """The service and the application, cleared for each case."""

    def __init__(self, stack: JobStack, data_map: dict[str, Any]) -> None:
        self.stack = stack
        self.application = Application(stack)
        self.targets = {target["name"] for target in data_map["targets"]}
        stack.maps.put(parse_data_map(data_map), datetime.now(UTC))
        self.keys = {tenant: stack.api_key(tenant) for tenant in TENANTS}
        stack.handlers["subject_api"] = _subject_api(stack)
        self._kept = {table: self._keys_of(table) for table in ("Requests", "Registry", "Audit", "DeleteIds")}

    def clear(self) -> None:
        """As it was at first."""
        self.application.clear()
        for table, kept in self._kept.items():
            keys = [key for key in self._keys_of(table) if key not in kept]
            write_all(self.stack, {table: [{"DeleteRequest": {"Key": key}} for key in keys]})

    def _keys_of(self, table: str) -> list[dict[str, Any]]:
        return [{name: item[name] for name in ("pk", "sk") if name in item} for item in self.stack.items(table)]

    def fill(self, case: Case) -> list[Thing]:
        """Put the named ones, groups and users of the same ids, their neighbours, and namesakes in other tenants."""
        people = [name for name in dict.fromkeys([*case.names, *case.neighbours]) if is_storable(name)]
        subjects = [Subject(case.tenant_id, name, kind) for name in people for kind in (USER, GROUP)]
        subjects += [Subject(tenant, name) for tenant in TENANTS for name in case.names[:1] if is_storable(name)]
        organizations = [name for name in dict.fromkeys([*case.organizations, "org", "org0"]) if is_storable(name)]
        organizations += [f"{name}0" for name in case.organizations if is_storable(f"{name}0")]
        things: dict[Place, Thing] = {}
        for subject in dict.fromkeys(subjects):
            for thing in things_of(subject, dict.fromkeys(organizations), self.targets):
                assert things.setdefault(thing.place, thing) == thing, "the application itself mistakes them"
        self.application.put(things.values())
        return list(things.values())

    def ask(self, case: Case, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.stack.ask(self.keys[case.tenant_id], method, path, body)


class _OneKey:
    def find(self, _key_id: str, _algorithm: str) -> jwt.PyJWK:
        return jwt.PyJWK(public_jwk(ec_key(), "key", alg="ES256"))


def _subject_api(stack: JobStack) -> Any:
    oidc = {"OIDC_ISSUER": ISSUER, "OIDC_AUDIENCE": AUDIENCE}
    verifier = TokenVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=["ES256"],
        user_claim="sub",
        tenant_claim="tenant_id",
        keys=_OneKey(),
    )
    return make_subject_api(
        stack.service(), verifier, SubjectApiSettings.load({**stack.environment(), **oidc}), Logger()
    )


# What each family is asked, and whose erasure it says it has accepted.


def h2o(world: World, case: Case) -> set[str]:
    claims = {"sub": case.names[0], "tenant_id": case.tenant_id}
    token = make_token(ISSUER, ec_key(), kid="key", algorithm="ES256", **claims)
    headers = {"Authorization": f"Bearer {token}"}
    reply = world.stack.call("subject_api", make_event("DELETE", "/users/current", headers, None))
    if reply["statusCode"] == 200:
        event = make_event("POST", "/users/current/confirm-delete?timeout=0", headers, reply["body"])
        reply = world.stack.call("subject_api", event)
    return accepted(reply["statusCode"], {202}, {400, 401}, case)


def accepted(status: int, yes: set[int], no: set[int], case: Case) -> set[str]:
    assert status in yes | no
    return set(case.names) if status in yes else set()


def hellojohn(world: World, case: Case) -> set[str]:
    status, _ = world.ask(case, "DELETE", f"/v1/users/{_in_path(case.names[0])}")
    return accepted(status, {204}, {404, 405, 422}, case)


def hellojohn_sessions(world: World, case: Case) -> set[str]:
    path = f"/v1/users/{_in_path(case.names[0])}/disable"
    status, _ = world.ask(case, "POST", path, {"revoke_sessions": True})
    return accepted(status, {200}, {404, 405, 422}, case)


def _in_path(name: str) -> str:
    return quote(name, safe="", errors="surrogatepass")


def hellojohn_bulk(world: World, case: Case) -> set[str]:
    status, body = world.ask(case, "POST", "/v1/users/bulk-delete", {"user_ids": case.names})
    if not accepted(status, {202}, {422}, case):
        return set()
    return {result["user_id"] for result in body["results"] if result["status"] == "accepted"}


def velt(world: World, case: Case) -> set[str]:
    data: dict[str, Any] = {"userIds": case.names}
    if case.organizations:
        data["organizationIds"] = case.organizations
    status, _ = world.ask(case, "POST", "/v2/users/data/delete", {"data": data})
    return accepted(status, {202}, {400}, case)


def june(world: World, case: Case, kind: str = USER) -> set[str]:
    path = f"/api/platform/data_management/{kind}_deletion_request"
    status, _ = world.ask(case, "POST", path, {f"{kind}_id": case.names[0]})
    return accepted(status, {200}, {400}, case)


def june_group(world: World, case: Case) -> set[str]:
    return june(world, case, GROUP)


def native(world: World, case: Case, kind: str = USER) -> set[str]:
    body: dict[str, Any] = {"subjects": [{"type": kind, "id": name} for name in case.names]}
    if case.organizations:
        body["scope"] = {"organization_ids": case.organizations}
    status, answer = world.ask(case, "POST", "/v1/erasure-requests", body)
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


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    # The message of a deletion that was waited for comes when the call is surely over. Here it is.
    monkeypatch.setattr(accounts, "DELAY_SECONDS", 0)
    yield from stack_on_moto(monkeypatch)


@pytest.mark.parametrize("data_map", [WITH_FOLDERS, WITHOUT_FOLDERS], ids=["folders", "keys"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_nobody_but_who_was_named_is_erased(stack: JobStack, form: Form, data_map: dict[str, Any]) -> None:
    """What is accepted is erased to the last thing, of exactly those who were named; what is refused changes
    nothing."""
    world = World(stack, data_map)

    @settings(
        max_examples=5,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(several=form.several, limited=form.limited))
    def check(case: Case) -> None:
        world.clear()
        things = world.fill(case)
        before = world.application.contents()
        assert {place_of(found) for found in before} == {thing.place for thing in things}
        names = form.ask(world, case)
        named = {Subject(case.tenant_id, name, form.kind) for name in names}
        world.stack.work()
        gone = [thing for thing in things if thing.is_covered(named, form.categories, case.organizations)]
        assert world.application.contents() == without(before, gone)

    check()
