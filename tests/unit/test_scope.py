"""A request limited to organizations reaches what is in these; one without a limit, what is in all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from erasure.domain.scope import in_scope, value_sets
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DetachRule, DynamoDBRule, KeyRule, S3Rule, TargetSpec

ANN = Subject("acme", "ann")
WHOSE = KeyRule("pk", "{tenant_id}#{user_id}")


def files(prefix: str) -> TargetSpec:
    return TargetSpec("files", "content", s3=S3Rule("files", prefix))


def notes(sort: KeyRule | None, detach: DetachRule | None = None) -> TargetSpec:
    return TargetSpec("notes", "content", dynamodb=DynamoDBRule("notes", WHOSE, sort, "by-user"), detach=detach)


@pytest.mark.parametrize(
    ("spec", "for_all"),
    [
        (files("{tenant_id}/{user_id}/{organization_id}/"), files("{tenant_id}/{user_id}/")),
        (files("{tenant_id}/{user_id}#in/{organization_id}#"), files("{tenant_id}/{user_id}#in/")),
        (notes(KeyRule("sk", "{organization_id}")), notes(None)),
        (notes(KeyRule("sk", "{organization_id}#", prefix=True)), notes(None)),
        (notes(KeyRule("sk", "IN#{organization_id}")), notes(KeyRule("sk", "IN#", prefix=True))),
        (notes(KeyRule("sk", "IN#{organization_id}#", prefix=True)), notes(KeyRule("sk", "IN#", prefix=True))),
        (notes(KeyRule("sk", "{organization_id}"), DetachRule("ids")), notes(None, DetachRule("ids"))),
    ],
)
def test_without_a_limit_the_rule_ends_before_the_organization(spec: TargetSpec, for_all: TargetSpec) -> None:
    """The rule is cut off where it begins to speak of the organization, and rendered once, without one."""
    assert in_scope(spec, ()) == for_all
    assert value_sets(ANN, (), for_all) == [{"tenant_id": "acme", "user_id": "ann"}]


def test_with_a_limit_the_rule_stands_for_each_organization() -> None:
    """The rule stays as it is and is rendered once for each organization."""
    spec = files("{tenant_id}/{user_id}/{organization_id}/")
    assert in_scope(spec, ("north", "south")) == spec
    rendered = [spec.templates()[0].render(values) for values in value_sets(ANN, ("north", "south"), spec)]
    assert rendered == ["acme/ann/north/", "acme/ann/south/"]


def test_an_organization_itself_is_not_limited() -> None:
    """Its targets stay whole, are rendered for it alone, and for no request that is limited to organizations."""
    north = Subject("acme", "north", "organization")
    spec = replace(files("{tenant_id}/{subject_organization_id}/"), subjects=("organization",))
    assert in_scope(spec, ()) == spec
    (own,) = value_sets(north, (), spec)
    assert spec.templates()[0].render(own) == "acme/north/"
    assert in_scope(spec, ("north",)) is None


def test_a_limit_leaves_out_what_is_in_no_organization() -> None:
    """A target that does not name the organization would reach beyond the limit."""
    assert in_scope(files("{tenant_id}/{user_id}/"), ("north",)) is None
    assert in_scope(files("{tenant_id}/{user_id}/"), ()) == files("{tenant_id}/{user_id}/")
