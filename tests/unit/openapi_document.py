"""The committed document of the API, and whether an answer keeps to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from erasure.entry import openapi

Reply = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete")
REQUEST = "er_01JZ0QJ4Y8W3N2V5T7R9K1M3P5"


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(openapi.DOCUMENT.read_text(encoding="utf-8"))
    return loaded


@cache
def closed() -> dict[str, Any]:
    """The document with no room for keys that it does not name."""
    strict = copy.deepcopy(document())
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return strict


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield method.upper(), path, operation


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def problems_of(schema: Mapping[str, Any], value: object, within: Mapping[str, Any] | None = None) -> list[str]:
    whole = {**schema, "components": (within or document())["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def check_answer(route: tuple[str, str], reply: Reply) -> None:
    """The answer is one of those that the document tells: status, headers, content type and body."""
    method, path = route
    answers = document()["paths"][path][method.lower()]["responses"]
    assert str(reply["statusCode"]) in answers, (route, reply["statusCode"], reply["body"])
    answer = resolved(answers[str(reply["statusCode"])])
    headers = reply["multiValueHeaders"]
    for name, header in answer["headers"].items():
        rules = resolved(header)
        assert not rules["required"] or name in headers, (route, name)
        for text in headers.get(name, ()):
            assert problems_of(rules["schema"], int(text) if rules["schema"]["type"] == "integer" else text) == []
    known = {*answer["headers"], "X-Content-Type-Options"}
    assert {name for name in headers if name.startswith("X-") or name == "Retry-After"} <= known, (route, headers)
    if "content" not in answer:
        assert reply["body"] == ""
        return
    (content_type,) = headers["Content-Type"]
    content = answer["content"][content_type.partition(";")[0]]
    if content_type.partition(";")[0].endswith("json"):
        assert problems_of(content["schema"], json.loads(reply["body"]), closed()) == [], (route, reply["body"])
