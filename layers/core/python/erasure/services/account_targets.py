"""Where a data map keeps accounts of users, as far as they are found by the user's own id."""

from __future__ import annotations

from collections.abc import Sequence

from erasure.domain.scope import for_all_organizations, needs
from erasure.domain.subject import USER
from erasure.domain.target_spec import TargetSpec

ACCOUNT_CATEGORY = "account"


def account_specs(targets: Sequence[TargetSpec]) -> list[TargetSpec]:
    """What further ids or other items lead to is not among them: that there is any, only the account itself can say."""
    return [
        for_all_organizations(target)
        for target in targets
        if target.category == ACCOUNT_CATEGORY and USER in target.subjects and _is_found_by_id(target)
    ]


def _is_found_by_id(spec: TargetSpec) -> bool:
    return spec.for_each is None and not needs(spec)[1]
