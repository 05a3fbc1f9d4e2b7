"""Signing in: the key is tried before it is kept, and shown nowhere."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from moto import mock_aws

from erasure_client.testing import FakeService
from tests.functional.client.cli.conftest import Erasure


@pytest.fixture
def kept(config: Path) -> Any:
    """The file as it is now; empty if there is none."""
    return lambda: tomllib.loads(config.read_text()) if config.exists() else {}


def test_a_key_from_standard_input_is_kept(erasure: Erasure, service: FakeService, config: Path, kept: Any) -> None:
    """A good key becomes the current profile, in a file of its owner's only."""
    result = erasure("login", "--url", service.url, "--tenant", "acme", "--key-stdin", input=service.api_key + "\n")
    assert result.exit_code == 0
    assert result.stdout == "Signed in at https://erasure.test, tenant acme.\nProfile default is the current one now.\n"
    assert kept() == {
        "current": "default",
        "profiles": {"default": {"url": service.url, "tenant": "acme", "key": service.api_key}},
    }
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert erasure("list").exit_code == 0


def test_a_key_is_asked_for_without_showing_it(
    erasure: Erasure, service: FakeService, kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal address and key are asked for; the key is not echoed."""
    asked: list[tuple[str, bool]] = []

    def answer(text: str, *, hide_input: bool = False, err: bool = False) -> str:
        asked.append((text, hide_input and err))
        return f" {service.api_key} " if hide_input else service.url

    monkeypatch.setattr(click, "prompt", answer)
    assert erasure("login", is_interactive=True).exit_code == 0
    assert [hidden for _, hidden in asked] == [False, True]
    assert kept()["profiles"]["default"]["key"] == service.api_key


def test_a_key_of_the_environment_is_taken(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """Where neither is there, the environment's variable serves."""
    result = erasure("login", "--url", service.url, "--name", "ci", env={"ERASURE_API_KEY": service.api_key})
    assert result.exit_code == 0
    assert "ERASURE_API_KEY" in result.stderr
    assert kept()["current"] == "ci"


@pytest.mark.parametrize(
    ("key", "code"), [("sk_test_0000000000000000_wrong", 4), ("", 2), ("with a blank", 2), ("käse", 2)]
)
def test_a_bad_key_is_not_kept(erasure: Erasure, service: FakeService, kept: Any, key: str, code: int) -> None:
    """A key that the service does not know, or that is none, is told and not written; it is not shown either."""
    result = erasure("login", "--url", service.url, "--key-stdin", input=f"{key}\n")
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert not key or key not in result.stderr + result.stdout
    assert kept() == {}


def test_a_key_of_another_tenant_is_not_kept(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """A tenant that is not the key's is told at once."""
    result = erasure("login", "--url", service.url, "--tenant", "globex", "--key-stdin", input=service.api_key)
    assert result.exit_code == 4
    assert kept() == {}


def test_a_platform_key_needs_a_tenant(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """A key that acts for all tenants is kept together with one."""
    key = service.make_key(is_platform=True)
    result = erasure("login", "--url", service.url, "--key-stdin", input=key)
    assert result.exit_code == 1
    assert "--tenant" in result.stderr
    assert kept() == {}
    assert erasure("login", "--url", service.url, "--tenant", "acme", "--key-stdin", input=key).exit_code == 0


def test_a_key_that_may_not_look_is_kept_all_the_same(erasure: Erasure, service: FakeService) -> None:
    """A key that can only write is good; that it cannot look is said."""
    key = service.make_key(scopes=["erasure:write"])
    result = erasure("login", "--url", service.url, "--key-stdin", "--json", input=key)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["may_read"] is False
    assert "erasure:read" in erasure("login", "--key-stdin", input=key).stderr


def test_signing_in_again_renews_the_key_only(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """Address and tenant of a profile stay when its key is renewed."""
    erasure("login", "--url", service.url, "--tenant", "acme", "--key-stdin", input=service.api_key)
    new = service.make_key()
    assert erasure("login", "--key-stdin", input=new).exit_code == 0
    assert kept()["profiles"]["default"] == {"url": service.url, "tenant": "acme", "key": new}


def test_an_address_in_clear_is_refused(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """The key is not sent where anybody on the way could read it."""
    result = erasure("login", "--url", "http://erasure.example.com", "--key-stdin", input=service.api_key)
    assert result.exit_code == 2
    assert "https://" in result.stderr
    assert (kept(), service.calls) == ({}, [])


def test_without_a_terminal_what_is_missing_is_told(erasure: Erasure, service: FakeService) -> None:
    """Nothing waits for an answer that nobody can give."""
    assert "--url" in erasure("login", "--key-stdin", input=service.api_key).stderr
    assert "--key-stdin" in erasure("login", "--url", service.url).stderr


@mock_aws
def test_the_address_of_a_stack_is_looked_up(
    erasure: Erasure, service: FakeService, kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AWS credentials the stack's name is enough; its name and region are kept for ``doctor``."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    topic = {"T": {"Type": "AWS::SNS::Topic"}}
    template = {"Resources": topic, "Outputs": {"ApiUrl": {"Value": service.url}}}
    cloud = boto3.client("cloudformation", region_name="eu-west-1")
    cloud.create_stack(StackName="erasure", TemplateBody=json.dumps(template))
    cloud.create_stack(StackName="other", TemplateBody=json.dumps({"Resources": topic}))
    where = ("--region", "eu-west-1", "--key-stdin")
    assert erasure("login", "--stack-name", "erasure", *where, input=service.api_key).exit_code == 0
    assert kept()["profiles"]["default"] == {
        "url": service.url,
        "key": service.api_key,
        "stack_name": "erasure",
        "region": "eu-west-1",
    }
    assert "ApiUrl" in erasure("login", "--stack-name", "other", *where, input=service.api_key).stderr
    missing = erasure("login", "--stack-name", "missing", *where, input=service.api_key)
    assert missing.exit_code == 1
    assert "could not be looked up" in missing.stderr


def test_profiles_are_listed_chosen_and_removed(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """One of several is the current one; keys are not shown."""
    for name in ("one", "two"):
        erasure("login", "--name", name, "--url", service.url, "--key-stdin", input=service.api_key)
    assert erasure("profiles", "use", "one").exit_code == 0
    listed = json.loads(erasure("profiles", "list", "--json").stdout)["profiles"]
    assert [(each["name"], each["current"], each["has_key"]) for each in listed] == [
        ("one", True, True),
        ("two", False, True),
    ]
    assert [line.split()[:2] for line in erasure("profiles", "list").stdout.splitlines()[1:]] == [
        ["*", "one"],
        ["two", service.url],
    ]
    assert erasure("--profile", "two", "list").exit_code == 0
    assert erasure("profiles", "remove", "one").exit_code == 0
    assert list(kept()["profiles"]) == ["two"]
    assert erasure("list").exit_code == 4
    for action in ("use", "remove"):
        assert erasure("profiles", action, "one").exit_code == 5


def test_names_of_profiles_are_plain(erasure: Erasure, service: FakeService, kept: Any) -> None:
    """A name that would have to be quoted everywhere is refused."""
    assert erasure("login", "--name", "a b", "--url", service.url, "--key-stdin", input=service.api_key).exit_code == 2
    assert kept() == {}
