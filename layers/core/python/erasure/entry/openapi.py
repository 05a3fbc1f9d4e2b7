"""The API's OpenAPI 3.1 document, made from the code with Powertools' generator. For development time only.

``python -m erasure.entry.openapi`` writes ``erasure/openapi.json``; ``--check`` compares it with what is there.

The routes, who may call them and with which scope come from the APIs themselves; what is said of each comes from
:data:`OPERATIONS`. Added to all of them: the headers that every answer has, the refusals of the family, and what API
Gateway says by itself, in its own envelope.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.openapi.models import APIKey, HTTPBase, HTTPBearer, Server, Tag
from aws_lambda_powertools.event_handler.openapi.params import Body, Header
from aws_lambda_powertools.event_handler.openapi.params import Path as InPath

import erasure
from erasure.domain import data_map_schema
from erasure.entry import openapi_models as models
from erasure.entry.backend_api import make_backend_api
from erasure.entry.exchange import BACKEND, SUBJECT, Route
from erasure.entry.holds import HoldsFamily
from erasure.entry.openapi_answers import error_names, responses_of
from erasure.entry.openapi_clock_routes import OF_TIME
from erasure.entry.openapi_native_routes import OURS
from erasure.entry.openapi_routes import SOURCES, TAGS, Operation
from erasure.entry.retention import RetentionFamily
from erasure.entry.sla import SlaFamily
from erasure.entry.subject_api import make_subject_api

DOCUMENT = Path(erasure.__file__).with_name("openapi.json")
OPERATIONS: Mapping[tuple[str, str], Operation] = {**SOURCES, **OURS, **OF_TIME}
"""By method and path. A route without an entry, and an entry without a route, are errors."""

_ABOUT = """\
Erases a person's data, verifies it, and can prove it. One deployment serves several families of calls, each with the
paths, bodies and errors of the system that it comes from.

Ids are opaque: 1 to 256 characters, no control characters, not blank, compared byte for byte. In a path they are
percent-encoded. What belongs to another tenant is told like what does not exist. Lists that are too long are refused
whole.
"""

_PATH_PARAMETERS = {
    "user_id": models.Identifier,
    "subject_id": models.Identifier,
    "request_id": models.RequestId,
    "key_id": models.KeyId,
}
_TENANT = Annotated[
    models.Identifier,
    Header(description="The tenant that the call is for. Must be the key's; a platform key has to send it."),
]
_IDEMPOTENCY = Annotated[
    str,
    models.text("^[!-~]([ -~]*[!-~])?$", min_length=1, max_length=256),
    Header(description="The same key with the same body gets the first answer again; with another body, a refusal."),
]
_HEADER_NAMES = {name.lower(): name for name in ("Idempotency-Key", "X-Client-Version", "X-Tenant-ID")}
"""Powertools lowers them."""


def _header_key(name: str, description: str) -> APIKey:
    return APIKey.model_validate({"in": "header", "name": name, "description": description})


_SECURITY_SCHEMES: dict[str, Any] = {
    "subjectToken": HTTPBearer(bearerFormat="JWT", description="A token of the configured OIDC issuer."),
    "apiKey": HTTPBearer(description="An API key, `sk_live_…` or `sk_test_…`."),
    "apiKeyBasic": HTTPBase(
        scheme="basic", description="An API key as the user's name, without a password. Taken unencoded as well."
    ),
    "veltKeyId": _header_key("x-velt-api-key", description="The key's id, its third part."),
    "veltToken": _header_key("x-velt-auth-token", description="The whole API key."),
}


def families_of_time(nobody: Any) -> dict[str, Any]:
    """Those that the API is given, with nothing behind them, by the name of the argument."""
    return {
        "sla": SlaFamily(nobody, nobody),
        "holds": HoldsFamily(nobody, nobody),
        "retention": RetentionFamily(nobody, nobody, nobody),
    }


def documented_routes() -> list[Route]:
    """The routes of both functions. Nothing is behind them."""
    nobody: Any = SimpleNamespace(verify=None, authenticate=None, confirm_wait_seconds=0, paths_are_encoded=True)
    subjects = make_subject_api(nobody, nobody, nobody, nobody, nobody)
    backends = make_backend_api(
        verifier=nobody,
        erasures=nobody,
        plans=nobody,
        accounts=nobody,
        keys=nobody,
        suppressions=nobody,
        data_maps=nobody,
        **families_of_time(nobody),
        idempotency=nobody,
        digest_key=nobody,
        now=nobody,
        logger=nobody,
    )
    return [*subjects.routes, *backends.routes]


def make_document() -> dict[str, Any]:
    """Raises ``LookupError`` for a route that is not documented, and for what documents none."""
    routes = {(route.method, route.path): route for route in documented_routes()}
    if routes.keys() != OPERATIONS.keys():
        raise LookupError(f"documented or served, and not both: {sorted(routes.keys() ^ OPERATIONS.keys())}")
    resolver = APIGatewayRestResolver()
    for place, operation in OPERATIONS.items():
        _add(resolver, routes[place], operation)
    text = resolver.get_openapi_json_schema(
        title="Erasure service",
        version=erasure.__version__,
        description=_ABOUT,
        tags=[Tag(name=name, description=description) for name, description in TAGS.items()],
        # The document lies at the base of the API, whatever stage or base path that is.
        servers=[Server(url=".")],
        security_schemes=_SECURITY_SCHEMES,
    )
    names = {operation.name: error_names(routes[place], operation) for place, operation in OPERATIONS.items()}
    return _tidied(json.loads(text), names)


def text_of(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _add(resolver: APIGatewayRestResolver, route: Route, operation: Operation) -> None:
    resolver.route(
        route.path.replace("{", "<").replace("}", ">"),
        route.method,
        operation_id=operation.name,
        summary=operation.summary,
        description=_description(route, operation),
        tags=[operation.tag],
        security=_security(route),
        responses=responses_of(route, operation),
    )(_handler(route, operation))


def _description(route: Route, operation: Operation) -> str:
    scope = f"Needs the scope `{route.scope}`." if route.scope else ""
    return "\n\n".join(part for part in (operation.description, scope) if part)


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.auth == SUBJECT:
        return [{"subjectToken": []}]
    if route.auth == BACKEND:
        scopes = [route.scope]
        return [{"apiKey": scopes}, {"apiKeyBasic": scopes}, {"veltKeyId": scopes, "veltToken": scopes}]
    return []


def _handler(route: Route, operation: Operation) -> Callable[..., None]:
    """Something with the signature from which the generator reads parameters and body."""

    def handler(**_values: object) -> None: ...

    parts = [segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")]
    required = {name: Annotated[_PATH_PARAMETERS[name], InPath()] for name in parts}
    if operation.body is not None:
        examples: Any = {"example": {"value": operation.example}}
        required["body"] = Annotated[operation.body, Body(openapi_examples=examples)]
    optional = {**operation.query, **operation.headers}
    if route.auth == BACKEND:
        optional["x_tenant_id"] = _TENANT
    if operation.repeatable:
        optional["idempotency_key"] = _IDEMPOTENCY
    signature: Any = Signature(
        [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in required.items()]
        + [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=None) for name, kind in optional.items()]
    )
    handler.__signature__ = signature  # type: ignore[attr-defined]
    return handler


# What the generator writes, made fit to be read.


def _tidied(document: dict[str, Any], names: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """``names``: of errors, by operation and status."""
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ResponseValidationError", "ValidationError"):
        schemas.pop(name)  # Powertools' own answers, which nobody gives here
    for operation in _operations(document):
        operation["parameters"] = [_tidy_parameter(parameter) for parameter in operation.get("parameters", ())]
        for answer in operation["responses"].values():
            if not answer.get("content"):
                answer.pop("content", None)
    _strip(document)
    _share(document, names)
    # The data map's models have short names, which say too little among all the others.
    longer = {name: f"DataMap{name}" for name in vars(data_map_schema).keys() & schemas.keys()}
    text = json.dumps(document)
    for name, known_as in longer.items():
        text = text.replace(f'/schemas/{name}"', f'/schemas/{known_as}"')
    shown: dict[str, Any] = json.loads(text)
    renamed = {longer.get(name, name): schema for name, schema in shown["components"]["schemas"].items()}
    shown["components"]["schemas"] = dict(sorted(renamed.items()))
    return shown


def _tidy_parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    name = parameter.pop("name")
    parameter["schema"].pop("description", None)
    return {"name": _HEADER_NAMES.get(name, name), "in": parameter.pop("in"), **parameter}


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from item.values()


def _strip(node: Any) -> None:
    """Without titles that only repeat a name, and defaults that stand for "left out"."""
    if isinstance(node, list):
        for entry in node:
            _strip(entry)
    elif isinstance(node, dict):
        if "type" in node or "anyOf" in node or "oneOf" in node or "$ref" in node:
            if isinstance(node.get("title"), str):
                del node["title"]
            if "default" in node and node["default"] in (None, "", {}):
                del node["default"]
        for name in ("minimum", "maximum"):
            if isinstance(node.get(name), float):
                node[name] = int(node[name])
        for name, entry in node.items():
            if name not in ("example", "examples"):
                _strip(entry)


def _share(document: dict[str, Any], names: Mapping[str, Mapping[str, str]]) -> None:
    """Headers, common parameters and errors once each, under ``components``."""
    components = document["components"]
    components |= {"parameters": {}, "headers": {}, "responses": {}}
    for operation in _operations(document):
        for answer in operation["responses"].values():
            for name, header in answer["headers"].items():
                key = name if header["required"] else f"{name}.optional"
                answer["headers"][name] = _shared(components, "headers", key, header)
        for status, key in names[operation["operationId"]].items():
            operation["responses"][status] = _shared(components, "responses", key, operation["responses"][status])
        operation["parameters"] = [
            _shared(components, "parameters", parameter["name"], parameter)
            if parameter["in"] == "header"
            else parameter
            for parameter in operation["parameters"]
        ]


def _shared(components: dict[str, Any], kind: str, key: str, value: Any) -> dict[str, str]:
    if components[kind].setdefault(key, value) != value:
        raise ValueError(f"two different {kind} are called {key}")
    return {"$ref": f"#/components/{kind}/{key}"}


def main(arguments: list[str]) -> int:
    text = text_of(make_document())
    if arguments == ["--check"]:
        if DOCUMENT.exists() and DOCUMENT.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("openapi.json is not what the code makes: python -m erasure.entry.openapi\n")
        return 1
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
