"""The file with the profiles: private, whole, and read as it was written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._profiles import Profile, ProfileFile, Profiles, config_path
from erasure_client.cli._session import Session

KEY = "sk_test_8k2j5h1m9p3q7r4s_4fJ0sZ0Q3b8cXy7mL2nP5vT9wR1kD6hG0aE4uI8oSzM"
PROD = Profile("prod", "https://erasure.example.com/prod", "acme", KEY)


@pytest.fixture
def file(tmp_path: Path) -> ProfileFile:
    return ProfileFile(tmp_path / "new" / "config.toml")


@pytest.fixture
def session(file: ProfileFile, monkeypatch: pytest.MonkeyPatch) -> Session:
    """With the profile ``prod`` as the current one, and nothing in the environment."""
    for name in ("ERASURE_URL", "ERASURE_API_KEY", "ERASURE_TENANT", "ERASURE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ERASURE_CONFIG", str(file.path))
    file.write(Profiles().with_profile(PROD))
    return Session()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_a_file_there_are_no_profiles(file: ProfileFile) -> None:
    """Nobody has signed in yet: that is no error."""
    assert file.read() == Profiles()


def test_the_file_is_its_owners_only(file: ProfileFile) -> None:
    """Nobody else can read the file, or list its directory, whatever the umask."""
    before = os.umask(0)
    try:
        file.write(Profiles().with_profile(PROD))
    finally:
        os.umask(before)
    assert mode(file.path) == 0o600
    assert mode(file.path.parent) == 0o700
    assert [each.name for each in file.path.parent.iterdir()] == ["config.toml"]


_VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(url=_VALUES, tenant=_VALUES, key=_VALUES)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, url: str | None, tenant: str | None, key: str | None
) -> None:
    """Whatever a tenant is called, it is read as it was written."""
    file = ProfileFile(tmp_path_factory.getbasetemp() / "config.toml")
    profiles = Profiles().with_profile(Profile("a.b-c", url, tenant, key, "stack", "eu-west-1")).with_profile(PROD)
    file.write(profiles)
    assert file.read() == profiles


@pytest.mark.parametrize("others", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_can_read_is_refused(file: ProfileFile, others: int) -> None:
    """A key that others can read is not used; the command that mends it is told."""
    file.write(Profiles().with_profile(PROD))
    file.path.chmod(others)
    with pytest.raises(CommandError) as refused:
        file.read()
    assert f"chmod 600 {file.path}" in (refused.value.next or "")
    file.path.chmod(0o600)
    assert file.read().current == "prod"


def test_a_broken_file_is_told_without_its_text(file: ProfileFile) -> None:
    """The error about a file that is no TOML does not show the line with the key."""
    file.write(Profiles())
    file.path.write_text(f'[profiles.prod]\nkey = "{KEY}\n')
    with pytest.raises(CommandError, match="TOML") as broken:
        file.read()
    assert KEY not in f"{broken.value} {broken.value.next} {broken.value!r}"


def test_a_write_that_fails_leaves_the_file_as_it_was(file: ProfileFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced in one step or not at all, and nothing is left beside it."""
    file.write(Profiles().with_profile(PROD))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="No space left"):
        file.write(Profiles())
    assert file.read().by_name == {"prod": PROD}
    assert [each.name for each in file.path.parent.iterdir()] == ["config.toml"]


def test_a_link_to_the_file_stays_one(file: ProfileFile, tmp_path: Path) -> None:
    """Who keeps the file elsewhere, and links to it, still does so afterwards."""
    file.write(Profiles())
    link = tmp_path / "link.toml"
    link.symlink_to(file.path)
    ProfileFile(link).write(Profiles().with_profile(PROD))
    assert link.is_symlink()
    assert file.read().current == "prod"


def test_removing_the_current_profile_chooses_no_other() -> None:
    """Nobody is made to act as another tenant by removing one."""
    profiles = Profiles().with_profile(Profile("a")).with_profile(Profile("b"))
    assert profiles.without("b") == Profiles(None, {"a": Profile("a")})
    assert profiles.without("a").current == "b"


def test_a_profile_does_not_show_its_key() -> None:
    """Not in its repr either."""
    assert KEY not in repr(Profiles().with_profile(PROD))


def test_where_the_file_is(tmp_path: Path) -> None:
    """``ERASURE_CONFIG`` says where; else it is where the system keeps programs' settings."""
    assert config_path({"ERASURE_CONFIG": str(tmp_path)}) == tmp_path
    assert config_path({}).name == "config.toml"
    assert config_path({}).parent.name == "erasure"


def test_the_current_profile_holds(session: Session) -> None:
    """Without options and environment, it is the one that was signed in with last."""
    assert session.profile == PROD


def test_the_environment_comes_before_the_current_profile(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and key of the environment are used together, as in a pipeline."""
    monkeypatch.setenv("ERASURE_URL", "https://other.example.com")
    monkeypatch.setenv("ERASURE_API_KEY", "sk_test_other")
    monkeypatch.setenv("ERASURE_TENANT", "globex")
    profile = session.profile
    assert (profile.url, profile.key, profile.tenant) == ("https://other.example.com", "sk_test_other", "globex")


def test_the_environment_is_not_mixed_with_a_profile_that_nobody_has_named(
    session: Session, file: ProfileFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key does not act for the tenant of the profile that happens to be current; the file is not even read."""
    monkeypatch.setenv("ERASURE_URL", "https://other.example.com")
    monkeypatch.setenv("ERASURE_API_KEY", "sk_test_other")
    file.path.chmod(0o666)
    assert session.profile.tenant is None
    file.path.chmod(0o600)
    monkeypatch.setenv("ERASURE_PROFILE", "prod")
    named = Session().profile
    assert (named.tenant, named.key) == ("acme", "sk_test_other")


def test_a_profile_that_is_named_comes_before_the_environment(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--profile`` means this one, whatever is left over in the environment."""
    monkeypatch.setenv("ERASURE_URL", "https://other.example.com")
    monkeypatch.setenv("ERASURE_API_KEY", "sk_test_other")
    monkeypatch.setenv("ERASURE_TENANT", "globex")
    session.profile_name = "prod"
    assert session.profile == PROD


def test_a_key_does_not_go_to_another_address(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile's key is not sent to an address that the environment names."""
    monkeypatch.setenv("ERASURE_URL", "https://other.example.com")
    with pytest.raises(CommandError, match="where it does not belong"):
        _ = session.profile
    monkeypatch.setenv("ERASURE_URL", "https://erasure.example.com/prod/")
    assert session.profile.key == KEY


def test_a_profile_that_does_not_exist_is_told(session: Session) -> None:
    """No other is used in its place."""
    session.profile_name = "prd"
    with pytest.raises(CommandError, match="no profile") as missing:
        _ = session.profile
    assert missing.value.exit_code == Exit.USAGE


def test_without_a_key_nobody_is_signed_in(session: Session, file: ProfileFile) -> None:
    """What is missing is told, with how to sign in."""
    file.write(Profiles())
    with pytest.raises(CommandError, match="no profile with an address") as missing:
        session.client()
    assert missing.value.exit_code == Exit.NOT_ALLOWED
    assert "erasure login" in (missing.value.next or "")
