"""A person deletes themselves, with a token. Only the clients do that: see ``HAVE``."""

from __future__ import annotations

from hands import PersonHands

from erasure_client import InvalidRequestError


def test_a_person_deletes_themselves(person: PersonHands) -> None:
    """Two steps, and it is gone: content and preferences, and nothing of the account. The delete id is used up."""
    delete_id = person.ask()
    done = person.confirm(delete_id)
    assert done.is_complete
    erased = {target.name: target.count for target in done.targets if target.count}
    assert erased == {
        target.name: person.world.things[target.name] for target in done.targets if target.name in person.world.things
    }
    assert "documents" in erased
    assert "accounts" not in erased
    assert person.look(done.request_id).is_finished
    with person.refused(InvalidRequestError, exit_code=1):
        person.confirm(delete_id)


def test_nobody_is_deleted_by_a_guess(person: PersonHands) -> None:
    """A delete id that was not given to this person deletes nobody."""
    with person.refused(InvalidRequestError, exit_code=1):
        person.confirm("a guess that is as long as a real delete id is")
