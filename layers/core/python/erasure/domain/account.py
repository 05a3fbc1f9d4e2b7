"""What an account has in the places that a data map names, as far as erasing there depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Index:
    """``keys``: as of the table. ``whole``: items stand in it with all their attributes. ``ready``: it is not in the
    making or going."""

    keys: tuple[tuple[str, str], ...]
    whole: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class Table:
    """``keys``: attribute and type (``S``, ``N``, ``B``), the partition's first. ``key_arn``: the customer's own key
    with which it is encrypted."""

    keys: tuple[tuple[str, str], ...]
    indexes: Mapping[str, Index]
    key_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """``versioning``: ``Enabled``, ``Suspended`` or empty. ``lock``: what Object Lock does to new objects, in words;
    ``None``: the bucket has none. ``reachable=False``: there is one, and it is not this account's or refuses."""

    versioning: str = ""
    mfa_delete: bool = False
    lock: str | None = None
    reachable: bool = True
