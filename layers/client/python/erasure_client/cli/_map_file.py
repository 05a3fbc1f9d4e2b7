"""A data map in a file: YAML or JSON, in the order in which it stands there: that of a key's attributes counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from erasure_client.cli._exits import CommandError, Exit

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def read_map(path: Path) -> dict[str, Any]:
    """The document. A key that stands twice is refused, since one of the two would be lost; what looks like a date
    stays text. Raises :class:`CommandError`, which names lines and never what stands there."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _unusable(f"The data map cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise _unusable("The data map is not UTF-8 text.") from None
    try:
        document = _from_json(text) if path.suffix.lower() == ".json" else _from_yaml(text)
    except RecursionError:
        raise _unusable("The data map is nested too deeply.") from None
    if not isinstance(document, dict):
        raise _unusable("The data map must be a mapping.")
    return document


def _from_json(text: str) -> Any:
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise _unusable("The data map has a key twice in one object.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=mapping)
    except ValueError as error:
        line = f"Line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "The data map"
        raise _unusable(f"{line} is not good JSON.") from None


def _from_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def mapping(loader: Any, node: Any) -> dict[str, Any]:
        names = [key.value for key, _ in node.value]
        pairs = loader.construct_pairs(node, deep=True)
        if not all(isinstance(key, str) for key, _ in pairs):
            raise _unusable(f"Line {node.start_mark.line + 1} has a key that is no text: put it into quotes.")
        if len(set(names)) != len(names):
            raise _unusable(f"The mapping that begins on line {node.start_mark.line + 1} has a key twice.")
        return dict(pairs)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _unusable(f"{f'Line {mark.line + 1}' if mark else 'The data map'} is not good YAML.") from None


def _unusable(what: str) -> CommandError:
    return CommandError(what, "Mend it, and look with `erasure data-map validate`.", Exit.USAGE, "bad_input")
