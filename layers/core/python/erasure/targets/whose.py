"""Whose a thing is that was found without looking for anybody: only what is certainly one person's may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from erasure.domain.captures import capture_all
from erasure.domain.collisions import PREFIX_SEPARATORS, check_alone
from erasure.domain.subject import OWN_PLACEHOLDERS
from erasure.domain.target_spec import TargetSpec
from erasure.domain.templates import Template
from erasure.errors import TargetError
from erasure.targets.protocol import Values

_KNOWN_TEXTS = 4096
"""What is worked out once and kept: one person's items lie together."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a text has to look like: ``template`` rendered, or (``prefix``) to begin with that."""

    template: Template
    prefix: bool


class Whose:
    """``spec``: a target as a run by age has it, with its neighbours ``beside`` it; ``forms``: of the texts that tell
    whose something is. Thread-safe."""

    def __init__(self, spec: TargetSpec, forms: Sequence[Form]) -> None:
        # As the map has it: that is what is compared with the neighbours.
        self._spec = replace(spec, retention=None, beside=())
        self._beside = spec.beside
        self._own = OWN_PLACEHOLDERS[spec.subjects[0]]
        self._forms = tuple(forms)
        fixed = {character for form in forms for text in form.template.parts[::2] for character in text}
        self._separators = fixed.intersection(PREFIX_SEPARATORS)
        self.of = lru_cache(_KNOWN_TEXTS)(self._of)
        """The values of the target's placeholders by the texts, in the order of the forms; ``None`` if the texts are
        not of the target's form, if a value cannot be somebody's id or holds a separator of the forms (an item of
        another kind, which no target names, may be called so), and if what is called so may be anybody else's by
        another target."""

    def _of(self, texts: tuple[str, ...]) -> Values | None:
        values = capture_all((form.template, text, form.prefix) for form, text in zip(self._forms, texts, strict=True))
        if values is None or self._own not in values:
            return None
        if any(not self._separators.isdisjoint(value) for value in values.values()):
            return None
        try:
            check_alone(self._spec, self._beside, values)
        except TargetError:
            return None
        return values
