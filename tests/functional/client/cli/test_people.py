"""``erasure hold``, ``suppress`` and ``users``, against the service in memory."""

from __future__ import annotations

import json

import pytest

from erasure_client import NotFoundError
from erasure_client.testing import FakeService
from tests.functional.client.cli.conftest import Erasure

pytestmark = pytest.mark.usefixtures("signed_in")

WHY = ("--reason", "Litigation 17", "--author", "legal@example.com")


class TestHold:
    def test_what_is_held_is_not_erased_until_it_is_lifted(self, erasure: Erasure, service: FakeService) -> None:
        """A hold that is put stops an erasure; lifted, it goes on."""
        service.add_user("ann", documents=2)
        assert erasure("hold", "put", "ann", *WHY).exit_code == 0
        service.client().requests.create("ann")
        service.run()
        assert not service.erased("ann")
        assert erasure("hold", "lift", "ann", "--yes").exit_code == 0
        service.run()
        assert service.erased("ann")

    def test_put_and_show_tell_what_it_says(self, erasure: Erasure) -> None:
        """What a hold says comes back, as text and as JSON; a second put replaces it."""
        put = erasure("hold", "put", "ann", *WHY, "--alias", "a@example.com", "--until", "2090-01-31T12:00:00+01:00")
        assert "Held from now on" in put.stderr
        shown = json.loads(erasure("hold", "show", "ann", "--json").stdout)
        assert shown["reason"] == "Litigation 17"
        assert shown["until"] == "2090-01-31T11:00:00.000Z"
        assert shown["aliases"] == 1
        assert "Litigation 17" in erasure("hold", "show", "ann").stdout
        again = erasure("hold", "put", "ann", "--reason", "other", "--author", "me")
        assert "already" in again.stderr
        replaced = json.loads(erasure("hold", "show", "ann", "--json").stdout)
        assert (replaced["aliases"], replaced.get("until")) == (0, None)

    def test_the_type_is_part_of_whom_it_holds(self, erasure: Erasure) -> None:
        """A group's hold is not a user's of the same id."""
        erasure("hold", "put", "ops", "--type", "group", *WHY)
        assert erasure("hold", "show", "ops", "--type", "group").exit_code == 0
        assert erasure("hold", "show", "ops").exit_code == 5
        assert erasure("hold", "lift", "ops", "--yes").exit_code == 5

    def test_lifting_asks(self, erasure: Erasure) -> None:
        """Without a terminal and --yes, or after a no, the hold stays."""
        erasure("hold", "put", "ann", *WHY)
        assert erasure("hold", "lift", "ann").exit_code == 2
        assert erasure("hold", "lift", "ann", input="n\n", is_interactive=True).exit_code == 1
        assert erasure("hold", "show", "ann").exit_code == 0
        asked = erasure("hold", "lift", "ann", input="y\n", is_interactive=True)
        assert asked.exit_code == 0
        assert "https://erasure.test" in asked.stderr
        assert erasure("hold", "show", "ann").exit_code == 5

    def test_the_list(self, erasure: Erasure) -> None:
        """All holds with their reasons, or as many as wanted; none is said on stderr only."""
        nothing = erasure("hold", "list")
        assert (nothing.exit_code, nothing.stdout) == (0, "")
        assert json.loads(erasure("hold", "list", "--json").stdout) == {"legal_holds": []}
        for name in ("ann", "ben", "cay"):
            erasure("hold", "put", name, *WHY)
        assert erasure("hold", "list").stdout.count("lh_") == 3
        assert len(json.loads(erasure("hold", "list", "--limit", "2", "--json").stdout)["legal_holds"]) == 2

    def test_reason_and_author_are_needed(self, erasure: Erasure, service: FakeService) -> None:
        """Without them nothing is sent."""
        assert erasure("hold", "put", "ann", "--reason", "x").exit_code == 2
        assert service.calls == []


class TestSuppress:
    def test_check_and_lift(self, erasure: Erasure, service: FakeService) -> None:
        """Exit code 0 for who is on the list, 5 for who is not, or not any more."""
        service.suppress("ann")
        assert erasure("suppress", "check", "ben").exit_code == 5
        assert json.loads(erasure("suppress", "check", "ann", "--json").stdout)["request_id"].startswith("er_")
        assert "er_" in erasure("suppress", "list").stdout
        assert erasure("suppress", "lift", "ann").exit_code == 2
        assert erasure("suppress", "check", "ann").exit_code == 0
        assert erasure("suppress", "lift", "ann", "--yes").exit_code == 0
        assert erasure("suppress", "check", "ann").exit_code == 5
        assert erasure("suppress", "list").stdout == ""


class TestUsers:
    def test_delete(self, erasure: Erasure, service: FakeService) -> None:
        """Asks, then deletes at once; the request of the rest is told."""
        service.add_user("ann", sessions=2, documents=3)
        assert erasure("users", "delete", "ann").exit_code == 2
        assert json.loads(erasure("users", "show", "ann", "--json").stdout) == {"id": "ann", "status": "active"}
        done = erasure("users", "delete", "ann", "--yes", "--json")
        assert json.loads(done.stdout)["request_id"].startswith("er_")
        assert erasure("users", "show", "ann").exit_code == 5
        assert erasure("users", "delete", "ann", "--yes").exit_code == 5

    def test_delete_again_after_a_lost_answer(self, erasure: Erasure, service: FakeService) -> None:
        """Under one idempotency key, a deletion that was done is told as done."""
        service.add_user("ann")
        key = ("--idempotency-key", "k1", "--yes")
        assert erasure("users", "delete", "ann", *key).exit_code == 0
        assert erasure("users", "delete", "ann", *key).exit_code == 0

    def test_delete_under_a_hold(self, erasure: Erasure, service: FakeService) -> None:
        """Is refused, with the code for conflicts and the way to the hold."""
        service.add_user("ann")
        service.hold("ann")
        refused = erasure("users", "delete", "ann", "--yes")
        assert refused.exit_code == 6
        assert "erasure hold show" in refused.stderr

    def test_disable_and_enable(self, erasure: Erasure, service: FakeService) -> None:
        """A note needs no question; what erases, now or later, does."""
        service.add_user("ann", sessions=2)
        assert erasure("users", "disable", "ann").exit_code == 0
        assert erasure("users", "disable", "ann", "--revoke-sessions").exit_code == 2
        assert erasure("users", "disable", "ann", "--delete-after-days", "30").exit_code == 2
        disabled = erasure("users", "disable", "ann", "--delete-after-days", "30", "--yes", "--json")
        document = json.loads(disabled.stdout)
        assert document["status"] == "disabled"
        assert document["request_id"].startswith("er_")
        assert "delete_at" in document
        assert "active" in erasure("users", "enable", "ann").stdout
        assert service.client().requests.get(document["request_id"]).state == "cancelled"

    def test_nobody(self, erasure: Erasure, service: FakeService) -> None:
        """Exit code 5, in every command."""
        for command in (("show",), ("delete", "--yes"), ("disable",), ("enable",)):
            assert erasure("users", command[0], "nobody", *command[1:]).exit_code == 5
        with pytest.raises(NotFoundError):
            service.client().users.get("nobody")
