"""The data map over the API: versions, and what is wrong with a document, by its path."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from erasure.domain.data_map import DataMap, parse_data_map
from erasure.errors import ConflictError
from tests.functional.backend_calls import BackendApi, Reply, body_of
from tests.functional.backend_world import TARGETS, TENANT, table
from tests.functional.native_calls import check_problem, check_rule

PATH = "/v1/data-map"
DOCUMENT: dict[str, Any] = {"version": 1, "targets": TARGETS}
SMALLER: dict[str, Any] = {"version": 1, "targets": TARGETS[:2]}


@pytest.fixture
def api() -> BackendApi:
    api = BackendApi()
    api.world.maps.maps.clear()
    return api


def put(api: BackendApi, document: object = DOCUMENT, *, key: str | None = None, repeat: str | None = None) -> Reply:
    """By default with a platform key. ``repeat``: an idempotency key."""
    headers = {"X-Tenant-ID": TENANT, **({} if repeat is None else {"Idempotency-Key": repeat})}
    return api.call("PUT", PATH, document, key=key or api.make_key("*"), headers=headers)


def get(api: BackendApi, query: str = "", **more: Any) -> Reply:
    return api.call("GET", f"{PATH}{query}", **more)


class TestVersions:
    def test_put_and_shown(self, api: BackendApi) -> None:
        """Each new document is a version of its own; old ones stay readable, and the latest one is current."""
        assert body_of(put(api)) == {"version": 1, "digest": parse_data_map(DOCUMENT).digest, "warnings": []}
        assert body_of(put(api, SMALLER))["version"] == 2
        assert body_of(get(api)) == {"version": 2, "digest": parse_data_map(SMALLER).digest, "document": SMALLER}
        assert body_of(get(api, "?version=1"))["document"] == DOCUMENT

    def test_the_current_map_keeps_its_version(self, api: BackendApi) -> None:
        """Putting it again changes nothing."""
        assert [body_of(put(api))["version"] for _ in range(2)] == [1, 1]

    def test_a_repeated_call(self, api: BackendApi) -> None:
        """The same key gives the first answer, and brings no old map back; with another document 409."""
        first = put(api, repeat="k")
        put(api, SMALLER)
        assert put(api, repeat="k")["body"] == first["body"]
        assert body_of(get(api))["document"] == SMALLER
        check_problem(put(api, SMALLER, repeat="k"), 409, "conflict")

    def test_the_order_of_a_keys_attributes_counts(self, api: BackendApi) -> None:
        """It says which one is the partition key: another order is another document."""
        rules = [("pk", "{tenant_id}#{user_id}"), ("sk", "profile")]
        documents = [
            {"version": 1, "targets": [{"name": "profiles", "dynamodb": {"table": "app-profiles", "key": dict(key)}}]}
            for key in (rules, rules[::-1])
        ]
        assert put(api, documents[0], repeat="k")["statusCode"] == 200
        check_problem(put(api, documents[1], repeat="k"), 409, "conflict")

    def test_warnings(self, api: BackendApi) -> None:
        """What is allowed and deserves a second look is told by its path."""
        target = {**TARGETS[0], "dynamodb": {"table": "app-accounts", "key": {"pk": "{user_id}"}}}
        (warning,) = body_of(put(api, {"version": 1, "targets": [target]}))["warnings"]
        assert warning["field"] == "targets[0]"
        assert warning["warning"].startswith("does not hold {tenant_id}")

    @pytest.mark.parametrize("query", ["", "?version=7"])
    def test_there_is_none(self, api: BackendApi, query: str) -> None:
        """404 before the first one, and for a version that there never was."""
        check_problem(get(api, query), 404, "resource_not_found")

    @pytest.mark.parametrize("version", ["", "0", "-1", "x", "1.0", "%2B1", "1_0", "9999999"])
    def test_a_version_that_is_none(self, api: BackendApi, version: str) -> None:
        """Versions are whole numbers from 1."""
        check_rule(get(api, f"?version={version}"), "version", "must be a whole number")


class TestRules:
    def test_all_problems_at_once(self, api: BackendApi) -> None:
        """400 with path and rule of each; the current map stays."""
        put(api)
        targets = [
            {**TARGETS[0], "dynamodb": {"table": "app-accounts", "key": {"pk": "everybody"}}},
            {"name": "files", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}"}},
        ]
        errors = check_problem(put(api, {"version": 1, "targets": targets}), 400, "invalid_request")
        assert [error["field"] for error in errors] == ["targets[0].dynamodb.key", "targets[1].s3.prefix"]
        assert errors[0]["rule"].startswith("must hold {user_id}")
        assert body_of(get(api))["version"] == 1

    @pytest.mark.parametrize(
        ("document", "field"),
        [({}, "version"), ({**DOCUMENT, "version": 2}, "version"), ({**DOCUMENT, "target": []}, "target")],
    )
    def test_the_documents_form(self, api: BackendApi, document: dict[str, Any], field: str) -> None:
        """What is missing, wrong or unknown is named by its path."""
        errors = check_problem(put(api, document), 400, "invalid_request")
        assert field in [error["field"] for error in errors]

    @pytest.mark.parametrize("text", ["", "version: 1", "[]", '{"version": 1, "targets": ["\\ud800"]}'])
    def test_what_is_no_json_object(self, api: BackendApi, text: str) -> None:
        """The operator's command takes YAML; the API takes JSON, and only what can be written as UTF-8."""
        check_rule(put(api, text), "body", "must")

    def test_a_document_that_is_too_long(self, api: BackendApi) -> None:
        """It is refused before it is read."""
        check_rule(put(api, " " * (512 * 1024) + "{}"), "body", "must not be longer than")

    def test_somebody_else_was_faster(self, api: BackendApi, monkeypatch: pytest.MonkeyPatch) -> None:
        """409."""

        def refuse(_data_map: DataMap, _now: object) -> int:
            raise ConflictError("the data map was changed by somebody else at the same moment")

        monkeypatch.setattr(api.world.maps, "put", refuse)
        check_problem(put(api), 409, "conflict")


class TestWhoMay:
    def test_only_platform_keys_change_it(self, api: BackendApi) -> None:
        """It is every tenant's: a tenant's key with all scopes is refused before its document is looked at."""
        for document in (DOCUMENT, {}):
            check_problem(put(api, document, key=api.key), 403, "insufficient_permissions")
        assert api.world.maps.maps == []

    def test_scopes(self, api: BackendApi) -> None:
        """``map:write`` to put it, ``erasure:read`` to read it."""
        put(api)
        check_problem(put(api, key=api.make_key("*", ["erasure:read"])), 403, "insufficient_permissions")
        check_problem(get(api, key=api.make_key(scopes=["map:write"])), 403, "insufficient_permissions")
        assert get(api, key=api.make_key(scopes=["erasure:read"]))["statusCode"] == 200


def test_what_is_put_is_what_is_erased(api: BackendApi) -> None:
    """A request that comes after a map covers that map's targets."""
    api.world.maps.put(parse_data_map({"version": 1, "targets": [table("accounts", "account")]}), api.world.clock())
    put(api, SMALLER)
    body = {"subjects": [{"type": "user", "id": "u"}], "dry_run": True}
    (plan,) = body_of(api.call("POST", "/v1/erasure-requests", body))["plans"]
    assert [target["name"] for target in plan["targets"]] == ["accounts", "sessions"]


def test_pydantic_is_loaded_for_this_alone() -> None:
    """Building the API, as every cold start does, loads no pydantic."""
    code = "import sys, erasure.entry.backend_api; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
