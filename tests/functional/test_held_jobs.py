"""Legal holds and jobs, through the real handlers on moto."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from erasure.domain.audit import broken_at
from erasure.domain.data_map import parse_data_map
from erasure.domain.outcome import ERASED
from erasure.domain.request import FINISHED, HELD, REQUESTED, STARTED
from erasure.domain.subject import Subject
from erasure.errors import HeldError
from erasure.services.hold_refusals import trail_of
from tests.functional.job_stack import DATA_MAP, JobStack, stack_on_moto
from tests.functional.job_stack import ERASED as COUNTS
from tests.functional.wire import Wire

pytestmark = pytest.mark.timeout(240)

ALL = {**COUNTS, "account": 1}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


class Desk:
    """The API of backends, and two people at a time who are erased in one job."""

    def __init__(self, stack: JobStack) -> None:
        self.stack = stack
        self.key = stack.api_key()

    def create(self, *users: str) -> list[str]:
        body = {"subjects": [{"type": "user", "id": user} for user in users]}
        status, answer = self.stack.ask(self.key, "POST", "/v1/erasure-requests", body)
        assert status == 202
        return [entry["request"]["id"] for entry in answer["requests"]]

    def hold(self, user: str, **fields: object) -> int:
        body = {"reason": "a lawsuit", "author": "legal", **fields}
        status, answer = self.stack.ask(self.key, "PUT", f"/v1/legal-holds/{user}", body)
        assert status == 201
        held: int = answer["held_requests"]
        return held

    def lift(self, user: str) -> None:
        assert self.stack.ask(self.key, "DELETE", f"/v1/legal-holds/{user}") == (204, None)

    def things(self, user: str) -> set[str]:
        names = (f'acme#{user}"', f'#USER#{user}"', f"acme/{user}/", f"avatars/acme/{user} ")
        return {thing for thing in self.stack.data() if any(name in thing for name in names)}

    def notes_of(self, user: str) -> dict[str, Any]:
        names = {":pk": {"S": f"acme#{user}"}}
        return {"TableName": "app-notes", "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": names}

    def check_erased(self, request_id: str, user: str) -> None:
        request = self.stack.request(request_id)
        assert (request.state, request.attention) == (FINISHED, False)
        assert self.things(user) == set()
        outcomes = self.stack.outcomes(request_id)
        assert {name: (outcome.outcome, outcome.count) for name, outcome in outcomes.items()} == {
            name: (ERASED, number) for name, number in ALL.items()
        }
        assert broken_at(self.stack.audit.entries(request_id)) is None


def test_a_hold_between_any_two_functions_of_a_job(stack: JobStack) -> None:
    """From then on the subject loses nothing more, while the other one in the job is erased; lifted, the subject is
    finished as well, with all that was erased before and after."""
    desk = Desk(stack)
    for moment in count(1):
        held, other = f"h{moment}x", f"o{moment}x"
        for user in (held, other):
            stack.put_data(Subject("acme", user))
        ids = desk.create(held, other)
        steps: list[set[str]] = []

        def between(_: str, held: str = held, steps: list[set[str]] = steps, moment: int = moment) -> None:
            steps.append(set())
            if len(steps) == moment:
                assert desk.hold(held) == 1
            if len(steps) >= moment:
                steps[-1] = desk.things(held)

        stack.work(between)
        desk.check_erased(ids[1], other)
        if len(steps) < moment:
            desk.check_erased(ids[0], held)
            break
        assert all(things == steps[moment - 1] for things in steps[moment:])
        assert desk.things(held) == steps[moment - 1]
        assert stack.request(ids[0]).state == HELD
        desk.lift(held)
        assert stack.request(ids[0]).state == REQUESTED
        stack.work()
        desk.check_erased(ids[0], held)
    assert moment > 3


def test_a_hold_at_any_call_of_planning(stack: JobStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put while a job claims the subject's request, a hold keeps all of the subject's things; the other one in the job
    is erased."""
    desk, wire = Desk(stack), Wire(monkeypatch)
    for moment in count(1, 3):
        held = f"h{moment}x"
        users = (held, f"o{moment}x")
        for user in users:
            note = {"pk": {"S": f"acme#{user}"}, "sk": {"S": "1"}}
            stack.dynamodb.put_item(TableName="app-notes", Item=note)
        ids = desk.create(*users)
        job = {"job_id": f"{ids[0]}-1", "request_ids": ids, "attempt": 1}
        calls = [0]

        def after(_: object, held: str = held, calls: list[int] = calls, moment: int = moment) -> None:
            calls[0] += 1
            if calls[0] == moment:
                desk.hold(held)

        def planned(_: str) -> None:
            wire.after = lambda _: None

        wire.after = after
        stack.run_job(job, planned)
        states = [stack.request(request_id).state for request_id in ids]
        left = [bool(stack.dynamodb.query(**desk.notes_of(user))["Items"]) for user in users]
        if calls[0] < moment:
            assert (states, left) == ([FINISHED, FINISHED], [False, False])
            break
        assert (states, left) == ([HELD, FINISHED], [True, False])
    assert moment > 12


def test_somebody_with_another_id_is_held_by_a_further_one(stack: JobStack) -> None:
    """A hold that names an address keeps the one who has it: found when their request is planned, before anything of
    them is erased, or before the next slice if it is put later; and it is found again when the hold is lifted."""
    mails = {"name": "mails", "category": "content", "dynamodb": {"table": "app-mails", "key": {"pk": "{email}"}}}
    document = {
        **DATA_MAP,
        "targets": [*DATA_MAP["targets"], mails],
        "identifiers": {"email": {"from": "account", "attribute": "email"}},
    }
    stack.maps.put(parse_data_map(document), datetime.now(UTC))
    stack.create_table("app-mails", ("pk", "sk"))
    desk = Desk(stack)
    for user in ("ann", "bob"):
        stack.put_data(Subject("acme", user))
        key = {"pk": {"S": f"TENANT#acme#USER#{user}"}, "sk": {"S": "PROFILE"}}
        stack.dynamodb.put_item(TableName="app-accounts", Item={**key, "email": {"S": f"{user}@example.com"}})
    before = {user: desk.things(user) for user in ("ann", "bob")}
    assert desk.hold("somebody", aliases=["ann@example.com"]) == 0
    ids = dict(zip(("ann", "bob"), desk.create("ann", "bob"), strict=True))

    def hold_bob(state: str) -> None:
        if state == "Plan":
            # The request knows the address by now, and is in no index by it.
            assert desk.hold("someone", aliases=["bob@example.com"]) == 0

    stack.work(hold_bob)
    assert {user: desk.things(user) for user in ("ann", "bob")} == before
    assert stack.request(ids["ann"]).state == HELD
    assert (stack.request(ids["bob"]).state, stack.request(ids["bob"]).attention) == (STARTED, True)
    desk.lift("somebody")
    assert stack.request(ids["ann"]).state == REQUESTED
    stack.work()
    assert stack.request(ids["ann"]).state == FINISHED
    assert desk.things("ann") == set()
    assert desk.things("bob") == before["bob"]


def test_one_who_is_held_gets_no_delete_id(stack: JobStack) -> None:
    """Step one of a self-deletion is refused before anything is written, and the refusal is on the hold's trail."""
    desk, ann = Desk(stack), Subject("acme", "ann")
    stack.put_data(ann)
    service = stack.service()
    issued = service.issue_delete_id(ann)
    desk.hold("ann")
    with pytest.raises(HeldError, match="legal hold"):
        service.issue_delete_id(ann)
    assert len(stack.items("DeleteIds")) == 1
    (hold,) = stack.holds.list("acme", after=None, limit=10)
    trail = stack.audit.entries(trail_of(hold.subject_digest))
    assert [entry.event for entry in trail] == ["hold_set", "refused"]
    assert trail[-1].details == {"hold_id": hold.hold_id, "family": "h2o"}
    # Issued a moment before the hold was put.
    request_id = service.confirm(ann, issued.delete_id)
    before = stack.data()
    stack.work()
    assert stack.data() == before
    view = service.wait(ann, request_id, 60)
    assert view.state == HELD
    assert "ann" not in str(stack.items("Audit")) + str(
        [item for item in stack.items("Registry") if item["pk"]["S"].startswith("H")]
    )
