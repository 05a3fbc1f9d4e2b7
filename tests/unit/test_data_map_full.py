"""What a data map says of identifiers, of what items lead to, of scans, redacting, retaining and other accounts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.target_spec import (
    DynamoDBRule,
    IdentifierRule,
    KeyRule,
    RedactRule,
    RetainRule,
    RoleRule,
    S3Rule,
    TargetSpec,
)
from tests.unit.test_data_map import changed, problems

ROLE = "arn:aws:iam::123456789012:role/erasure"
OTHER_ROLE = "arn:aws:iam::210987654321:role/erasure"
BY_USER = "{tenant_id}#{user_id}"

FULL: dict[str, Any] = {
    "version": 1,
    "identifiers": {
        "email": {"from": "accounts", "attribute": "email"},
        "phone": {"from": "accounts", "attribute": "phones", "if_missing": "absent"},
    },
    "targets": [
        {"name": "accounts", "category": "account", "dynamodb": {"table": "accounts", "key": {"pk": BY_USER}}},
        {
            "name": "invoices",
            "category": "record",
            "dynamodb": {"table": "invoices", "index": "by-user", "key": {"customer": BY_USER}},
            "action": {
                "redact": {
                    "name": "remove",
                    "address.street": None,
                    "address.zip": "null",
                    "contacts[].email": "digest",
                    "city": {"constant": "-"},
                }
            },
            "retain": {"basis": "tax law", "for": "10y", "from": "issued_at"},
        },
        {"name": "documents", "dynamodb": {"table": "documents", "key": {"pk": BY_USER}}},
        {
            "name": "pages",
            "for_each": "documents",
            "dynamodb": {"table": "pages", "key": {"pk": "DOC#{documents.id}"}},
        },
        {"name": "images", "for_each": "pages", "s3": {"bucket": "images", "key": "{pages.image_key}"}},
        {
            "name": "archive",
            "dynamodb": {"table": "events", "scan": {"user_id": "{user_id}", "tenant": "{tenant_id}"}},
            "window": "48h",
        },
        {
            "name": "mails",
            "role_arn": ROLE,
            "external_id": "of-a-partner",
            "s3": {"bucket": "mails", "prefix": "{tenant_id}/{email}/"},
        },
        {
            "name": "calls",
            "dynamodb": {"table": "calls", "index": "by-number", "key": {"number": "{tenant_id}#{phone}"}},
        },
    ],
}


def without(*names: str, of: dict[str, Any] = FULL) -> dict[str, Any]:
    document = copy.deepcopy(of)
    document["targets"] = [target for target in document["targets"] if target["name"] not in names]
    return document


def with_more(*targets: dict[str, Any], of: dict[str, Any] = FULL) -> dict[str, Any]:
    return {**of, "targets": [*copy.deepcopy(of["targets"]), *targets]}


def alone(*targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"version": 1, "targets": list(targets), **more}


def test_everything_becomes_specs() -> None:
    """Redacting, retaining, scans, roles and links are in the specs, in the document's order, without a warning."""
    data_map = parse_data_map(FULL)
    by_name = {target.name: target for target in data_map.targets}
    accounts = TargetSpec("accounts", "account", dynamodb=DynamoDBRule("accounts", KeyRule("pk", BY_USER)))
    assert data_map.targets[0] == accounts
    assert data_map.identifiers == (
        IdentifierRule("email", accounts, "email"),
        IdentifierRule("phone", accounts, "phones", optional=True),
    )
    assert by_name["invoices"].redact == (
        RedactRule("name", "remove"),
        RedactRule("address.street", "null"),
        RedactRule("address.zip", "null"),
        RedactRule("contacts[].email", "digest"),
        RedactRule("city", "constant", "-"),
    )
    assert by_name["invoices"].retain == RetainRule("tax law", "10y", "issued_at")
    archive = by_name["archive"]
    rules = KeyRule("user_id", "{user_id}"), KeyRule("tenant", "{tenant_id}")
    assert archive.dynamodb == DynamoDBRule("events", *rules, scan=True)
    assert (archive.window_hours, accounts.window_hours) == (48, 0)
    assert by_name["mails"].role == RoleRule(ROLE, "of-a-partner")
    assert by_name["mails"].s3 == S3Rule("mails", prefix="{tenant_id}/{email}/")
    assert data_map.warnings == ()


@pytest.mark.parametrize("spec", parse_data_map(FULL).targets, ids=lambda spec: spec.name)
def test_specs_survive_their_text_form(spec: TargetSpec) -> None:
    """A task's text form of a target gives the same target."""
    assert TargetSpec.from_json(spec.to_json()) == spec


def test_children_know_their_way_and_their_neighbours() -> None:
    """A target that items lead to holds the whole way to it, and at each step what its values have to be compared
    with, itself included."""
    thumbs = {"name": "thumbs", "s3": {"bucket": "images", "prefix": "{tenant_id}/{user_id}/"}}
    by_name = {target.name: target for target in parse_data_map(with_more(thumbs)).targets}
    images = by_name["images"]
    assert list(images.ancestors()) == [by_name["pages"], by_name["documents"]]
    assert {spec.name for spec in images.beside} == {"images", "thumbs"}
    assert [spec.name for spec in by_name["pages"].beside] == ["pages"]
    assert by_name["documents"].beside == ()


def test_children_inherit_category_and_subjects() -> None:
    """What items lead to is of their category and of their subjects, over any number of steps and in any order."""
    document = without("images", "pages")
    document["targets"] = [
        {"name": "images", "for_each": "pages", "s3": {"bucket": "images", "key": "{pages.image_key}"}},
        {"name": "pages", "for_each": "rooms", "dynamodb": {"table": "pages", "key": {"pk": "{rooms.id}"}}},
        {
            "name": "rooms",
            "category": "membership",
            "subjects": ["group"],
            "dynamodb": {"table": "rooms", "key": {"pk": "{tenant_id}#{group_id}"}},
        },
        *document["targets"],
    ]
    for target in parse_data_map(document).targets[:3]:
        assert (target.category, target.subjects) == ("membership", ("group",))


def test_scans_wait_a_day_unless_told() -> None:
    """The window of a scan is 24 hours if the map does not say."""
    by_name = {target.name: target for target in parse_data_map(changed("targets.5.window", ..., of=FULL)).targets}
    assert by_name["archive"].window_hours == 24


@pytest.mark.parametrize(
    ("path", "value", "where", "rule"),
    [
        ("identifiers", {"Email": {"from": "accounts", "attribute": "e"}}, "identifiers.Email", "match pattern"),
        ("identifiers", {"user_id": {"from": "accounts", "attribute": "e"}}, "identifiers.user_id", "own id"),
        ("identifiers", ["email"], "identifiers", "valid dictionary"),
        ("identifiers.email", "accounts", "identifiers.email", "valid dictionary"),
        ("identifiers.email.attribute", ..., "identifiers.email.attribute", "required"),
        ("identifiers.email.from", "nobody", "identifiers.email.from", "not the name of a target"),
        ("identifiers.email.from", "mails", "identifiers.email.from", "a target of dynamodb with a key"),
        ("identifiers.email.from", "archive", "identifiers.email.from", "a target of dynamodb with a key"),
        ("identifiers.email.from", "pages", "identifiers.email.from", "no other leads to"),
        ("identifiers.email.from", "calls", "identifiers.email.from", "found by {tenant_id} and {user_id} alone"),
        ("identifiers.email.if_missing", "skip", "identifiers.email.if_missing", "'fail' or 'absent'"),
        ("identifiers.email.kind", "x", "identifiers.email.kind", "not a known key"),
        ("targets.6.s3.prefix", "{tenant_id}/{mail}/", "targets[6].s3.prefix", "known are {email}, {organization_id}"),
        ("targets.6.s3.prefix", "{tenant_id}/", "targets[6].s3.prefix", "must hold {user_id} or {email} or {phone}"),
        ("targets.6.s3.prefix", "{tenant_id}/{email}", "targets[6].s3.prefix", "needs a separator"),
        ("targets.6.subjects", ["group"], "targets[6].s3.prefix", "{email} is not a known placeholder"),
        ("targets.6.s3.prefix", "{pages.id}/", "targets[6].s3.prefix", "the target needs for_each: pages"),
        ("targets.4.s3.key", "{documents.id}", "targets[4].s3.key", "needs for_each: documents"),
        ("targets.4.s3.key", "{tenant_id}/{user_id}", "targets[4].s3.key", "must hold an attribute of pages"),
        ("targets.4.for_each", "nobody", "targets[4].for_each", "not the name of a target"),
        ("targets.4.for_each", "mails", "targets[4].for_each", "a target of dynamodb with a key"),
        ("targets.4.for_each", "archive", "targets[4].for_each", "a target of dynamodb with a key"),
        ("targets.4.for_each", "images", "targets[4].for_each", "in a circle"),
        ("targets.2.for_each", "pages", "targets[2].for_each", "in a circle"),
        ("targets.4.for_each", "invoices", "targets[4].for_each", "a target that is deleted"),
        ("targets.4.category", "record", "targets[4].for_each", "of the same category"),
        ("targets.4.subjects", ["group"], "targets[4].for_each", "of the same subjects"),
        ("targets.3.action", {"redact": {"text": "remove"}}, "targets[3].for_each", "no other action"),
        ("targets.3.retain", {"basis": "b", "for": "1y", "from": "at"}, "targets[3].for_each", "no other action"),
        ("targets.3.dynamodb", {"table": "ppp", "scan": {"a": "{documents.id}"}}, "targets[3].for_each", "with a scan"),
        ("targets.1.action.redact", {}, "targets[1].action.redact", "at least 1"),
        ("targets.1.action.redact", {"a..b": "remove"}, "targets[1].action.redact.a..b", "match pattern"),
        ("targets.1.action.redact", {"a[0]": "remove"}, "targets[1].action.redact.a[0]", "match pattern"),
        ("targets.1.action.redact.name", "hash", "targets[1].action.redact.name", "'remove', 'null', 'digest' or null"),
        ("targets.1.action.redact.name", {"const": "x"}, "targets[1].action.redact.name.constant", "required"),
        ("targets.1.action.redact.address", "remove", "targets[1].action.redact.address", "is within address.street"),
        ("targets.1.action.redact.contacts", None, "targets[1].action.redact.contacts", "is within contacts[].email"),
        ("targets.1.action.redact.city", "drop", "targets[1].action.redact.city", "input should be"),
        ("targets.1.action.redact.issued_at", "null", "targets[1].action.redact.issued_at", "how long"),
        ("targets.1.action.redact.customer", "remove", "targets[1].action.redact.customer", "found by it again"),
        ("targets.1.action.detach", {"attribute": "x"}, "targets[1].action.detach", "not a known key"),
        ("targets.0.action", {"redact": {"pk": "remove"}}, "targets[0].action.redact.pk", "key attribute of the table"),
        ("targets.6.action", {"redact": {"x": "remove"}}, "targets[6].action", "needs a dynamodb rule"),
        ("targets.0.action", {"redact": {"email": "digest"}}, "targets[0].action.redact.email", "taken for one"),
        ("targets.0.action", {"redact": {"email": {"constant": "-"}}}, "targets[0].action.redact.email", "for one"),
        ("targets.1.retain.for", "10 years", "targets[1].retain.for", "match pattern"),
        ("targets.1.retain.basis", "", "targets[1].retain.basis", "at least 1"),
        ("targets.1.retain.from", ..., "targets[1].retain.from", "required"),
        ("targets.1.retain.until", "x", "targets[1].retain.until", "not a known key"),
        ("targets.6.retain", {"basis": "b", "for": "1y", "from": "at"}, "targets[6].retain", "Object Lock"),
        ("targets.5.window", "49h", "targets[5].window", "match pattern"),
        ("targets.5.window", "0h", "targets[5].window", "match pattern"),
        ("targets.5.window", "1d", "targets[5].window", "match pattern"),
        ("targets.0.window", "24h", "targets[0].window", "is for scans"),
        ("targets.5.category", "session", "targets[5].category", "has to go at once"),
        ("targets.5.dynamodb.index", "by-user", "targets[5].dynamodb.index", "not an index"),
        ("targets.5.dynamodb.key", {"pk": "{user_id}"}, "targets[5].dynamodb", "exactly one of key and scan"),
        ("targets.5.dynamodb.scan", ..., "targets[5].dynamodb", "exactly one of key and scan"),
        ("targets.5.dynamodb.scan", {}, "targets[5].dynamodb.scan", "at least 1"),
        ("targets.5.dynamodb.scan.user_id", {"prefix": "x"}, "targets[5].dynamodb.scan.user_id", "valid string"),
        ("targets.5.dynamodb.scan", {"tenant": "{tenant_id}"}, "targets[5].dynamodb.scan", "must hold {user_id}"),
        ("targets.5.dynamodb.scan.tenant", "{organization_id}", "targets[5].dynamodb.scan.tenant", "sort key only"),
        ("targets.5.action", {"detach": {"attribute": "x"}}, "targets[5].action", "with an index"),
        ("targets.6.role_arn", "erasure", "targets[6].role_arn", "match pattern"),
        ("targets.6.external_id", "\u00e9\u00e9", "targets[6].external_id", "match pattern"),
        ("targets.6.role_arn", ..., "targets[6].external_id", "there is none"),
        ("targets.6.s3.prefix", "{tenant_id}/\x00{email}/", "targets[6].s3.prefix", "control characters"),
    ],
)
def test_problems_of_full_maps_name_path_and_rule(path: str, value: Any, where: str, rule: str) -> None:
    """A broken rule about identifiers, links, scans, redacting, retaining and roles is told with its path."""
    found = problems(changed(path, value, of=FULL))
    assert (where, True) in [(told, rule in text) for told, text in found]


@pytest.mark.parametrize(
    ("path", "form", "rule"),
    [
        ("author", "null", "cannot be null"),
        ("author.name", "remove", "has no parts"),
        ("author", {"constant": "a#nobody"}, "called like this constant"),
        ("kind", {"constant": ""}, "cannot be empty"),
    ],
)
def test_index_keys_are_redacted_so_that_nobody_finds_them(path: str, form: Any, rule: str) -> None:
    """What is left of an index's key attribute must be one, and must lead nobody to the item."""
    key = {"author": BY_USER, "kind": "COMMENT"}
    target = {"name": "comments", "dynamodb": {"table": "comments", "index": "by-author", "key": key}}
    ((where, told),) = problems(alone({**target, "action": {"redact": {path: form}}}))
    assert where == f"targets[0].action.redact.{path}"
    assert rule in told
    for harmless in ({"author": "remove"}, {"author": "digest"}, {"author": {"constant": "nobody"}}):
        assert parse_data_map(alone({**target, "action": {"redact": harmless}}))


def test_who_takes_identifiers_away_leaves_nobody_for_absent() -> None:
    """An identifier cannot count as absent if a family erases its source and leaves what needs it: hellojohn erases
    accounts, but no records."""
    document = changed("targets.7.category", "record", of=FULL)
    ((where, rule),) = problems(document)
    assert where == "identifiers.phone.if_missing"
    assert "hellojohn" in rule
    assert parse_data_map({**document, "families": {"hellojohn": "all"}})
    assert parse_data_map(changed("identifiers.phone.if_missing", "fail", of=document))


# --- targets beside each other -----------------------------------------------------------------------------------

KINDS: list[dict[str, Any]] = [
    {},
    {"category": "record"},
    {"action": {"redact": {"text": "remove"}}},
    {"action": {"redact": {"title": "remove"}}},
    {"retain": {"basis": "b", "for": "1y", "from": "at"}},
    {"retain": {"basis": "b", "for": "2y", "from": "at"}},
]


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_what_meets_is_treated_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two targets that meet are of one category and do the same thing; otherwise the map is refused."""
    first = {"name": "one", "dynamodb": {"table": "notes", "key": {"pk": BY_USER}}, **one}
    second = {"name": "two", "dynamodb": {"table": "notes", "key": {"pk": BY_USER, "sk": {"prefix": "A#"}}}, **other}
    if one == other:
        assert parse_data_map(alone(first, second))
    else:
        assert "targets[0]" in dict(problems(alone(first, second)))


@pytest.mark.parametrize("more", KINDS[1:])
def test_a_scan_is_alone_with_its_kind(more: dict[str, Any]) -> None:
    """Whether a scan meets what another target finds by a key, nobody can tell: unlike ones are refused in one table,
    like ones and other tables are not."""
    place = {"key": {"pk": BY_USER}}
    scan = {"name": "scan", "dynamodb": {"table": "notes", "scan": {"user": BY_USER}}}
    keyed = {"name": "keyed", "dynamodb": {"table": "notes", **place}}
    ((where, rule),) = problems(alone(scan, {**keyed, **more}))
    assert where == "targets[0]"
    assert "scans the table of targets[1]" in rule
    assert parse_data_map(alone(scan, keyed))
    assert parse_data_map(alone(scan, {**keyed, "dynamodb": {"table": "other", **place}, **more}))


def test_scans_for_the_same_attributes_are_compared() -> None:
    """Scans of one table for the same attributes meet where keys of the same text would, in whatever order they say
    them; those for other attributes are refused unless they are alike."""
    one = {"name": "one", "dynamodb": {"table": "notes", "scan": {"user": BY_USER, "kind": "A"}}}
    apart = {
        "name": "two",
        "category": "record",
        "dynamodb": {"table": "notes", "scan": {"kind": "B", "user": BY_USER}},
    }
    assert parse_data_map(alone(one, apart))
    found = problems(alone(one, {**apart, "dynamodb": {"table": "notes", "scan": {"kind": "A", "user": BY_USER}}}))
    assert all("keeps under another category" in rule for _, rule in found)
    found = problems(alone(one, {**apart, "dynamodb": {"table": "notes", "scan": {"author": BY_USER}}}))
    assert all("nobody can tell" in rule for _, rule in found)


def test_what_leads_to_others_is_no_other_targets() -> None:
    """Items that lead to others must not go before those: no other target may match them by a key or in a scan."""
    rest = {"name": "rest", "dynamodb": {"table": "documents", "key": {"pk": BY_USER, "sk": {"prefix": "OLD#"}}}}
    scan = {"name": "rest", "dynamodb": {"table": "documents", "scan": {"user": BY_USER}}}
    for more in (rest, scan):
        ((where, rule),) = problems(with_more(more))
        assert where == "targets[8]"
        assert "what they lead to is gone" in rule
    assert parse_data_map(without("pages", "images", of=with_more(rest)))
    index = {"name": "rest", "dynamodb": {"table": "documents", "index": "by-x", "key": {"x": BY_USER}}}
    ((where, rule),) = parse_data_map(with_more(index)).warnings
    assert (where, "found by both" in rule) == ("targets[8]", True)


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ({"pk": "U#{tenant_id}#{user_id}", "sk": "{documents.next}"}, True),
        ({"pk": "U#{tenant_id}#{user_id}", "sk": {"prefix": "{documents.kind}#"}}, True),
        ({"pk": "{documents.next}"}, True),
        ({"pk": "NEXT#{documents.next}"}, False),
    ],
)
def test_a_child_never_takes_what_leads_to_others(key: dict[str, Any], refused: bool) -> None:
    """An item may say anything: a target that it leads to must not be able to match items that lead on."""
    child = {"name": "next", "for_each": "documents", "dynamodb": {"table": "documents", "key": key}}
    document = changed("targets.2.dynamodb.key", {"pk": "U#{tenant_id}#{user_id}", "sk": {"prefix": "DOC#"}}, of=FULL)
    if refused:
        assert "targets[8]" in dict(problems(with_more(child, of=document)))
    else:
        assert parse_data_map(with_more(child, of=document))


def test_a_child_whose_value_is_a_whole_key_keeps_other_categories_out() -> None:
    """The key of an object may lie anywhere, so next to it nothing of another category is deleted by its prefix."""
    folder = {"name": "folder", "s3": {"bucket": "images", "prefix": "{tenant_id}/{user_id}/"}}
    assert parse_data_map(with_more(folder))
    found = dict(problems(with_more({**folder, "category": "preference"})))
    assert "under another category" in found["targets[8]"]
    assert parse_data_map(changed("targets.4.s3.key", "pages/{pages.id}", of=with_more({
        **folder, "category": "preference", "s3": {"bucket": "images", "prefix": "people/{tenant_id}/{user_id}/"},
    })))  # fmt: skip


@pytest.mark.parametrize(
    ("other", "changed_there"),
    [
        ({"index": "by-name", "key": {"name": BY_USER}}, True),
        ({"index": "by-x", "key": {"x": BY_USER, "city": "Berlin"}}, True),
        ({"index": "by-x", "key": {"x": BY_USER}}, False),
    ],
)
def test_redacting_hides_nothing_from_other_targets(other: dict[str, Any], changed_there: bool) -> None:
    """No target may find its items by an attribute that another one redacts; what cannot be compared is warned of."""
    more = with_more({"name": "more", "category": "record", "dynamodb": {"table": "invoices", **other}})
    if changed_there:
        ((where, rule),) = problems(more)
        assert (where, "by which targets[8] finds" in rule) == ("targets[1]", True)
    else:
        ((where, rule),) = parse_data_map(more).warnings
        assert (where, "found by both" in rule) == ("targets[8]", True)


def test_redacting_hides_no_way_to_others() -> None:
    """An attribute that leads to others, or that tells how long another target keeps its items, is not redacted."""
    by_x = {"table": "documents", "index": "by-x", "key": {"x": BY_USER}}
    blur = {"name": "blur", "dynamodb": by_x, "action": {"redact": {"id": "digest"}}}
    assert "by which targets[3] finds" in dict(problems(with_more(blur)))["targets[8]"]
    dates = {**blur, "dynamodb": {**by_x, "table": "invoices"}, "action": {"redact": {"issued_at": "remove"}}}
    assert "by which targets[1] finds" in dict(problems(with_more(dates)))["targets[8]"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({}, {"role_arn": ROLE}, True),
        ({"role_arn": ROLE}, {"role_arn": ROLE + "-2"}, True),
        ({"role_arn": ROLE}, {"role_arn": OTHER_ROLE}, False),
    ],
)
def test_tables_of_different_accounts_are_different(one: dict[str, str], other: dict[str, str], same: bool) -> None:
    """Tables of one name are the same unless their accounts are known to differ; a bucket is the same everywhere."""
    for place in ({"dynamodb": {"table": "notes", "key": {"pk": BY_USER}}}, {"s3": {"bucket": "bbb", "key": BY_USER}}):
        document = alone({"name": "one", **place, **one}, {"name": "two", "category": "record", **place, **other})
        if same or "s3" in place:
            assert [where for where, _ in problems(document)] == ["targets[0]", "targets[1]"]
        else:
            assert parse_data_map(document)


def test_an_address_is_compared_like_an_id() -> None:
    """In one place, somebody's e-mail address may be somebody else's id: such a map is refused. Below a person's own
    folder it may be whatever it is."""
    folder = {"name": "folder", "role_arn": ROLE, "s3": {"bucket": "mails", "prefix": "{tenant_id}/{user_id}/"}}
    assert "data of others" in dict(problems(with_more(folder)))["targets[6]"]
    below = changed("targets.6.s3.prefix", "{tenant_id}/{user_id}/{email}/", of=with_more(folder))
    assert parse_data_map(below)


def test_what_nobody_uses_and_what_is_not_of_one_tenant_is_warned_of() -> None:
    """Identifiers without use, and targets that find people by an identifier in all tenants, deserve a second look."""
    document = without("calls", of=changed("targets.6.s3.prefix", "{email}/", of=FULL))
    unused, tenantless = parse_data_map(document).warnings
    assert unused == ("identifiers.phone", "is not used by any target")
    assert tenantless[0] == "targets[6]"
    assert "{email} is one person's across all tenants" in tenantless[1]


@pytest.mark.parametrize("separator", ["0", "t", "u", "."])
def test_any_text_can_separate_ids_of_a_whole_key(separator: str) -> None:
    """Whatever stands between two placeholders of a whole key, the map can be compared with itself."""
    rule = {"bucket": "files", "key": f"{{tenant_id}}{separator}{{user_id}}"}
    assert parse_data_map(alone({"name": "files", "s3": rule})).warnings == ()


def test_a_namesake_is_told_in_the_maps_own_words() -> None:
    """Where somebody would have to be called like a placeholder's text, the warning says which."""
    one = {"name": "one", "s3": {"bucket": "files", "prefix": "{tenant_id}/{user_id}/"}}
    two = {"name": "two", "s3": {"bucket": "files", "prefix": "of-{tenant_id}/x/{user_id}/"}}
    ((where, rule),) = parse_data_map(alone(one, two)).warnings
    assert where == "targets[1]"
    assert "called of-{tenant_id}" in rule


def test_a_namesake_of_what_leads_to_others_is_warned_of_only() -> None:
    """Somebody called like a word of a sort key would have to be refused; that is no reason to refuse the map."""
    shelves = {"table": "shelves", "key": {"pk": "{tenant_id}", "sk": {"prefix": "docs#{user_id}#"}}}
    books = {"table": "shelves", "key": {"pk": "{tenant_id}", "sk": {"prefix": "{user_id}#"}}}
    covers = {"name": "covers", "for_each": "shelves", "s3": {"bucket": "covers", "key": "{shelves.cover}"}}
    document = alone({"name": "shelves", "dynamodb": shelves}, {"name": "books", "dynamodb": books}, covers)
    ((where, rule),) = parse_data_map(document).warnings
    assert (where, "called docs" in rule) == ("targets[0]", True)
