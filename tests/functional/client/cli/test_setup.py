"""``erasure keys``, ``data-map`` and ``completion``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from erasure_client.cli._map_file import read_map
from erasure_client.testing import EXAMPLE_MAP, FakeService
from tests.functional.client.cli.conftest import Erasure

pytestmark = pytest.mark.usefixtures("signed_in")


@pytest.fixture
def platform(service: FakeService, signed_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed in with a platform key."""
    monkeypatch.setenv("ERASURE_API_KEY", service.make_key(is_platform=True))
    monkeypatch.setenv("ERASURE_TENANT", "acme")


class TestKeys:
    def test_a_new_keys_text_is_all_of_stdout(self, erasure: Erasure, service: FakeService) -> None:
        """So that it can be sent where it is kept; the key works, and can do what was said."""
        made = erasure("keys", "create", "--scope", "erasure:read", "--scope", "erasure:write", "--name", "billing")
        text = made.stdout.removesuffix("\n")
        assert text.startswith("sk_")
        assert "\n" not in text
        assert text not in made.stderr
        assert list(service.client(api_key=text).requests.list()) == []

    def test_as_json(self, erasure: Erasure) -> None:
        """The key and what it may do, as the API tells it."""
        made = erasure("keys", "create", "--scope", "users:read", "--calls-per-minute", "12", "--json")
        document = json.loads(made.stdout)
        assert document["key"].startswith("sk_")
        assert (document["scopes"], document["calls_per_minute"]) == (["users:read"], 12)
        assert made.stderr == ""

    def test_the_same_key_again(self, erasure: Erasure) -> None:
        """Under one idempotency key, a key whose text was lost is shown again."""
        call = ("keys", "create", "--scope", "users:read", "--idempotency-key", "k1")
        assert erasure(*call).stdout == erasure(*call).stdout

    def test_list_and_revoke(self, erasure: Erasure) -> None:
        """A revoked key stays in the list as revoked; revoking asks; no list has a text."""
        made = json.loads(erasure("keys", "create", "--scope", "users:read", "--name", "old", "--json").stdout)
        assert erasure("keys", "revoke", made["key_id"]).exit_code == 2
        assert erasure("keys", "revoke", made["key_id"], "--yes").exit_code == 0
        assert erasure("keys", "revoke", "0000000000000000", "--yes").exit_code == 5
        listed = erasure("keys", "list")
        assert "revoked" in listed.stdout
        assert made["key_id"] in listed.stdout
        documents = json.loads(erasure("keys", "list", "--json").stdout)["keys"]
        assert [each["key_id"] for each in documents if "revoked_at" in each] == [made["key_id"]]
        assert not any("key" in each for each in documents)

    def test_scopes_are_checked_before_anything_is_sent(self, erasure: Erasure, service: FakeService) -> None:
        """A scope that there is not, or none, is wrong usage."""
        assert erasure("keys", "create", "--scope", "everything").exit_code == 2
        assert erasure("keys", "create").exit_code == 2
        assert service.calls == []


class TestDataMap:
    def test_what_is_shown_can_be_put(self, erasure: Erasure) -> None:
        """The YAML that `show` prints is the document, in its order."""
        shown = erasure("data-map", "show")
        assert yaml.safe_load(shown.stdout) == EXAMPLE_MAP
        assert list(yaml.safe_load(shown.stdout)) == list(EXAMPLE_MAP)
        assert json.loads(erasure("data-map", "show", "--json").stdout)["document"] == EXAMPLE_MAP
        assert erasure("data-map", "show", "--version", "9").exit_code == 5

    @pytest.mark.usefixtures("platform")
    def test_put(self, erasure: Erasure, service: FakeService, tmp_path: Path) -> None:
        """Asks, and makes the file the current map, from YAML and from JSON."""
        document = {**EXAMPLE_MAP, "targets": EXAMPLE_MAP["targets"][:1]}
        for name, text in (("map.yaml", yaml.safe_dump(document)), ("map.json", json.dumps(EXAMPLE_MAP))):
            path = tmp_path / name
            path.write_text(text)
            assert erasure("data-map", "put", str(path)).exit_code == 2
            put = erasure("data-map", "put", str(path), "--yes", "--json")
            assert put.exit_code == 0, put.stderr
            expected = document if name == "map.yaml" else EXAMPLE_MAP
            assert service.client().data_map.get().document == expected
            assert json.loads(put.stdout)["version"] == service.client().data_map.get().version

    def test_a_tenants_key_may_not(self, erasure: Erasure, tmp_path: Path) -> None:
        """Only a platform key may put a map: exit code 4."""
        path = tmp_path / "map.json"
        path.write_text(json.dumps(EXAMPLE_MAP))
        assert erasure("data-map", "put", str(path), "--yes").exit_code == 4

    @pytest.mark.parametrize(
        ("name", "text", "told"),
        [
            ("map.yaml", "version: 1\ntargets:\n  - name: a\n    name: b\n", "line 3"),
            ("map.yaml", "version: 1\n1: x\n", "no text"),
            ("map.yaml", "version: [\n", "not good YAML"),
            ("map.yaml", "- a\n", "must be a mapping"),
            ("map.yaml", "", "must be a mapping"),
            ("map.yaml", "version: .nan\n", "JSON cannot say"),
            ("map.json", '{"version": 1, "version": 2}', "twice"),
            ("map.json", '{\n"version": \n}', "Line 3"),
            ("map.json", "[" * 100_000, "too deeply"),
            ("map.yaml", "\xff", "UTF-8"),
        ],
    )
    @pytest.mark.usefixtures("platform")
    def test_files_that_are_not_put(
        self, erasure: Erasure, service: FakeService, tmp_path: Path, name: str, text: str, told: str
    ) -> None:
        """What could lose a key, or is no map at all, is told with its line, and nothing is sent."""
        path = tmp_path / name
        path.write_text(text, encoding="latin-1")
        put = erasure("data-map", "put", str(path), "--yes")
        assert put.exit_code == 2
        assert told in put.stderr
        assert service.calls == []

    def test_what_looks_like_a_date_stays_text(self, tmp_path: Path) -> None:
        """YAML would make a date of it, which JSON does not have."""
        path = tmp_path / "map.yaml"
        path.write_text("a: 2026-01-31\nb: 2026-01-31T12:00:00Z\nc: 1\nd: [true, null, 1.5]\n")
        assert read_map(path) == {"a": "2026-01-31", "b": "2026-01-31T12:00:00Z", "c": 1, "d": [True, None, 1.5]}

    @pytest.mark.usefixtures("platform")
    def test_rules_that_are_broken(self, erasure: Erasure, tmp_path: Path) -> None:
        """The service's rules are told with their paths."""
        path = tmp_path / "map.json"
        path.write_text(json.dumps({**EXAMPLE_MAP, "unknown": 1}))
        put = erasure("data-map", "put", str(path), "--yes")
        assert put.exit_code == 1
        assert "unknown" in put.stderr


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script(self, erasure: Erasure, shell: str) -> None:
        """A script for each shell, by which it asks for the command's own words."""
        printed = erasure("completion", shell)
        assert printed.exit_code == 0
        assert f"_ERASURE_COMPLETE={shell}_complete" in printed.stdout
        assert json.loads(erasure("completion", shell, "--json").stdout)["shell"] == shell

    def test_what_is_completed(self) -> None:
        """Commands, and the commands of a group, are offered."""
        program = "from erasure_client.cli import main; main()"
        words = {"_ERASURE_COMPLETE": "bash_complete", "COMP_WORDS": "erasure hold l", "COMP_CWORD": "2"}
        run = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **words}, capture_output=True, text=True, check=True
        )
        assert run.stdout.split() == ["plain,lift", "plain,list"]
