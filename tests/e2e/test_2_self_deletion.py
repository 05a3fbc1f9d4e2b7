"""A person erases their data through the API of the deployed stack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from erasure.domain.audit import broken_at
from local.inventory import compare, take_snapshot
from local.sample import Person
from local.stack import Stack
from tests.e2e.calls import Caller, audit_of, request_of, state_transitions

pytestmark = pytest.mark.stack

ODD_PEOPLE = [
    Person("acme", "1"),
    Person("acme", "an"),
    Person("acme", "x#y"),
    Person("acme", "*"),
    Person("acme", "{user_id}"),
    Person("acme", "50%"),
    Person("acme", "👩"),
    Person("acme", "jos\u00e9"),
    Person("acme-labs", "ann"),
    Person("globex", "a+b"),
]


@pytest.mark.parametrize("person", ODD_PEOPLE, ids=str)
def test_person_is_erased_and_nobody_else(stack: Stack, person: Person) -> None:
    """Whatever the id looks like: nothing of the person is left, everybody else's data is byte for byte the same."""
    before = take_snapshot(stack)
    assert before.of(person, {"content"})
    request_id = Caller(stack, person).erase()
    result = compare(before, take_snapshot(stack), person)
    assert not result.left
    assert not result.changed
    outcomes = request_of(stack, request_id).outcomes
    assert sum(outcome.count for outcome in outcomes) == result.erased
    assert {outcome.category for outcome in outcomes} == {"content", "preference"}


def test_state_transitions_and_trail_of_a_usual_erasure(stack: Stack) -> None:
    """Six targets of two kinds: seven states are entered, and the audit trail is whole."""
    request_id = Caller(stack, Person("globex", "11")).erase()
    assert state_transitions(stack, request_id) == 7
    entries = audit_of(stack).entries(request_id)
    assert [entry.event for entry in entries] == ["requested", "planned", "finished"]
    assert broken_at(entries) is None


def test_person_without_data_is_told_so(stack: Stack) -> None:
    """Nothing anywhere: finished, and every target says already_absent rather than erased."""
    request_id = Caller(stack, Person("globex", "nobody-ever")).erase()
    assert {outcome.outcome for outcome in request_of(stack, request_id).outcomes} == {"already_absent"}


def test_two_confirmations_at_the_same_moment(stack: Stack) -> None:
    """One delete id, two confirmations side by side: exactly one is accepted, the other is a plain 400."""
    person = Person("globex", "anna")
    delete_id = Caller(stack, person).request_deletion()
    callers = [Caller(stack, person) for _ in range(4)]
    with ThreadPoolExecutor(len(callers)) as pool:
        answers = list(pool.map(lambda caller: caller.confirm(delete_id), callers))
    assert sorted(answer.status_code for answer in answers)[1:] == [400, 400, 400]
    assert sum(answer.status_code in (202, 204) for answer in answers) == 1


def test_delete_ids_are_bound_to_their_person(stack: Stack) -> None:
    """Another person's id, the same user id in another tenant, a used and an unknown id: one and the same answer."""
    owner, other, namesake = Person("globex", "1"), Person("globex", "0"), Person("acme-labs", "1")
    delete_id = Caller(stack, owner).request_deletion()
    answers = [Caller(stack, person).confirm(delete_id) for person in (other, namesake)]
    answers += [Caller(stack, owner).confirm(bad) for bad in ("unknown", "", 7, None, ["x"])]
    assert Caller(stack, owner).confirm(delete_id).status_code == 204
    answers.append(Caller(stack, owner).confirm(delete_id))
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.text for answer in answers}) == 1


def test_unsafe_identifier_is_refused_before_anything_happens(stack: Stack) -> None:
    """An id with a slash could reach into a neighbour's prefix: step one refuses it, and says why without naming it."""
    http = httpx.Client(base_url=stack.api_url, timeout=30)
    from local.tokens import token

    bearer = {"Authorization": f"Bearer {token('team/ops', 'acme', stack=stack)}"}
    answer = http.delete("/users/current", headers=bearer)
    assert answer.status_code == 400
    assert "user id" in answer.json()["message"]
    assert "team/ops" not in answer.text


def test_gateway_answers_in_the_envelope(stack: Stack) -> None:
    """A route that does not exist, and one without a token: JSON with a message and an integer code."""
    http = httpx.Client(base_url=stack.api_url, timeout=30)
    for answer in (http.get("/no/such/route"), http.delete("/users/current")):
        assert answer.status_code in (401, 403, 404)
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.json()["message"]
        assert isinstance(answer.json()["code"], int)
