"""Profiles: to which service, as which tenant, with which key. They are kept in one file that only its owner reads."""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click

from erasure_client.cli._exits import CommandError, Exit

CONFIG_VARIABLE = "ERASURE_CONFIG"
NAME_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEAD = "# Written by `erasure login`. It holds keys: keep it to yourself.\n"


@dataclass(frozen=True, slots=True)
class Profile:
    """All but the name may be missing. ``tenant``: which one a platform key acts for. ``stack_name`` and ``region``:
    of the CloudFormation stack, for what looks into the account."""

    name: str
    url: str | None = None
    tenant: str | None = None
    key: str | None = field(default=None, repr=False)
    stack_name: str | None = None
    region: str | None = None


_FIELDS = tuple(each.name for each in fields(Profile) if each.name != "name")


@dataclass(frozen=True, slots=True)
class Profiles:
    """``current``: the name of the one that is used if none is named."""

    current: str | None = None
    by_name: Mapping[str, Profile] = field(default_factory=dict)

    def with_profile(self, profile: Profile) -> Profiles:
        """With this one, instead of any other of its name, as the current one."""
        return Profiles(profile.name, {**self.by_name, profile.name: profile})

    def without(self, name: str) -> Profiles:
        left = {each: profile for each, profile in self.by_name.items() if each != name}
        return Profiles(None if self.current == name else self.current, left)


def config_path(environment: Mapping[str, str]) -> Path:
    named = environment.get(CONFIG_VARIABLE)
    return Path(named) if named else Path(click.get_app_dir("erasure")) / "config.toml"


def complete_profile(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """For the shell: names of profiles; none if the file cannot be read."""
    try:
        kept = ProfileFile(config_path(os.environ)).read()
    except CommandError:
        return []
    return [name for name in sorted(kept.by_name) if name.startswith(incomplete)]


class ProfileFile:
    """The file at ``path``. Its keys are in clear, so one that others can read is not used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Profiles:
        """The profiles; none if there is no file. Raises :class:`CommandError`."""
        try:
            with self.path.open("rb") as file:
                self._must_be_private(os.fstat(file.fileno()))
                document = tomllib.load(file)
        except FileNotFoundError:
            return Profiles()
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}", "Look at its permissions.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            # Not the parser's text: it may quote the line with the key.
            raise self._error("is not TOML", "Correct it, or remove it and run `erasure login`.") from error
        return _profiles_of(document)

    def write(self, profiles: Profiles) -> None:
        """Put the profiles in place of what the file says, in one step."""
        path = self.path.resolve()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made for its owner only, from the beginning.
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(_text_of(profiles))
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._error(f"cannot be written: {error.strerror}", "Look at its directory's permissions.") from error

    def _must_be_private(self, status: os.stat_result) -> None:
        if os.name != "posix":
            return
        if status.st_uid != os.getuid():
            raise self._error("belongs to another user", "Name a file of your own in ERASURE_CONFIG.")
        if status.st_mode & 0o077:
            advice = f"`chmod 600 {shlex.quote(str(self.path))}`, and renew the keys if somebody may have read them."
            raise self._error("holds keys, and others can read it", advice)

    def _error(self, what: str, advice: str) -> CommandError:
        return CommandError(f"The profiles' file {self.path} {what}.", advice, Exit.USAGE, "configuration")


def _profiles_of(document: Mapping[str, Any]) -> Profiles:
    current, tables = document.get("current"), document.get("profiles")
    by_name = {}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if isinstance(table, dict) and NAME_RULE.fullmatch(name):
            values = {each: table[each] for each in _FIELDS if isinstance(table.get(each), str) and table[each]}
            by_name[name] = Profile(name, **values)
    return Profiles(current if isinstance(current, str) and current in by_name else None, by_name)


def _text_of(profiles: Profiles) -> str:
    lines = [_HEAD]
    if profiles.current is not None:
        lines.append(f"current = {_quoted(profiles.current)}\n")
    for name in sorted(profiles.by_name):
        profile = profiles.by_name[name]
        lines.append(f"\n[profiles.{_quoted(name)}]\n")
        values = ((each, getattr(profile, each)) for each in _FIELDS)
        lines.extend(f"{each} = {_quoted(value)}\n" for each, value in values if value)
    return "".join(lines)


def _quoted(text: str) -> str:
    # TOML's basic strings escape as JSON does, but for DEL, and know no surrogate pairs.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
