"""Data maps in files: YAML or JSON, with the line on which each of their places stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erasure.errors import InvalidInputError

_LAST_PART = re.compile(r"(\.[^.\[\]]*|\[[^\[\]]*\])$")


@dataclass(frozen=True, slots=True)
class MapFile:
    """``document``: as plain data. ``lines``: by path, as problems name their places (``targets[0].s3.prefix``)."""

    document: object
    lines: Mapping[str, int]

    def line_of(self, path: str) -> int | None:
        """Where the place stands or, if nothing stands there, the nearest one around it; ``None`` for the whole."""
        while path:
            if path in self.lines:
                return self.lines[path]
            shorter = _LAST_PART.sub("", path)
            path = "" if shorter == path else shorter
        return None

    def located(self, path: str) -> str:
        """``line 4: targets[0].s3.prefix``, or the path alone."""
        line = self.line_of(path)
        return path if line is None else f"line {line}: {path}"


def read_map_file(path: Path) -> MapFile:
    """Read a file. A key that stands twice is an error: one of the two would be lost.

    Raises :class:`InvalidInputError` for what is no good YAML, with the line, and ``OSError``.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InvalidInputError(f"line {node.start_mark.line + 1}", f"the key {key} stands there twice")
        try:
            return dict(loader.construct_pairs(node, deep=True))
        except TypeError:
            raise InvalidInputError(f"line {node.start_mark.line + 1}", "a key must be text") from None

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        loader = Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
        return MapFile(document, dict(_lines(node, "", set())))
    except UnicodeDecodeError:
        raise InvalidInputError("data map", "is not UTF-8 text") from None
    except RecursionError:
        raise InvalidInputError("data map", "is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidInputError(f"line {mark.line + 1}" if mark else "data map", "is not valid YAML") from None


def _lines(node: Any, path: str, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Paths below a node with their lines, counted from 1. A node that aliases repeat has the first one's."""
    if node is None or id(node) in seen or isinstance(node.value, str):
        return
    seen.add(id(node))
    for number, entry in enumerate(node.value):
        key, value = entry if isinstance(entry, tuple) else (entry, entry)
        inner = f"[{number}]" if key is value else f".{key.value}" if path else str(key.value)
        yield f"{path}{inner}", key.start_mark.line + 1
        yield from _lines(value, f"{path}{inner}", seen)
