"""Rules of age in the data map: which targets may have one, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.domain.permissions import ERASE, VERIFY, Place, grants
from erasure.domain.retention_runs import rule_digest
from erasure.domain.target_spec import AgeRule, TargetSpec
from erasure.errors import DataMapError
from erasure.ports import PinnedMap
from erasure.services.map_diff import differences

SESSIONS: dict[str, Any] = {
    "name": "sessions",
    "category": "session",
    "dynamodb": {"table": "app-data", "key": {"pk": "U#{user_id}", "sk": {"prefix": "SESSION#"}}},
}
ORDERS: dict[str, Any] = {
    "name": "orders",
    "category": "record",
    "dynamodb": {"table": "app-data", "key": {"pk": "U#{user_id}", "sk": {"prefix": "ORDER#"}}},
}
UPLOADS: dict[str, Any] = {
    "name": "uploads",
    "category": "content",
    "s3": {"bucket": "app-uploads", "prefix": "{tenant_id}/{user_id}/"},
}
RULE: dict[str, Any] = {"target": "sessions", "older_than": "30d", "attribute": "last_seen_at"}


def document(*targets: dict[str, Any], rules: Any = (RULE,), **more: Any) -> dict[str, Any]:
    return {"version": 1, "targets": list(targets or (SESSIONS, ORDERS, UPLOADS)), "retention": list(rules), **more}


def problems(*targets: dict[str, Any], rules: Any = (RULE,), **more: Any) -> list[tuple[str, str]]:
    with pytest.raises(DataMapError) as caught:
        parse_data_map(document(*targets, rules=rules, **more))
    return caught.value.problems


def spec_of(data_map: DataMap, name: str) -> TargetSpec:
    return next(spec for spec in data_map.targets if spec.name == name)


def test_a_rule_stands_with_its_target() -> None:
    """Rules become part of their targets; the other targets have none; all survive the text form of the map."""
    rules = [RULE, {"target": "uploads", "older_than": "1y", "mode": "report"}]
    data_map = parse_data_map(document(rules=rules))
    assert [spec.retention for spec in data_map.targets] == [
        AgeRule("30d", "last_seen_at"),
        None,
        AgeRule("1y", only_report=True),
    ]
    assert [TargetSpec.from_json(spec.to_json()) for spec in data_map.targets] == list(data_map.targets)
    assert not any(spec.is_scan or spec.goes_by_age for spec in data_map.targets)


def test_a_map_without_rules_is_what_it_was() -> None:
    """No rules, and an empty list of them, mean the same targets."""
    targets = {"version": 1, "targets": [SESSIONS, ORDERS, UPLOADS]}
    assert parse_data_map(targets).targets == parse_data_map({**targets, "retention": []}).targets


LINKED = {
    "name": "attachments",
    "for_each": "sessions",
    "s3": {"bucket": "app-uploads", "key": "{sessions.file}"},
}
BY_INDEX = {
    "name": "by-owner",
    "category": "content",
    "dynamodb": {"table": "app-data", "index": "by-owner", "key": {"owner": "{user_id}"}},
}


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        ({"target": "session"}, "retention[0].target", "not the name of a target"),
        ({"older_than": "30"}, "retention[0].older_than", "pattern"),
        ({"older_than": "0d"}, "retention[0].older_than", "pattern"),
        ({"older_than": 30}, "retention[0].older_than", "string"),
        ({"mode": "delete"}, "retention[0].mode", "'erase' or 'report'"),
        ({"attribute": None}, "retention[0].attribute", "is missing"),
        ({"target": "uploads"}, "retention[0].attribute", "as old as its last change"),
        ({"basis": "law"}, "retention[0].basis", "not a known key"),
    ],
)
def test_problems_of_a_rule(rule: dict[str, Any], path: str, text: str) -> None:
    """Each rule that is broken is named with its path."""
    found = problems(rules=[{**RULE, **rule}])
    assert found[0][0] == path
    assert text in found[0][1]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({"action": {"redact": {"last_seen_at": "null"}}}, "is redacted"),
        ({"retain": {"basis": "law", "for": "1y", "from": "at"}, "category": "record"}, "kept by the law"),
        (
            {
                "action": {"detach": {"attribute": "members"}},
                "dynamodb": {"table": "app-data", "index": "by-member", "key": {"member": "{user_id}"}},
            },
            "detaches",
        ),
    ],
)
def test_targets_that_may_have_no_rule(target: dict[str, Any], text: str) -> None:
    """What detaches, or is kept by the law, or loses what tells its age, cannot go by it."""
    (_, found), *_ = problems({**SESSIONS, **target})
    assert text in found


def test_what_leads_to_others_may_not_go_before_them() -> None:
    """Neither a target whose items lead on, nor one that is led to, nor one that identifiers are read from."""
    leads = [SESSIONS, LINKED]
    assert problems(*leads) == [
        ("retention[0].target", "is one whose items tell where others' things are: they may not go before these")
    ]
    led = problems(*leads, rules=[{"target": "attachments", "older_than": "30d"}])
    assert "goes with these" in led[0][1]
    identifiers = {"email": {"from": "sessions", "attribute": "email"}}
    mails = {"name": "mails", "s3": {"bucket": "app-mails", "prefix": "{email}/"}, "category": "session"}
    assert "tell where others' things are" in problems(SESSIONS, mails, identifiers=identifiers)[0][1]


def test_a_rule_needs_a_target_that_names_its_subject() -> None:
    """By a further identifier alone, a target may be told for one person, but not for everybody."""
    mails = {"name": "mails", "category": "content", "s3": {"bucket": "app-mails", "prefix": "{email}/"}}
    identifiers = {"email": {"from": "orders", "attribute": "email"}}
    found = problems(ORDERS, mails, rules=[{"target": "mails", "older_than": "1y"}], identifiers=identifiers)
    assert found[0][0] == "retention[0].target"
    assert "must name its subject by {user_id}" in found[0][1]


def test_what_meets_another_target_may_have_no_rule() -> None:
    """A target within whose keys another one lies, whatever that does: a rule would take its items along."""
    everything = {
        "name": "everything",
        "category": "session",
        "dynamodb": {"table": "app-data", "key": {"pk": "U#{user_id}"}},
    }
    found = problems(SESSIONS, everything, rules=[{**RULE, "target": "everything"}])
    assert "matches what targets[0] matches too" in found[0][1]
    assert "matches what targets[1] matches too" in problems(SESSIONS, everything)[0][1]


def test_what_nobody_can_compare_may_have_no_rule() -> None:
    """Found in another way, and of another category or needed by others: nobody can tell whether it takes those."""
    assert "nobody can tell whether its items are those of targets[1]" in problems(SESSIONS, BY_INDEX)[0][1]
    same = {**BY_INDEX, "category": "session"}
    assert parse_data_map(document(SESSIONS, same)).targets[0].retention is not None
    linked = {**LINKED, "for_each": "by-owner", "s3": {"bucket": "app-uploads", "key": "{by-owner.file}"}}
    assert "they may not go before these" in problems(SESSIONS, same, linked)[0][1]


def test_one_rule_for_each_target() -> None:
    """Two rules of one target would say two things."""
    assert problems(rules=[RULE, {**RULE, "older_than": "1y"}]) == [
        ("retention[1].target", "has a rule already: retention[0]")
    ]


def test_a_rule_is_another_one_when_anything_about_it_changes() -> None:
    """Period, attribute, mode, the target itself or what lies beside it: another digest, and another map."""

    def digests(*targets: dict[str, Any], rule: dict[str, Any] = RULE) -> tuple[str, str]:
        data_map = parse_data_map(document(*targets, rules=[rule]))
        return rule_digest(spec_of(data_map, "sessions"), data_map.targets), data_map.digest

    variants = [
        digests(SESSIONS),
        digests(SESSIONS, rule={**RULE, "older_than": "31d"}),
        digests(SESSIONS, rule={**RULE, "attribute": "created_at"}),
        digests(SESSIONS, rule={**RULE, "mode": "report"}),
        digests({**SESSIONS, "category": "content"}),
        digests({**SESSIONS, "action": {"redact": {"ip": "remove"}}}),
    ]
    assert len({digest for digest, _ in variants}) == len(variants)
    assert len({digest for _, digest in variants}) == len(variants)
    assert digests(SESSIONS, UPLOADS)[0] == digests(SESSIONS)[0]


def test_a_new_neighbour_makes_another_rule() -> None:
    """What may be another target's too is left alone, so a target that comes beside it changes what the rule takes."""
    archive = {
        **UPLOADS,
        "name": "archive",
        "s3": {"bucket": "app-uploads", "prefix": "{tenant_id}/archive/{user_id}/"},
    }

    def digest(*targets: dict[str, Any]) -> str:
        data_map = parse_data_map(document(*targets, rules=[{"target": "uploads", "older_than": "1y"}]))
        return rule_digest(spec_of(data_map, "uploads"), data_map.targets)

    assert digest(UPLOADS, archive) != digest(UPLOADS)


def test_a_keyed_target_with_a_rule_has_to_be_scanned() -> None:
    """Eraser and verifier both read the whole table; a bucket's listing needs nothing more."""
    data_map = parse_data_map(document(rules=[RULE, {"target": "uploads", "older_than": "1y"}]))
    place = Place("aws", "eu-west-1", "123456789012")
    for purpose in (ERASE, VERIFY):
        assert "dynamodb:Scan" in grants(spec_of(data_map, "sessions"), purpose, place)[0].actions
        assert "dynamodb:Scan" not in grants(spec_of(data_map, "orders"), purpose, place)[0].actions
        uploads = spec_of(data_map, "uploads")
        assert grants(uploads, purpose, place) == grants(parse_data_map(document()).targets[2], purpose, place)


def test_a_difference_in_rules_is_told() -> None:
    """A rule that is new, another one or gone: what that means for data."""
    with_rule, without = parse_data_map(document()), parse_data_map(document(rules=[]))
    pinned = PinnedMap(1, without.digest, without.targets)
    assert [found.text for found in differences(pinned, with_rule)] == [
        "what is older than 30d since the moment in last_seen_at goes, whosever it is, after a report by the new rule"
    ]
    back = differences(PinnedMap(1, with_rule.digest, with_rule.targets), without)
    assert [(found.what, found.text) for found in back] == [
        ("target sessions", "nothing of it goes because it is old any more")
    ]
    only = parse_data_map(document(rules=[{"target": "uploads", "older_than": "1y", "mode": "report"}]))
    told = [found.text for found in differences(None, only) if found.what == "target uploads"]
    assert told[1] == "what is older than 1y since they were written is counted, whosever it is, and stays"
