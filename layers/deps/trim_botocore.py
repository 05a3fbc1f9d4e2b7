"""Cuts botocore's data down to what the functions use; run by ``layers/build.py`` on the layer of dependencies.

``python layers/deps/trim_botocore.py <site-packages>/botocore/data`` by itself does the same.

Each cold start reads the models of its services, their endpoint rules and the list of all endpoints. Nine tenths of
that describes other operations and other services, or is documentation, and reading it is a tenth of the start.
What stays says the same as before about the operations below, in all partitions and regions:

- the models' operations with every shape they reach, and every error shape of the service, because any operation
  may be answered with any error;
- the endpoint rules and partitions unchanged, the legacy endpoint list of these services unchanged.

``tests/unit/test_botocore_data.py`` compares requests, endpoints and parsed answers with those of the untrimmed data,
and looks for calls in the code that are missing here.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OPERATIONS: dict[str, tuple[str, ...]] = {
    "dynamodb": (
        "BatchExecuteStatement",
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "DescribeEndpoints",  # botocore's own, where AWS_ENABLE_ENDPOINT_DISCOVERY is set
        "DescribeTable",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactWriteItems",
        "UpdateItem",
    ),
    "events": ("PutEvents",),
    "lambda": ("Invoke",),
    "s3": (
        "AbortMultipartUpload",
        "CreateSession",  # botocore's own, for directory buckets
        "DeleteObject",
        "DeleteObjects",
        "GetBucketVersioning",
        "GetObjectLegalHold",
        "GetObjectLockConfiguration",
        "GetObjectRetention",
        "HeadBucket",  # botocore's own too, to follow a bucket to its region
        "ListMultipartUploads",
        "ListObjectVersions",
        "PutObject",
    ),
    "secretsmanager": ("GetSecretValue",),
    "sqs": ("DeleteMessage", "ReceiveMessage", "SendMessage"),
    "stepfunctions": ("DescribeExecution", "StartExecution"),
    "sts": ("AssumeRole",),
}
"""What the functions call, by service. A call that is missing here fails in Lambda with an ``AttributeError``."""

_SHARED_FILES = ("_retry", "endpoints", "partitions", "sdk-default-configuration")
_MODEL_FILES = ("service-2", "service-2.sdk-extras", "endpoint-rule-set-1")


class LayoutError(Exception):
    """botocore's data is not laid out as this script knows it: better no layer than a wrong one."""


def trim(data: Path) -> None:
    """Trim botocore's ``data`` folder in place. Running it twice changes nothing more. Raises :class:`LayoutError`."""
    prefixes = {_trim_service(data / service, operations) for service, operations in OPERATIONS.items()}
    for entry in data.iterdir():
        if entry.is_dir() and entry.name not in OPERATIONS:
            shutil.rmtree(entry)
    for name in _SHARED_FILES:
        content = _read(data, name)
        _write(data, name, trim_endpoints(content, prefixes) if name == "endpoints" else content)


def _trim_service(folder: Path, operations: Iterable[str]) -> str:
    """Trim one service's folder to its latest version; returns its prefix in the list of endpoints."""
    versions = sorted(path.parent for path in folder.glob("*/service-2.json*"))
    if not versions:
        raise LayoutError(f"there is no model of {folder.name}")
    for entry in folder.iterdir():
        if entry != versions[-1]:
            shutil.rmtree(entry)
    files = {name: _read(versions[-1], name) for name in _MODEL_FILES if any(versions[-1].glob(f"{name}.json*"))}
    model = files["service-2"] = trim_model(files["service-2"], operations)
    for entry in versions[-1].iterdir():
        entry.unlink()
    for name, content in files.items():
        _write(versions[-1], name, content)
    return str(model["metadata"]["endpointPrefix"])


def trim_model(model: dict[str, Any], operations: Iterable[str]) -> dict[str, Any]:
    """A service model with these operations, the shapes they reach and all error shapes, without documentation.

    Raises :class:`LayoutError` for an operation that the model does not have.
    """
    unknown = set(operations) - set(model["operations"])
    if unknown:
        raise LayoutError(f"the model does not know {', '.join(sorted(unknown))}")
    kept = {name: operation for name, operation in model["operations"].items() if name in set(operations)}
    errors = {name for name, shape in model["shapes"].items() if shape.get("exception") or shape.get("error")}
    shapes = _reachable(model["shapes"], errors.union(*(_referred(operation) for operation in kept.values())))
    trimmed = {
        **model,
        "operations": kept,
        "shapes": {name: shape for name, shape in model["shapes"].items() if name in shapes},
    }
    trimmed = dict(_without_documentation(trimmed))
    # botocore reads the documentation of these, and of nothing else, whenever it makes a client.
    for name, parameter in model.get("clientContextParams", {}).items():
        trimmed["clientContextParams"][name] = {**parameter, "documentation": ""}
    return trimmed


def _reachable(shapes: dict[str, Any], start: set[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _referred(shapes[name])
    return found


def _referred(node: Any) -> set[str]:
    """The names of all shapes that a part of a model refers to: ``{"shape": name}`` at any depth."""
    if isinstance(node, list):
        return set().union(*map(_referred, node))
    if not isinstance(node, dict):
        return set()
    reference = node.get("shape")
    # A structure may have a member that is called "shape": then the value is no name.
    found = {reference} if isinstance(reference, str) else set()
    return found.union(*map(_referred, node.values()))


def _without_documentation(node: Any) -> Any:
    """Texts only: a member that is called "documentation" is a reference, and stays."""
    if isinstance(node, list):
        return [_without_documentation(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_documentation(value)
        for name, value in node.items()
        if name != "documentation" or not isinstance(value, str)
    }


def trim_endpoints(endpoints: dict[str, Any], prefixes: Iterable[str]) -> dict[str, Any]:
    """The list of endpoints with all partitions and regions, and of each partition's services those of ``prefixes``."""
    wanted = set(prefixes)
    return {
        **endpoints,
        "partitions": [
            {
                **partition,
                "services": {name: service for name, service in partition["services"].items() if name in wanted},
            }
            for partition in endpoints["partitions"]
        ],
    }


def _read(folder: Path, name: str) -> dict[str, Any]:
    plain, packed = folder / f"{name}.json", folder / f"{name}.json.gz"
    if not plain.exists() and not packed.exists():
        raise LayoutError(f"{folder.name} has no {name}")
    text = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    content: dict[str, Any] = json.loads(text)
    return content


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Plain and without white space: small enough by now, and one step less at each start."""
    (folder / f"{name}.json.gz").unlink(missing_ok=True)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    trim(Path(sys.argv[1]))
