"""Attacks that once worked. Each test is one, told from the attacker's side."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from erasure.domain.collisions import check_alone
from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.outcome import Kept
from erasure.domain.plan import FAILED, PENDING, plan_units
from erasure.domain.request import FINISHED
from erasure.domain.subject import Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import DataMapError, NotFoundError, TargetError
from erasure.ports import PinnedMap
from erasure.services.accounts import ACCESS_CATEGORIES, FAMILY
from erasure.services.erasures import ErasureCommand
from erasure.services.release_due import release_due
from erasure.targets.protocol import Deadline, SliceResult, VerifyResult
from tests.contract.stores import a_request
from tests.functional.backend_world import BACKEND_KEY, TARGETS, TENANT, USER, BackendWorld
from tests.unit.services.world import World

# One bucket: a picture of each person at an exact key, and their invoices, which self-deletion does not cover.
PICTURE: dict[str, Any] = {
    "name": "picture",
    "category": "content",
    "s3": {"bucket": "files", "key": "{tenant_id}/{user_id}"},
}
INVOICES: dict[str, Any] = {
    "name": "invoices",
    "category": "record",
    "s3": {"bucket": "files", "prefix": "{tenant_id}/{user_id}/"},
}


def _map(*targets: dict[str, Any]) -> DataMap:
    return parse_data_map({"version": 1, "targets": list(targets)})


@pytest.mark.parametrize("targets", [(PICTURE, INVOICES), (INVOICES, PICTURE)])
def test_an_id_like_a_path_is_not_somebody_elses_file(targets: tuple[dict[str, Any], ...]) -> None:
    """A person who calls themselves "ann/2026.pdf" does not get Ann's invoice erased as their own picture."""
    data_map = _map(*targets)
    picture = next(target for target in data_map.targets if target.name == "picture")
    with pytest.raises(TargetError, match="ambiguous_identifier"):
        check_alone(picture, data_map.targets, {"tenant_id": "acme", "user_id": "ann/2026.pdf"})
    (unit,) = plan_units("job", [a_request("acme", "ann/2026.pdf")], data_map.targets)
    assert [(task.spec.name, part.status, part.reason) for task in unit.tasks for part in task.parts] == [
        ("picture", FAILED, "ambiguous_identifier")
    ]


@pytest.mark.parametrize("user_id", ["ann", "ann.2026", "50%", "a b"])
def test_ids_unlike_a_path_keep_their_files(user_id: str) -> None:
    """Next to a prefix, an exact key stays good for everybody whose id is not a path."""
    (unit,) = plan_units("job", [a_request("acme", user_id)], _map(PICTURE, INVOICES).targets)
    assert [part.status for task in unit.tasks for part in task.parts] == [PENDING]


def test_an_id_like_a_path_is_data_where_no_prefix_is() -> None:
    """Without a prefix beside it, the last placeholder of an exact key may hold anything, slashes included."""
    (unit,) = plan_units("job", [a_request("acme", "ann/2026.pdf")], _map(PICTURE).targets)
    assert [part.status for task in unit.tasks for part in task.parts] == [PENDING]


TEMPLATES = ["{tenant_id}/{user_id}", "a/{tenant_id}/{user_id}", "{tenant_id}/a/{user_id}", "{user_id}", "a{user_id}"]
IDS = ["a", "b", "a/b", "b/a", "a#b", "/a", "b/", "a/b/a"]
PEOPLE = [{"tenant_id": tenant, "user_id": user} for tenant, user in product(IDS, IDS)]


@pytest.mark.parametrize("exact", TEMPLATES)
@pytest.mark.parametrize("prefix", [f"{template}{end}" for template in TEMPLATES for end in ("/", "#", "/a/")])
def test_no_key_lies_in_what_a_prefix_has_for_others(exact: str, prefix: str) -> None:
    """For any exact key and any prefix in one bucket and any two people, however odd their ids: what the service agrees
    to erase for one of them never touches what it agrees to erase for the other."""
    try:
        data_map = _map(
            {"name": "file", "category": "content", "s3": {"bucket": "files", "key": exact}},
            {"name": "folder", "category": "content", "s3": {"bucket": "files", "prefix": prefix}},
        )
    except DataMapError:
        return
    one, other = data_map.targets
    names = set(re.findall(r"{(\w+)}", exact)) & set(re.findall(r"{(\w+)}", prefix))
    files = _agreed(one, data_map)
    for folder, owner in _agreed(other, data_map):
        for file, person in files:
            if file.startswith(folder):
                assert all(person[name] == owner[name] for name in names), (file, folder)


def _agreed(spec: TargetSpec, data_map: DataMap) -> list[tuple[str, dict[str, str]]]:
    agreed = []
    for person in PEOPLE:
        try:
            check_alone(spec, data_map.targets, person)
        except TargetError:
            continue
        agreed.append((spec.templates()[0].render(person), person))
    return agreed


def _item(name: str, category: str, **key: Any) -> dict[str, Any]:
    return {"name": name, "category": category, "dynamodb": {"table": "app-data", "key": key}}


def _files(name: str, category: str, **rule: str) -> dict[str, Any]:
    return {"name": name, "category": category, "s3": {"bucket": "files", **rule}}


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (
            _item("all", "content", pk="{tenant_id}#{user_id}"),
            _item("me", "account", pk="{tenant_id}#{user_id}", sk="ME"),
        ),
        (
            _item("all", "content", pk="{tenant_id}", sk={"prefix": "{user_id}#"}),
            _item("bills", "record", pk="{tenant_id}", sk={"prefix": "{user_id}#BILL#"}),
        ),
        (
            _files("all", "content", prefix="{tenant_id}/{user_id}/"),
            _files("bills", "record", prefix="{tenant_id}/{user_id}/bills/"),
        ),
        (
            _files("all", "content", prefix="{tenant_id}/{user_id}/"),
            _files("bill", "record", key="{tenant_id}/{user_id}/bill.pdf"),
        ),
    ],
)
def test_what_a_request_keeps_is_in_no_target_that_it_erases(wide: dict[str, Any], narrow: dict[str, Any]) -> None:
    """A map whose content holds the account record or what has to be kept by law would erase both: it is refused."""
    with pytest.raises(DataMapError, match="another category") as caught:
        _map(narrow, wide)
    assert [path for path, _ in caught.value.problems] == ["targets[1]"]
    _map({**narrow, "category": "content"}, wide)


ALBUMS: dict[str, Any] = {"name": "albums", "dynamodb": {"table": "albums", "key": {"pk": "{tenant_id}#{user_id}"}}}


@pytest.mark.parametrize(
    ("found_by_items", "named"),
    [
        ("{albums.a}/{albums.b}/{albums.c}/", "{user_id}/{albums.id}/"),
        ("{albums.b}/trash/2026/", "{tenant_id}/{user_id}/{albums.id}/"),
    ],
)
def test_items_do_not_lead_among_what_names_somebody_else(found_by_items: str, named: str) -> None:
    """Values without a single slash, put together by a rule, may spell the folder of somebody else: refused, whether by
    the map or by what it is held against when it runs."""
    children = [
        {"name": "led", "for_each": "albums", "s3": {"bucket": "files", "prefix": found_by_items}},
        {"name": "named", "for_each": "albums", "s3": {"bucket": "files", "prefix": named}},
    ]
    with pytest.raises(DataMapError, match="may match data of others"):
        _map(ALBUMS, *children)


def test_what_a_bucket_keeps_is_not_gone_whoever_has_found_it() -> None:
    """A session that a lock holds lets nobody be told that they are signed out, also if another job has found
    it and finished the request as blocked."""
    world = BackendWorld()
    world.put_user()
    world.target.always["sessions:verify"] = VerifyResult(0, complete=True, kept=Kept(1))
    command = ErasureCommand(TENANT, FAMILY, (Subject(TENANT, USER),), BACKEND_KEY, lambda _: "id")
    request = world.erasures.create(command).dispositions[0].request
    assert request is not None
    world.run_batch()
    assert world.request(request.request_id).state == FINISHED
    assert not world.jobs.run(request.request_id, Deadline(18, world.monotonic), ACCESS_CATEGORIES)


def test_who_has_an_account_exists_however_else_accounts_are_found() -> None:
    """Account data that is found by an address, or through the items of another target, says nothing about whether
    somebody exists, and keeps nobody from being shown or deleted."""
    more = [
        {"name": "logins", "category": "account", "dynamodb": {"table": "app-logins", "key": {"pk": "{email}"}}},
        {"name": "badges", "for_each": "accounts", "s3": {"bucket": "app-badges", "key": "{accounts.badge}"}},
    ]
    document = {
        "version": 1,
        "identifiers": {"email": {"from": "accounts", "attribute": "email"}},
        "targets": [*TARGETS, *more],
    }
    data_map = parse_data_map(document)
    pinned = PinnedMap(1, data_map.digest, data_map.targets, data_map.families, data_map.identifiers)
    world = BackendWorld(pinned)
    world.target.put(data_map.targets[0], Subject(TENANT, USER).values(), 1)
    assert world.accounts.show(TENANT, USER).status == "active"
    with pytest.raises(NotFoundError):
        world.accounts.show(TENANT, "nobody")


def test_more_combinations_than_memory_are_one_persons_problem() -> None:
    """Somebody whose items hold thousands of addresses and thousands of numbers, for a rule that needs one of each,
    makes planning neither run out of memory nor fail for the others of the job."""
    document = {
        "version": 1,
        "identifiers": {name: {"from": "people", "attribute": name} for name in ("email", "phone")},
        "targets": [
            {"name": "people", "dynamodb": {"table": "people", "key": {"pk": "{tenant_id}#{user_id}"}}},
            {"name": "calls", "dynamodb": {"table": "calls", "key": {"pk": "{email}", "sk": "{phone}"}}},
        ],
    }
    data_map = parse_data_map(document)
    many = tuple(str(number) for number in range(5000))
    greedy = replace(a_request("acme", "eve"), identifiers={"email": many, "phone": many})
    modest = replace(a_request("acme", "ann"), identifiers={"email": ("a", "b"), "phone": ("1",)})
    (unit,) = plan_units("job", [greedy, modest], data_map.targets)
    assert [(task.spec.name, [part.status for part in task.parts]) for task in unit.tasks] == [
        ("people", [PENDING, PENDING]),
        ("calls", [FAILED, PENDING]),
    ]


def _as_pinned(data_map: DataMap, version: int) -> PinnedMap:
    return PinnedMap(version, data_map.digest, data_map.targets, data_map.families, data_map.identifiers)


DOCUMENTS = _item("documents", "content", pk="{tenant_id}#{user_id}")
BILLS = _files("bills", "record", prefix="{tenant_id}/{user_id}/")
MAILS: dict[str, Any] = {"name": "mails", "dynamodb": {"table": "app-mails", "key": {"pk": "{email}"}}}
EMAIL: dict[str, Any] = {"email": {"from": "documents", "attribute": "email", "if_missing": "absent"}}
ATTACHMENTS: dict[str, Any] = {
    "name": "attachments",
    "for_each": "documents",
    "s3": {"bucket": "attachments", "key": "{documents.attachment}"},
}


@pytest.mark.parametrize(
    ("more", "identifiers", "again"),
    [(MAILS, EMAIL, False), (MAILS, EMAIL, True), (ATTACHMENTS, {}, False)],
    ids=["an identifier", "an identifier, asked again", "a child"],
)
def test_what_was_forgotten_in_the_map_is_not_absent(
    more: dict[str, Any], identifiers: dict[str, Any], *, again: bool
) -> None:
    """A map is completed after a job has erased the items that led to what was forgotten. Nobody finds that any more:
    the retry does not call it absent, nor does another request of the person, where an identifier was to be read."""
    world = World()
    forgetful = _map(DOCUMENTS, BILLS)
    complete = parse_data_map({"version": 1, "identifiers": identifiers, "targets": [DOCUMENTS, BILLS, more]})
    world.maps.maps = [_as_pinned(forgetful, 1)]
    request = replace(world.a_request(), family="native")
    world.requests.records[request.request_id] = request
    world.target.put(forgetful.targets[0], request.subject.values(), 3)
    world.target.always["bills"] = SliceResult(0, done=False, problem="access_denied", permanent=True)
    world.run(request)
    world.maps.maps = [_as_pinned(complete, 2)]
    later = world.a_request() if again else request
    world.plan(f"{later.request_id}-2", later.request_id, attempt=2)
    part = world.part(f"{later.request_id}-2", later, more["name"])
    assert (part.status, part.reason) == (FAILED, "missing_value")


def test_a_map_that_scans_no_more_leaves_nobody_waiting_unseen() -> None:
    """A map gives up scanning while somebody waits for the end of a window. Nobody would come by again after that, so
    the job of the window ends the waiting, and calls for attention if it had nothing left to look at."""
    world = World()
    scanned = {"name": "events", "dynamodb": {"table": "app-events", "scan": {"actor": "{tenant_id}#{user_id}"}}}
    world.maps.maps = [_as_pinned(_map(DOCUMENTS, scanned), 1)]
    request = world.a_request()
    world.run(request)
    assert world.record(request).scan_at is not None
    world.maps.maps = [_as_pinned(_map(DOCUMENTS), 2)]
    world.run(request, attempt=2)
    world.clock.advance(24 * 3600)
    release_due(world.requests, world.queue, world.clock, Deadline(60))
    assert world.queue.messages == [((request.request_id,), 3)]
    world.run(request, attempt=3)
    assert (world.record(request).attention, world.record(request).scan_at) == (True, None)
    world.run(request, attempt=4)
    assert (world.record(request).state, world.record(request).attention) == (FINISHED, False)


_WORDS = ["{tenant_id}", "{user_id}", "{email}", "{documents.a}", "{documents.b}", "x", "y"]
_RULES = st.tuples(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map("/".join), st.booleans())
_ODD = st.sampled_from(["t", "u", "x", "y", "t/u", "x/u", "t/u/y", "u/x", "t/x/u"])
_PLAIN = st.sampled_from(["t", "u", "x", "y"])


def _person(values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    names = ("user_id", "email", "documents.a", "documents.b")
    return st.fixed_dictionaries({"tenant_id": st.sampled_from("tx"), **dict.fromkeys(names, values)})


def _reach(spec: TargetSpec, data_map: DataMap, person: dict[str, str]) -> tuple[str, bool] | None:
    """What is erased for a person whose items say all this, and whether it is a prefix; ``None``: it is refused."""
    own = {name for template in spec.templates() for name in template.names} | {"tenant_id", "user_id"}
    try:
        check_alone(spec, spec.beside or data_map.targets, {name: person[name] for name in own})
    except TargetError:
        return None
    (template,) = spec.templates()
    return template.render(person), spec.s3 is not None and spec.s3.prefix is not None


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(one=_RULES, other=_RULES, attacker=_person(_ODD), victim=_person(_PLAIN))
def test_whatever_ones_ids_and_items_say_what_names_another_stays(
    one: tuple[str, bool], other: tuple[str, bool], attacker: dict[str, str], victim: dict[str, str]
) -> None:
    """Of any two rules in one bucket that a map may have: whatever somebody's address and items say, nothing goes that
    lies where a rule names another person, whose ids and address are his own."""
    assume(attacker["user_id"] != victim["user_id"] and attacker["email"] != victim["email"])
    targets = [DOCUMENTS]
    for number, (text, is_prefix) in enumerate((one, other)):
        rule = {"prefix": f"{text}/"} if is_prefix else {"key": text}
        led = {"for_each": "documents"} if "{documents." in text else {}
        targets.append({"name": f"rule{number}", **led, "s3": {"bucket": "files", **rule}})
    try:
        data_map = parse_data_map({"version": 1, "identifiers": EMAIL, "targets": targets})
    except DataMapError:
        reject()
    _, *rules = data_map.targets
    for spec in rules:
        erased = _reach(spec, data_map, attacker)
        for their in rules:
            names = their.templates()[0].names
            kept = _reach(their, data_map, victim) if {"user_id", "email"} & set(names) else None
            if erased is not None and kept is not None and (their == spec or "user_id" in names or not spec.for_each):
                (text, is_prefix), (place, is_folder) = erased, kept
                assert text != place
                assert not (is_prefix and place.startswith(text))
                assert not (is_folder and text.startswith(place))
