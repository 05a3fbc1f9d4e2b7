"""Which keys of which bucket a rule means for one subject, and the guard that nothing else is deleted.

The guard does not trust the listing: every key is compared with the rendered rule once more right before
the call that deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from erasure.domain.target_spec import TargetSpec
from erasure.domain.templates import Template, names_subject, parse_template
from erasure.errors import InvalidInputError, TargetError


@dataclass(frozen=True, slots=True)
class Scope:
    """Keys of ``bucket`` that begin with ``text``, or that equal it if ``exact``.

    ``owner``: the account that the bucket has to belong to (``None``: any), so that one that somebody else has under
    this name by now is not touched.
    """

    bucket: str
    text: str
    exact: bool
    owner: str | None = None

    @property
    def location(self) -> dict[str, Any]:
        """The arguments of any call that say where. S3 refuses it with AccessDenied if the owner is another."""
        if self.owner is None:
            return {"Bucket": self.bucket}
        return {"Bucket": self.bucket, "ExpectedBucketOwner": self.owner}

    def covers(self, key: str) -> bool:
        return key == self.text if self.exact else key.startswith(self.text)

    def check(self, keys: Iterable[str]) -> None:
        """Raise :class:`TargetError` ``map_mismatch`` if one key is not of this scope: nothing may be deleted then."""
        if not all(map(self.covers, keys)):
            raise _refused("a key outside of the rule was about to be deleted")


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of subjects, by their position.

    ``owned``: all different. ``same_as``: a subject whose scope is one of these, and the position of that one.
    ``refused``: a subject for which the rule cannot be rendered safely, and why.
    """

    owned: dict[int, Scope]
    same_as: dict[int, int]
    refused: dict[int, TargetError]


def scopes_of(spec: TargetSpec, subjects: Sequence[Mapping[str, str]], owner: str | None = None) -> Scopes:
    """The scope of each subject. What is wrong with one is nobody else's matter, and is not raised."""
    scopes, first = Scopes({}, {}, {}), dict[Scope, int]()
    for position, values in enumerate(subjects):
        try:
            scope = scope_of(spec, values, owner)
        except TargetError as error:
            scopes.refused[position] = error
            continue
        if first.setdefault(scope, position) == position:
            scopes.owned[position] = scope
        else:
            scopes.same_as[position] = first[scope]
    return scopes


class Owners:
    """Whose a key is, among scopes that one rule means for several subjects (``scopes``: by owner, not empty)."""

    def __init__(self, scopes: Mapping[int, Scope]) -> None:
        self._owners = {scope.text: owner for owner, scope in scopes.items()}
        self._lengths = sorted({len(text) for text in self._owners})
        any_scope = next(iter(scopes.values()))
        self._exact = any_scope.exact
        beginning = commonprefix(list(self._owners))  # noqa: RUF071 - keys are characters, not folders
        self.common = Scope(any_scope.bucket, beginning, exact=False, owner=any_scope.owner)
        """All their keys, and others': fit for listing and for nothing else."""

    def of(self, key: str) -> list[int]:
        """Those whose scope covers ``key``."""
        if self._exact:
            return [self._owners[key]] if key in self._owners else []
        starts = (key[:length] for length in self._lengths)
        return [self._owners[start] for start in starts if start in self._owners]


def scope_of(spec: TargetSpec, values: Mapping[str, str], owner: str | None = None) -> Scope:
    """The scope of ``spec`` for one subject.

    Raises :class:`TargetError` ``map_mismatch`` for a rule that could mean somebody else's objects (no placeholder
    of a subject, an open-ended prefix, nothing rendered), and what rendering raises for unsuitable values.
    """
    bucket, template, exact = checked_template(spec)
    text = template.render(values)
    if not text:
        raise _refused("the rule is empty")
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Half a surrogate pair has no UTF-8 form, so no key can hold it.
        raise TargetError("ambiguous_identifier", permanent=True, detail="a value is not valid Unicode")
    return Scope(bucket, text, exact, owner)


def checked_template(spec: TargetSpec) -> tuple[str, Template, bool]:
    """The bucket of the target, the template of its keys, and whether it is that of whole keys. Raises
    :class:`TargetError` for a rule that could mean somebody else's objects."""
    rule = spec.s3
    if rule is None or (rule.prefix is None) == (rule.key is None):
        raise _refused("the rule needs either a prefix or a key")
    exact = rule.key is not None
    try:
        template = parse_template((rule.key if exact else rule.prefix) or "", "key" if exact else "prefix")
    except InvalidInputError:
        raise _refused("the rule is no template") from None
    _check_template(template, exact)
    return rule.bucket, template, exact


def _check_template(template: Template, exact: bool) -> None:
    if not names_subject(template.names):
        raise _refused("the rule does not name the subject")
    if not exact and template.ends_in_placeholder:
        # "docs/{user_id}" for user 1 would take user 10 along.
        raise _refused("a prefix needs a separator after its last placeholder")


def _refused(detail: str) -> TargetError:
    return TargetError("map_mismatch", permanent=True, detail=detail)
