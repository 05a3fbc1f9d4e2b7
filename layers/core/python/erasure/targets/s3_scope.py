"""Which keys of which bucket a rule means for one subject, and the guard that nothing else is deleted.

The guard does not trust the listing: every key is compared with the rendered rule once more right before
the call that deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from erasure.domain.target_spec import TargetSpec
from erasure.domain.templates import SUBJECT_PLACEHOLDERS, Template, parse_template
from erasure.errors import TargetError


@dataclass(frozen=True, slots=True)
class Scope:
    """Keys of ``bucket`` that begin with ``text``, or that equal it if ``exact``."""

    bucket: str
    text: str
    exact: bool

    def covers(self, key: str) -> bool:
        return key == self.text if self.exact else key.startswith(self.text)

    def check(self, keys: Iterable[str]) -> None:
        """Raise :class:`TargetError` ``map_mismatch`` if one key is not of this scope: nothing may be deleted then."""
        if not all(map(self.covers, keys)):
            raise _refused("a key outside of the rule was about to be deleted")


def scope_of(spec: TargetSpec, values: Mapping[str, str]) -> Scope:
    """The scope of ``spec`` for one subject.

    Raises :class:`TargetError` ``map_mismatch`` for a rule that could mean somebody else's objects (no placeholder
    of a subject, an open-ended prefix, nothing rendered), and what rendering raises for unsuitable values.
    """
    rule = spec.s3
    if rule is None or (rule.prefix is None) == (rule.key is None):
        raise _refused("the rule needs either a prefix or a key")
    exact = rule.key is not None
    template = parse_template((rule.key if exact else rule.prefix) or "", "key" if exact else "prefix")
    _check_template(template, exact)
    text = template.render(values)
    if not text:
        raise _refused("the rule is empty")
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Half a surrogate pair has no UTF-8 form, so no key can hold it.
        raise TargetError("ambiguous_identifier", permanent=True, detail="a value is not valid Unicode")
    return Scope(bucket=rule.bucket, text=text, exact=exact)


def _check_template(template: Template, exact: bool) -> None:
    if not SUBJECT_PLACEHOLDERS.intersection(template.names):
        raise _refused("the rule does not name the subject")
    if not exact and template.ends_in_placeholder:
        # "docs/{user_id}" for user 1 would take user 10 along.
        raise _refused("a prefix needs a separator after its last placeholder")


def _refused(detail: str) -> TargetError:
    return TargetError("map_mismatch", permanent=True, detail=detail)
