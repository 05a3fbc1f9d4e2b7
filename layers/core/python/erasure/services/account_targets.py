"""Where a data map keeps accounts, as far as they are found by their owners' own ids, and whether somebody has one."""

from __future__ import annotations

from collections.abc import Sequence

from erasure.domain.collisions import check_alone
from erasure.domain.scope import for_all_organizations, needs
from erasure.domain.subject import USER, Subject
from erasure.domain.target_spec import TargetSpec
from erasure.errors import TargetError
from erasure.ports import AccountReader

ACCOUNT_CATEGORY = "account"
ACCOUNT_EXISTS, ACCOUNT_UNKNOWN = "account_exists", "account_unknown"
"""Why a subject does not count as gone."""


def account_specs(targets: Sequence[TargetSpec], subject_type: str = USER) -> list[TargetSpec]:
    """What further ids or other items lead to is not among them: that there is any, only the account itself can say."""
    return [
        for_all_organizations(target)
        for target in targets
        if target.category == ACCOUNT_CATEGORY and subject_type in target.subjects and _is_found_by_id(target)
    ]


def why_not_gone(subject: Subject, targets: Sequence[TargetSpec], accounts: AccountReader) -> str | None:
    """``account_exists``, or ``account_unknown`` if the map's ``targets`` keep no accounts of such subjects, or this
    one could be taken for somebody else's. ``None``: the account is seen gone. Raises ``UnavailableError``."""
    specs = account_specs(targets, subject.type)
    try:
        for spec in specs:
            check_alone(spec, targets, subject.values())
    except TargetError:
        return ACCOUNT_UNKNOWN
    if not specs:
        return ACCOUNT_UNKNOWN
    return ACCOUNT_EXISTS if accounts.exists(subject, specs) else None


def _is_found_by_id(spec: TargetSpec) -> bool:
    return spec.for_each is None and not needs(spec)[1]
