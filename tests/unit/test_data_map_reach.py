"""What a data map says of groups, organizations, detaching and families."""

from __future__ import annotations

from typing import Any

import pytest

from erasure.domain.data_map import parse_data_map
from erasure.domain.request import CATEGORIES, FAMILY_CATEGORIES
from erasure.domain.target_spec import DetachRule, DynamoDBRule, KeyRule, S3Rule, TargetSpec
from tests.unit.test_data_map import GOOD, changed, problems

WIDE: dict[str, Any] = {
    "version": 1,
    "targets": [
        {
            "name": "mentions",
            "dynamodb": {
                "table": "app-notes",
                "index": "by-mention",
                "key": {"mention": "{tenant_id}#{user_id}", "kind": "NOTE"},
            },
            "action": {"detach": {"attribute": "mentioned"}},
        },
        {
            "name": "spaces",
            "s3": {"bucket": "app-spaces", "prefix": "{tenant_id}/{user_id}/{organization_id}/"},
        },
        {
            "name": "space-notes",
            "dynamodb": {
                "table": "app-spaces",
                "key": {"pk": "{tenant_id}#{user_id}", "sk": {"prefix": "SPACE#{organization_id}#"}},
            },
        },
        {
            "name": "group-files",
            "subjects": ["group"],
            "s3": {"bucket": "app-files", "prefix": "{tenant_id}/groups/{group_id}/"},
        },
    ],
    "families": {"june": ["content", "session"], "h2o": "all"},
}


def test_groups_organizations_and_detaching_become_specs() -> None:
    """Groups, organizations and detaching are in the specs. Left out, the category is content and the value the id."""
    mentions, spaces, space_notes, group_files = parse_data_map(WIDE).targets
    by_mention = DynamoDBRule(
        "app-notes", KeyRule("mention", "{tenant_id}#{user_id}"), KeyRule("kind", "NOTE"), "by-mention"
    )
    detach = DetachRule("mentioned", "{user_id}")
    assert mentions == TargetSpec("mentions", "content", dynamodb=by_mention, detach=detach)
    assert spaces.s3 == S3Rule("app-spaces", prefix="{tenant_id}/{user_id}/{organization_id}/")
    assert space_notes.dynamodb is not None
    assert space_notes.dynamodb.sort == KeyRule("sk", "SPACE#{organization_id}#", prefix=True)
    assert (group_files.subjects, spaces.subjects) == (("group",), ("user",))


def test_value_to_detach() -> None:
    """The value may be given; of a group it is the group's id unless it is."""
    action = {"detach": {"attribute": "mentioned", "value": "u:{tenant_id}:{user_id}"}}
    (mentions, *_) = parse_data_map(changed("targets.0.action", action, of=WIDE)).targets
    assert mentions.detach == DetachRule("mentioned", "u:{tenant_id}:{user_id}")
    action = {"detach": {"attribute": "mentioned", "key": "user_id"}}
    (mentions, *_) = parse_data_map(changed("targets.0.action", action, of=WIDE)).targets
    assert mentions.detach == DetachRule("mentioned", "{user_id}", "user_id")
    of_group = {
        "name": "shares",
        "subjects": ["group"],
        "dynamodb": {"table": "app-notes", "index": "by-group", "key": {"shared_with": "{tenant_id}#{group_id}"}},
        "action": {"detach": {"attribute": "groups"}},
    }
    (shares,) = parse_data_map({"version": 1, "targets": [of_group]}).targets
    assert shares.detach == DetachRule("groups", "{group_id}")


def test_families_erase_what_the_map_says() -> None:
    """A family's categories come from the map, or else are the default ones; they are part of the digest."""
    families = parse_data_map(WIDE).families
    assert families == {**FAMILY_CATEGORIES, "june": {"content", "session"}, "h2o": None}
    assert parse_data_map(GOOD).families == FAMILY_CATEGORIES
    other = changed("families.june", ["content"], of=WIDE)
    assert parse_data_map(other).digest != parse_data_map(WIDE).digest


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("family", FAMILY_CATEGORIES)
def test_every_category_can_be_chosen_for_every_family(category: str, family: str) -> None:
    """All families and categories of the service are known to the map."""
    document = changed("targets.0.category", category) | {"families": {family: [category]}}
    assert parse_data_map(document).families[family] == frozenset({category})


@pytest.mark.parametrize("spec", parse_data_map(WIDE).targets, ids=lambda spec: spec.name)
def test_specs_survive_their_text_form(spec: TargetSpec) -> None:
    """A task's text form of a target gives the same target."""
    assert TargetSpec.from_json(spec.to_json()) == spec


def of_organizations(**rules: Any) -> dict[str, Any]:
    return {"version": 1, "targets": [{"name": "theirs", "subjects": ["organization"], **rules}]}


def in_orgs(how: str, **attributes: str) -> dict[str, Any]:
    return {"dynamodb": {"table": "orgs", how: attributes}}


BY_TENANT: dict[str, Any] = {"table": "app-notes", "index": "by-org", "key": {"org": "{tenant_id}#{organization_id}"}}


@pytest.mark.parametrize(
    ("rules", "templates"),
    [
        ({"s3": {"bucket": "app-files", "prefix": "{tenant_id}/{organization_id}/a/"}}, ["{tenant_id}/{own}/a/"]),
        ({"s3": {"bucket": "app-files", "key": "{tenant_id}/{organization_id}"}}, ["{tenant_id}/{own}"]),
        (in_orgs("key", pk="{organization_id}", sk="{tenant_id}"), ["{own}", "{tenant_id}"]),
        (in_orgs("key", pk="{tenant_id}", sk="O#{organization_id}"), ["{tenant_id}", "O#{own}"]),
        (in_orgs("scan", org="{organization_id}", tenant="{tenant_id}"), ["{own}", "{tenant_id}"]),
        ({"dynamodb": BY_TENANT, "action": {"detach": {"attribute": "orgs"}}}, ["{tenant_id}#{own}"]),
    ],
)
def test_organizations_have_data_of_their_own(rules: dict[str, Any], templates: list[str]) -> None:
    """Wherever a person's id may stand, an organization's may, in a target of organizations; in specs it is the
    subject, by a name that no limit has."""
    (spec,) = parse_data_map(of_organizations(**rules)).targets
    own = "{subject_organization_id}"
    assert spec.subjects == ("organization",)
    assert [template.source for template in spec.templates()] == [text.replace("{own}", own) for text in templates]
    assert spec.detach is None or spec.detach == DetachRule("orgs", own)
    assert spec.names() == {"tenant_id", "subject_organization_id"}
    assert TargetSpec.from_json(spec.to_json()) == spec


def test_what_items_of_an_organization_lead_to_is_its_own() -> None:
    """Children are of their parents' subjects, and identifiers are read for them."""
    document = of_organizations(dynamodb={"table": "orgs", "key": {"pk": "{tenant_id}#{organization_id}"}})
    document["targets"] += [
        {"name": "logos", "for_each": "theirs", "s3": {"bucket": "logos", "key": "{organization_id}/{theirs.logo}"}},
        {"name": "sites", "subjects": ["organization"], "dynamodb": {"table": "sites", "key": {"pk": "{domain}"}}},
    ]
    document["identifiers"] = {"domain": {"from": "theirs", "attribute": "domain"}}
    parsed = parse_data_map(document)
    assert parsed.targets[1].templates()[0].source == "{subject_organization_id}/{theirs.logo}"
    assert parsed.targets[1].for_each == parsed.targets[0] == parsed.identifiers[0].source


@pytest.mark.parametrize(
    ("subjects", "prefix", "rule"),
    [
        (["user"], "{tenant_id}/{organization_id}/", "must hold {user_id}"),
        (["group"], "{tenant_id}/{organization_id}/", "must hold {group_id}"),
        (["organization"], "{tenant_id}/{user_id}/", "must hold {organization_id}"),
        (["organization"], "{tenant_id}/{user_id}/{organization_id}/", "{user_id} is not a known placeholder"),
        (["organization"], "{tenant_id}/{organization_id}", "needs a separator"),
        (["organization"], "{tenant_id}/{subject_organization_id}/", "is not a known placeholder"),
        (["user"], "{user_id}/{subject_organization_id}/", "is not a known placeholder"),
    ],
)
def test_an_organization_is_the_subject_of_its_own_targets_only(subjects: list[str], prefix: str, rule: str) -> None:
    """A target of people or groups that names nothing but an organization is refused, and the other way round."""
    document = {"name": "files", "subjects": subjects, "s3": {"bucket": "app-files", "prefix": prefix}}
    found = problems({"version": 1, "targets": [document]})
    assert any(path == "targets[0].s3.prefix" and rule in text for path, text in found), found


@pytest.mark.parametrize(
    ("theirs", "of_users", "is_refused"),
    [
        ("{tenant_id}/{organization_id}/", "{tenant_id}/{user_id}/{organization_id}/", True),
        ("{tenant_id}/{organization_id}/", "{tenant_id}/{user_id}/", True),
        ("{tenant_id}/o/{organization_id}/", "{tenant_id}/{user_id}/{organization_id}/", True),
        ("{tenant_id}/{organization_id}/o/", "{tenant_id}/{user_id}/", True),
        ("{tenant_id}/o/{organization_id}/", "{tenant_id}/{user_id}/", False),
        ("o/{tenant_id}/{organization_id}/", "u/{tenant_id}/{user_id}/{organization_id}/", False),
    ],
)
def test_what_is_beside_an_organizations_data_is_compared(theirs: str, of_users: str, is_refused: bool) -> None:
    """A place that an organization shares with people is refused where a group's would be, limits and all."""
    found = []
    for kind in ("organization", "group"):
        inner = {"bucket": "app-files", "prefix": theirs.replace("organization", kind)}
        targets = [
            {"name": "theirs", "subjects": [kind], "s3": inner},
            {"name": "users", "s3": {"bucket": "app-files", "prefix": of_users}},
        ]
        document = {"version": 1, "targets": targets}
        found.append(problems(document) if is_refused else list(parse_data_map(document).warnings))
    assert found[0] == found[1]


def test_whoever_is_called_like_the_folder_of_organizations_is_warned_of() -> None:
    """The warning names placeholders as the document has them."""
    document = of_organizations(s3={"bucket": "app-files", "prefix": "{tenant_id}/o/{organization_id}/"})
    document["targets"].append({"name": "files", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}})
    ((path, text),) = parse_data_map(document).warnings
    assert (path, "if a {user_id} is called o" in text) == ("targets[0]", True)
    document["targets"][1]["s3"]["prefix"] = "{user_id}/{tenant_id}/"
    assert not any("subject_organization_id" in text for _, text in parse_data_map(document).warnings)


ELSEWHERE = "{tenant_id}/{user_id}/"


@pytest.mark.parametrize(
    ("path", "value", "where", "rule"),
    [
        ("targets.0.subjects", [], "targets[0].subjects", "at least 1"),
        ("targets.0.subjects", ["user", "group"], "targets[0].subjects", "at most 1"),
        ("targets.0.subjects", ["robot"], "targets[0].subjects[0]", "'user', 'group' or 'organization'"),
        ("targets.0.subjects", "user", "targets[0].subjects", "valid list"),
        ("targets.0.subjects", ["group"], "targets[0].dynamodb.key.mention", "{user_id} is not a known placeholder"),
        ("targets.3.subjects", ..., "targets[3].s3.prefix", "{group_id} is not a known placeholder"),
        ("targets.3.s3.prefix", "{tenant_id}/groups/", "targets[3].s3.prefix", "must hold {group_id}"),
        ("targets.0.action", "redact", "targets[0].action", "delete"),
        ("targets.0.action", {}, "targets[0].action.detach", "required"),
        ("targets.0.action", {"detach": {}}, "targets[0].action.detach.attribute", "required"),
        ("targets.0.action.detach.attribute", "", "targets[0].action.detach.attribute", "at least 1"),
        ("targets.0.action.detach.from", "x", "targets[0].action.detach.from", "not a known key"),
        ("targets.0.action.detach.value", "", "targets[0].action.detach.value", "at least 1"),
        ("targets.0.action.detach.key", "", "targets[0].action.detach.key", "at least 1"),
        ("targets.0.action.detach", {"attribute": "mention", "key": "id"}, "targets[0].action.detach.key", "of maps"),
        ("targets.0.action.detach.value", "everyone", "targets[0].action.detach.value", "must hold {user_id}"),
        ("targets.0.action.detach.value", "{tenant_id}", "targets[0].action.detach.value", "must hold {user_id}"),
        ("targets.0.action.detach.value", "{user_id", "targets[0].action.detach.value", "braces"),
        (
            "targets.0.action.detach.value",
            "{organization_id}#{user_id}",
            "targets[0].action.detach.value",
            "{organization_id} is not a known",
        ),
        ("targets.0.dynamodb.index", ..., "targets[0].action", "needs a dynamodb rule with an index"),
        ("targets.1.action", {"detach": {"attribute": "x"}}, "targets[1].action", "needs a dynamodb rule"),
        ("targets.1.s3", {"bucket": "app-spaces", "key": "{user_id}/{organization_id}"}, "targets[1].s3.key", "prefix"),
        ("targets.1.s3.prefix", "{organization_id}/{user_id}/", "targets[1].s3.prefix", "behind {organization_id}"),
        ("targets.1.s3.prefix", ELSEWHERE + "{organization_id}/drafts/", "targets[1].s3.prefix", "behind"),
        ("targets.1.s3.prefix", ELSEWHERE + "{organization_id}/{organization_id}/", "targets[1].s3.prefix", "behind"),
        ("targets.1.s3.prefix", ELSEWHERE + "org-{organization_id}/", "targets[1].s3.prefix", "before it"),
        ("targets.1.s3.prefix", ELSEWHERE + "{organization_id}", "targets[1].s3.prefix", "needs a separator"),
        (
            "targets.2.dynamodb.key",
            {"pk": "{organization_id}#{user_id}"},
            "targets[2].dynamodb.key.pk",
            "sort key only",
        ),
        (
            "targets.2.dynamodb.key",
            {"pk": "{tenant_id}", "sk": "{user_id}#{organization_id}"},
            "targets[2].dynamodb.key.sk",
            "needs {user_id} in the partition key",
        ),
        (
            "targets.2.dynamodb.key",
            {"pk": "{user_id}", "sk": "{tenant_id}-/{organization_id}"},
            "targets[2].dynamodb.key.sk",
            "must begin with one of",
        ),
        ("targets.2.dynamodb.key.sk.prefix", "S{organization_id}#", "targets[2].dynamodb.key.sk", "before it"),
        ("families", ["h2o"], "families", "valid dictionary"),
        ("families.h2o", "content", "families.h2o", "'all'"),
        ("families.h2o", [], "families.h2o", "at least 1"),
        ("families.h2o", ["all"], "families.h2o[0]", "'account'"),
        ("families.h2p", "all", "families.h2p", "'h2o'"),
    ],
)
def test_problems_of_wider_maps_name_path_and_rule(path: str, value: Any, where: str, rule: str) -> None:
    """A broken rule about groups, organizations, detaching and families is told with the path of what breaks it."""
    assert parse_data_map(WIDE)
    found = problems(changed(path, value, of=WIDE))
    assert found[0][0] == where
    assert rule in found[0][1]


@pytest.mark.parametrize(
    "key",
    [
        {"pk": "{tenant_id}#{user_id}", "sk": "{organization_id}"},
        {"pk": "{tenant_id}#{user_id}", "sk": "SPACE#{organization_id}"},
        {"pk": "{tenant_id}#{user_id}", "sk": "SPACE#{organization_id}#"},
        {"pk": "{tenant_id}#{user_id}", "sk": {"prefix": "{organization_id}#"}},
    ],
)
def test_organizations_may_end_a_sort_key(key: dict[str, Any]) -> None:
    """A sort key may name the organization at its end, whole or as a prefix."""
    assert parse_data_map(changed("targets.2.dynamodb.key", key, of=WIDE))


NOTES = {"table": "app-notes", "index": "by-mention", "key": {"mention": "{tenant_id}#{user_id}"}}


@pytest.mark.parametrize(
    "more",
    [
        {"dynamodb": NOTES},
        {"dynamodb": NOTES, "action": {"detach": {"attribute": "assigned"}}},
        {"dynamodb": {**NOTES, "key": {"mention": "{tenant_id}#{user_id}", "kind": {"prefix": "NO"}}}},
    ],
    ids=["deleted", "detached twice", "part of them deleted"],
)
def test_what_is_detached_is_no_other_targets(more: dict[str, Any]) -> None:
    """Nothing may be found in one index both by a target that detaches and by another: one would delete what belongs
    to others, or miss what has left the index."""
    document = changed("targets.3", {"name": "more", **more}, of=WIDE)
    found = problems(document)
    assert {path for path, _ in found} <= {"targets[0]", "targets[3]"}
    assert all("one of them detaches" in rule for _, rule in found)


def test_other_kinds_of_one_index_may_be_deleted() -> None:
    """In one index, what is detached and what is deleted may stand side by side under different sort keys."""
    key = {"mention": "{tenant_id}#{user_id}", "kind": "OWN"}
    assert parse_data_map(changed("targets.3", {"name": "own", "dynamodb": {**NOTES, "key": key}}, of=WIDE))


@pytest.mark.parametrize(
    ("index", "key"),
    [
        ("by-author", {"author": "{tenant_id}#{user_id}", "mention": "x"}),
        ("by-member", {"mentioned": "{tenant_id}#{user_id}"}),
        ("by-group", {"mention": "{tenant_id}#{user_id}"}),
    ],
)
def test_detaching_hides_nothing_from_other_targets(index: str, key: dict[str, Any]) -> None:
    """No target may find its items by an attribute that another one takes away: it would take them for gone."""
    own = {"name": "own", "dynamodb": {"table": "app-notes", "index": index, "key": key}}
    ((where, rule),) = problems(changed("targets.3", own, of=WIDE))
    assert where == "targets[0]"
    assert "by which targets[3] finds its items" in rule


def test_categories_are_kept_apart_for_all_organizations_too() -> None:
    """What a request for all organizations would erase is compared, not only what one for a single one would."""
    bills = {
        "name": "bills",
        "category": "record",
        "s3": {"bucket": "app-spaces", "prefix": "{tenant_id}/{user_id}/bills/"},
    }
    found = dict(problems(changed("targets.3", bills, of=WIDE)))
    assert "keeps under another category" in found["targets[1]"]


def test_groups_without_tenant_are_warned_of() -> None:
    """A target of groups that does not name the tenant is accepted and warned of, in words about groups."""
    ((where, rule),) = parse_data_map(changed("targets.3.s3.prefix", "groups/{group_id}/", of=WIDE)).warnings
    assert where == "targets[3]"
    assert "group ids are unique" in rule
