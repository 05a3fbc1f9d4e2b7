"""The API's document: it is what the code makes, and it describes what is deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from erasure.domain.data_map import parse_data_map
from erasure.domain.identifiers import check_identifier
from erasure.entry import openapi
from erasure.entry.exchange import BACKEND, OPEN, SUBJECT, Route
from erasure.entry.openapi_answers import GATEWAY
from erasure.entry.openapi_models import NOT_BLANK
from erasure.errors import InvalidInputError
from tests.unit.openapi_document import closed, document, operations, problems_of, resolved
from tests.unit.test_template import gateway_responses
from tests.unit.translated_template import source


def test_committed_document_is_what_the_code_makes() -> None:
    """``python -m erasure.entry.openapi`` would not change the committed file."""
    assert openapi.text_of(openapi.make_document()) == openapi.DOCUMENT.read_text(encoding="utf-8")


def test_check_tells_an_old_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--check`` fails where the file is missing or older than the code, and writes nothing."""
    monkeypatch.setattr(openapi, "DOCUMENT", tmp_path / "openapi.json")
    assert openapi.main(["--check"]) == 1
    assert not openapi.DOCUMENT.exists()
    assert openapi.main([]) == 0
    assert openapi.main(["--check"]) == 0
    openapi.DOCUMENT.write_text("{}", encoding="utf-8")
    assert openapi.main(["--check"]) == 1


def test_document_is_valid_openapi() -> None:
    """It is a valid OpenAPI 3.1 document, and each operation has a name of its own."""
    validate(document())
    assert document()["openapi"].startswith("3.1")
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


def test_routes_are_those_of_the_template() -> None:
    """What is documented is what API Gateway serves."""
    events = [
        event["Properties"]
        for function in ("SubjectApi", "BackendApi")
        for event in source()["Resources"][function]["Properties"]["Events"].values()
    ]
    assert {(event["Method"], event["Path"]) for event in events} == {
        (method, path) for method, path, _ in operations()
    }


@pytest.mark.parametrize("change", ["more", "fewer"])
def test_a_route_and_its_documentation_belong_together(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that is not documented stops the generator, and so does documentation without a route."""
    routes = openapi.documented_routes()
    new = Route("GET", "/v1/news", OPEN, routes[0].handler)
    monkeypatch.setattr(openapi, "documented_routes", lambda: [*routes, new] if change == "more" else routes[1:])
    with pytest.raises(LookupError, match=re.escape((new if change == "more" else routes[0]).path)):
        openapi.make_document()


def test_each_routes_auth_is_documented_as_declared() -> None:
    """Subjects show a token, backends a key with the route's scope in any of its forms, and nothing else is open."""
    declared = {(route.method, route.path): route for route in openapi.documented_routes()}
    for method, path, operation in operations():
        route = declared[method, path]
        shown = operation.get("security", [])
        if route.auth == SUBJECT:
            assert shown == [{"subjectToken": []}]
        elif route.auth == BACKEND:
            assert [set(way) for way in shown] == [{"apiKey"}, {"apiKeyBasic"}, {"veltKeyId", "veltToken"}]
            assert {scope for way in shown for scopes in way.values() for scope in scopes} == {route.scope}
            assert route.scope in operation["description"]
        else:
            assert shown == []
    open_paths = {path for _, path, operation in operations() if not operation.get("security")}
    assert open_paths == {"/health", "/openapi.json", "/docs"}
    schemes = document()["components"]["securitySchemes"]
    assert (schemes["veltKeyId"]["name"], schemes["veltToken"]["name"]) == ("x-velt-api-key", "x-velt-auth-token")


def test_every_parameter_of_a_path_is_documented() -> None:
    """Each part of a path in braces is a required parameter, and no other is in the path."""
    for _, path, operation in operations():
        shown = [resolved(parameter) for parameter in operation["parameters"]]
        in_path = {parameter["name"] for parameter in shown if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert all(parameter["required"] is (parameter["in"] == "path") for parameter in shown)


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    for method, path, operation in operations():
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for node in [*bodies, *map(resolved, operation["responses"].values())]:
            for content in node.get("content", {}).values():
                yield f"{method} {path}", content


def test_every_example_keeps_to_its_schema() -> None:
    """Every body of a call and every JSON answer with a model has examples, and they keep to their schemas."""
    seen = 0
    for where, content in contents():
        if "$ref" in content["schema"] or "anyOf" in content["schema"]:
            assert content["examples"], where
        for example in content.get("examples", {}).values():
            seen += 1
            assert problems_of(content["schema"], example["value"], closed()) == [], where
    assert seen > 100


def test_the_example_of_a_data_map_is_one() -> None:
    """The data map of the document could be put as it stands."""
    body = document()["paths"]["/v1/data-map"]["put"]["requestBody"]["content"]["application/json"]
    parse_data_map(body["examples"]["example"]["value"])


def test_identifiers_are_those_that_are_taken() -> None:
    """The schema of identifiers allows what the service takes, and nothing else."""
    parameters = document()["paths"]["/v1/users/{user_id}"]["get"]["parameters"]
    (schema,) = [parameter["schema"] for parameter in parameters if parameter.get("in") == "path"]
    assert schema["pattern"] == NOT_BLANK

    def is_taken(text: str) -> bool:
        try:
            return check_identifier(text, "id") == text
        except InvalidInputError:
            return False

    # JSON text on the wire holds no half of a surrogate pair.
    points = [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0xE0020, 0x10FFFF]
    # Python's "$" also matches before a final line break, which the engines of JSON Schema do not do.
    pattern = re.compile(schema["pattern"].replace("$", r"\Z"))
    assert [point for point in points if bool(pattern.search(chr(point))) != is_taken(chr(point))] == []
    for text in ("", " ", " \u00a0", " a ", "a\nb", "*", "../", "{user_id}", "a" * 256, "a" * 257, "\U0001f600" * 256):
        assert (problems_of(schema, text) == []) is is_taken(text), repr(text)


def test_gateways_own_answers_are_documented_everywhere() -> None:
    """Each operation allows what the template lets API Gateway say, except what it says to authorizers only."""
    template = {(int(status), json.loads(text)["message"]) for status, _, text in gateway_responses("aws").values()}
    assert set(GATEWAY.items()) <= template
    # 401: only an authorizer of API Gateway's asks for that. 415: only an integration that is no proxy's.
    assert {status for status, _ in template} - GATEWAY.keys() == {401, 415}
    for method, path, operation in operations():
        for status, message in GATEWAY.items():
            schema = resolved(operation["responses"][str(status)])["content"]["application/json"]["schema"]
            assert problems_of(schema, {"code": status, "message": message}) == [], (method, path, status)
            assert problems_of(schema, {"message": message}) != []
