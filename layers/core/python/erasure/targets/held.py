"""Whose things a legal hold protects from a run by age, which knows nobody before it has read their things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from erasure.domain.holds import alias_digest, anywhere_digest
from erasure.domain.subject import OWN_PLACEHOLDERS, Subject, subject_digest
from erasure.errors import TargetError, UnavailableError
from erasure.ports import HoldReader
from erasure.targets.protocol import Values


class Holds:
    """``digest_key``: returns the key of the marks. Several threads may ask at once."""

    def __init__(self, reader: HoldReader, digest_key: Callable[[], bytes]) -> None:
        self._reader = reader
        self._digest_key = digest_key

    def are_held(self, subject_type: str, people: Sequence[Values]) -> list[bool]:
        """For each of these, by the values of a target's placeholders, whether a hold in force names them by any of
        them. Raises :class:`TargetError` ``unavailable``: then nobody's things may go."""
        if not people:
            return []
        try:
            key = self._digest_key()
            marks = [frozenset(_marks(key, subject_type, values)) for values in people]
            held = self._reader.held(sorted(frozenset[str]().union(*marks)))
        except (BotoCoreError, ClientError, UnavailableError):
            pass
        else:
            return [not own.isdisjoint(held) for own in marks]
        raise TargetError("unavailable", permanent=False)


def _marks(key: bytes, subject_type: str, values: Values) -> Iterator[str]:
    """By the subject's own id and by each of the further ones, of their tenant if the things tell it, and of any."""
    tenant_id, own = values.get("tenant_id"), OWN_PLACEHOLDERS[subject_type]
    for name, value in values.items():
        if name == "tenant_id":
            continue
        yield anywhere_digest(key, value)
        if tenant_id is not None:
            yield alias_digest(key, tenant_id, value)
            if name == own:
                yield subject_digest(key, Subject(tenant_id, value, subject_type))
