"""What a run of the command line works with: the profile that holds, and the client made of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._profiles import Profile, ProfileFile, config_path

if TYPE_CHECKING:
    from erasure_client import ErasureClient

URL_VARIABLE, KEY_VARIABLE, TENANT_VARIABLE = "ERASURE_URL", "ERASURE_API_KEY", "ERASURE_TENANT"
PROFILE_VARIABLE = "ERASURE_PROFILE"
ENVIRONMENT = "environment"
"""The name of what is made of the environment's variables only."""


@dataclass
class Session:
    """``profile_name``: as the option names it. ``transport``: an ``httpx`` transport, for tests.
    ``is_interactive``: whether somebody can be asked; None: look at the terminal."""

    profile_name: str | None = None
    transport: Any = None
    is_interactive: bool | None = None
    _close: list[Callable[[], None]] = field(default_factory=list, repr=False)

    @property
    def file(self) -> ProfileFile:
        return ProfileFile(config_path(os.environ))

    @cached_property
    def profile(self) -> Profile:
        """The profile that holds. One that is named by the option comes before the environment's ``ERASURE_URL``,
        ``ERASURE_API_KEY`` and ``ERASURE_TENANT``, any other after them; an address and a key of the environment are
        not mixed with a profile that nobody has named. Raises :class:`CommandError`."""
        name, environment = self.profile_name or os.environ.get(PROFILE_VARIABLE), _environment()
        if name is None and environment.url and environment.key:
            return environment
        profiles = self.file.read()
        name = name or profiles.current
        if name is None:
            return environment
        kept = profiles.by_name.get(name)
        if kept is None:
            raise CommandError(
                "There is no profile of this name.",
                "See which there are: `erasure profiles list`.",
                Exit.USAGE,
                "usage",
            )
        joined = _joined(kept, environment, name) if self.profile_name else _joined(environment, kept, name)
        if joined.key != kept.key:
            # Whose key it is decides whose data is meant: it is told before anything is erased.
            return replace(joined, name=f"{name}, with the key of {KEY_VARIABLE}")
        return joined

    def client(self) -> ErasureClient:
        """The client of this run; it is closed with it. Raises :class:`CommandError` if nobody is signed in."""
        return self._client

    @cached_property
    def _client(self) -> ErasureClient:
        profile = self.profile
        if not profile.url or not profile.key:
            missing = "an address" if not profile.url else "a key"
            raise CommandError(
                f"There is no profile with {missing}.",
                "Sign in with `erasure login`, or set ERASURE_URL and ERASURE_API_KEY.",
                Exit.NOT_ALLOWED,
                "not_signed_in",
            )
        return self.open(profile)

    def open(self, profile: Profile) -> ErasureClient:
        """A client for a profile with address and key; it is closed with this run."""
        from erasure_client import ErasureClient

        client = ErasureClient(profile.url, api_key=profile.key, tenant_id=profile.tenant, transport=self.transport)
        self._close.append(client.close)
        return client

    def close(self) -> None:
        while self._close:
            self._close.pop()()


pass_session = click.make_pass_decorator(Session)


def _environment() -> Profile:
    known = os.environ.get
    return Profile(
        ENVIRONMENT, known(URL_VARIABLE) or None, known(TENANT_VARIABLE) or None, known(KEY_VARIABLE) or None
    )


def _joined(first: Profile, second: Profile, name: str) -> Profile:
    """What the first does not say, the second does."""
    url, key = first.url or second.url, first.key or second.key
    parted = bool(first.url) and first.key is None and second.key is not None
    if parted and second.url is not None and _place(second.url) != _place(first.url):
        raise CommandError(
            "The address is from one place and the key from another: the key would go where it does not belong.",
            "Set ERASURE_URL and ERASURE_API_KEY together, or neither.",
            Exit.USAGE,
            "configuration",
        )
    return Profile(
        name,
        url,
        first.tenant or second.tenant,
        key,
        first.stack_name or second.stack_name,
        first.region or second.region,
    )


def _place(url: str | None) -> str:
    return (url or "").rstrip("/")
