"""From requests and a data map to units."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from erasure.domain.plan import FAILED, PENDING, UNIT_SIZE, VERIFIED, plan_units, targets_for
from erasure.domain.request import ErasureRequest
from erasure.domain.subject import Subject
from erasure.domain.target_spec import DynamoDBRule, KeyRule, S3Rule, TargetSpec

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def a_request(number: int = 1, user_id: str = "ann", family: str = "h2o") -> ErasureRequest:
    return ErasureRequest(f"er_{number}", Subject("acme", user_id), "digest", family, NOW, NOW, NOW)


def in_table(name: str, category: str = "content", template: str = "{tenant_id}#{user_id}") -> TargetSpec:
    return TargetSpec(name, category, dynamodb=DynamoDBRule("app-notes", KeyRule("pk", template)))


def in_bucket(name: str, category: str = "content") -> TargetSpec:
    return TargetSpec(name, category, s3=S3Rule("app-files", prefix="{tenant_id}/{user_id}/"))


def test_units_hold_one_kind_and_at_most_their_size() -> None:
    """Tasks are grouped by kind, in the map's order, in units of bounded size, each exactly once."""
    targets = [spec for number in range(UNIT_SIZE + 3) for spec in (in_bucket(f"b{number}"), in_table(f"t{number}"))]
    units = plan_units("job-1", [a_request()], targets)
    assert [(unit.name, unit.kind, len(unit.tasks)) for unit in units] == [
        ("dynamodb-00", "dynamodb", UNIT_SIZE),
        ("dynamodb-01", "dynamodb", 3),
        ("s3-00", "s3", UNIT_SIZE),
        ("s3-01", "s3", 3),
    ]
    tasks = [task for unit in units for task in unit.tasks]
    assert sorted(task.spec.name for task in tasks) == sorted(spec.name for spec in targets)
    assert len({(task.unit, task.number) for task in tasks}) == len(tasks)
    assert {task.job_id for task in tasks} == {"job-1"}
    assert all(task.spec.kind == unit.kind and task.unit == unit.name for unit in units for task in unit.tasks)


def test_planning_twice_gives_the_same() -> None:
    """The plan depends on nothing but its inputs."""
    inputs = ("job-1", [a_request(1), a_request(2)], [in_bucket("b"), in_table("t"), in_table("u")])
    assert plan_units(*inputs) == plan_units(*inputs)


def test_every_request_gets_every_target() -> None:
    """Several requests of one job each get all targets of their own."""
    units = plan_units("job-1", [a_request(1), a_request(2)], [in_bucket("b"), in_table("t")])
    covered = {(part.request_id, task.spec.name) for unit in units for task in unit.tasks for part in task.parts}
    assert covered == {("er_1", "b"), ("er_1", "t"), ("er_2", "b"), ("er_2", "t")}


def test_a_target_that_cannot_be_rendered_is_a_failed_part() -> None:
    """A target that would be ambiguous for a subject shows as failed, for that subject only."""
    ambiguous = in_table("t", template="{user_id}#X")
    (unit,) = plan_units("job-1", [a_request(1, "a#b"), a_request(2)], [ambiguous])
    (task,) = unit.tasks
    assert [(part.request_id, part.status, part.reason) for part in task.parts] == [
        ("er_1", FAILED, "ambiguous_identifier"),
        ("er_2", PENDING, None),
    ]


@pytest.mark.parametrize(
    "category", ["account", "session", "credential", "membership", "content", "preference", "record"]
)
def test_the_family_decides_what_is_covered(category: str) -> None:
    """H2O's self-deletion covers content and preferences, and keeps everything else."""
    covered = targets_for(a_request(), [in_table("t", category)])
    assert bool(covered) is (category in ("content", "preference"))


def test_unknown_families_are_not_planned() -> None:
    """A family without a rule is an error, not "everything" and not "nothing"."""
    with pytest.raises(KeyError):
        plan_units("job-1", [a_request(family="unheard-of")], [in_table("t")])


@pytest.mark.parametrize(
    ("identifiers", "status", "reason"), [({"email": ()}, VERIFIED, None), ({}, FAILED, "missing_value")]
)
def test_what_nobody_could_read_is_not_absent(
    identifiers: dict[str, tuple[str, ...]], status: str, reason: str | None
) -> None:
    """Who was seen to have no value has nothing there; of whom nobody could tell, the target fails."""
    request = replace(a_request(), identifiers=identifiers)
    ((task,),) = (
        unit.tasks for unit in plan_units("j", [request], [in_table("mails", template="{email}")], optional=["email"])
    )
    (part,) = task.parts
    assert (part.status, part.reason) == (status, reason)


def test_what_leads_to_others_things_leads_to_nothing() -> None:
    """Items that would also be somebody else's are not followed: all that they lead to fails with them."""
    documents, archive = in_table("documents"), in_table("archive", template="{tenant_id}#archive#{user_id}")
    photos = replace(in_bucket("photos"), s3=S3Rule("b", prefix="{tenant_id}/{documents.id}/"), for_each=documents)
    request = a_request(user_id="archive#bob")
    parts = {
        task.spec.name: task.parts[0].reason
        for unit in plan_units("j", [request], [documents, photos, archive])
        for task in unit.tasks
    }
    assert parts["documents"] == parts["photos"] == "ambiguous_identifier"
