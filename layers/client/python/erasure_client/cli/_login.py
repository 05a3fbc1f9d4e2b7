"""``erasure login`` and ``erasure profiles``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import click

from erasure_client.cli._command import CommandGroup, erasure_command
from erasure_client.cli._exits import CommandError, Exit
from erasure_client.cli._output import Output, clean, plain, table
from erasure_client.cli._profiles import NAME_RULE, Profile, Profiles, complete_profile
from erasure_client.cli._session import KEY_VARIABLE, Session
from erasure_client.errors import InvalidRequestError, NotAllowedError

DEFAULT_NAME = "default"


@erasure_command("login")
@click.option("--url", metavar="URL", help="The service's address: the stack's output ApiUrl.")
@click.option("--stack-name", metavar="NAME", help="Look the address up in the account (needs AWS credentials).")
@click.option("--region", metavar="REGION", help="Of the stack.")
@click.option("--tenant", metavar="TENANT", help="The tenant to act for; a platform key needs one.")
@click.option("--name", metavar="PROFILE", help="The profile's name.  [default: the current one's, or default]")
@click.option("--key-stdin", is_flag=True, help="Read the key from standard input.")
def login(
    session: Session,
    out: Output,
    *,
    url: str | None,
    stack_name: str | None,
    region: str | None,
    tenant: str | None,
    name: str | None,
    key_stdin: bool,
) -> None:
    """Sign in with an API key: keep it, with the service's address, as a profile.

    The key is asked for, or read from standard input, or taken from ERASURE_API_KEY, never from an argument. It is
    tried before it is kept. What is not given stays as the profile has it, unless the address is another one.
    """
    kept = session.file.read()
    named = name or session.profile_name or kept.current or DEFAULT_NAME
    if not NAME_RULE.fullmatch(named):
        raise click.UsageError("A profile's name has letters, digits, dots, hyphens and underscores, 64 at most.")
    before = kept.by_name.get(named, Profile(named))
    given = {"tenant": tenant, "stack_name": stack_name, "region": region}
    profile = replace(before, key=None, **{each: value for each, value in given.items() if value})
    profile = replace(profile, url=_address(out, url, stack_name, profile).rstrip("/"))
    if before.url is not None and (profile.url or "").rstrip("/") != before.url.rstrip("/"):
        # Of another service: its tenant would be another's, and `replay` would erase in its stack.
        profile = Profile(named, profile.url, tenant or None, None, stack_name or None, region or None)
    profile = replace(profile, key=_key(out, key_stdin))
    if stack_name and not url:
        out.note(f"The stack's address is {profile.url}.")
    may_read = _try(session, profile)
    session.file.write(kept.with_profile(profile))
    document = {"profile": named, "url": profile.url, "tenant": profile.tenant, "may_read": may_read}
    tenant_text = f", tenant {clean(profile.tenant)}" if profile.tenant else ""
    out.result(document, f"Signed in at {clean(profile.url)}{tenant_text}.\nProfile {named} is the current one now.")
    if not may_read:
        out.note("The key is good, but lacks the scope erasure:read: it cannot look at requests.")


def _address(out: Output, url: str | None, stack_name: str | None, profile: Profile) -> str:
    if url:
        return url
    if stack_name:
        return _address_of_stack(stack_name, profile.region)
    if profile.url:
        return profile.url
    if not out.is_interactive:
        raise click.UsageError("Give the service's address with --url, or --stack-name.")
    return str(click.prompt("Address of the service", err=True)).strip()


def _address_of_stack(stack_name: str, region: str | None) -> str:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        advice = "From a clone of the project, `pip install './layers/client[aws]'`; or give --url."
        raise CommandError("--stack-name needs boto3, which is not installed.", advice, Exit.USAGE, "usage") from error
    try:
        stacks: list[Any] = boto3.client("cloudformation", region_name=region).describe_stacks(StackName=stack_name)[
            "Stacks"
        ]
    except (BotoCoreError, ClientError) as error:
        # Its text names accounts and roles.
        what = f"The stack could not be looked up ({type(error).__name__})."
        raise CommandError(what, "Look at the AWS credentials, --region and the name, or give --url.") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for stack in stacks for each in stack.get("Outputs", [])}
    if "ApiUrl" not in outputs:
        raise CommandError("The stack has no output ApiUrl: it is none of this service.", "Look at --stack-name.")
    return str(outputs["ApiUrl"])


def _key(out: Output, key_stdin: bool) -> str:
    if key_stdin:
        key = sys.stdin.readline().strip()
    elif os.environ.get(KEY_VARIABLE):
        key = os.environ[KEY_VARIABLE]
        out.note(f"The key is that of {KEY_VARIABLE}.")
    elif out.is_interactive:
        key = str(click.prompt("API key (it is not shown)", hide_input=True, err=True)).strip()
    else:
        raise click.UsageError(f"Give the key with --key-stdin, or in {KEY_VARIABLE}.")
    if not key:
        raise click.UsageError("The key is empty.")
    return key


def _try(session: Session, profile: Profile) -> bool:
    """Whether the key may look at requests. Raises what the service says of a key that is not good here."""
    try:
        session.open(profile).sla()
    except NotAllowedError as error:
        if error.code != "insufficient_permissions":
            raise
        return False
    except InvalidRequestError as error:
        if profile.tenant is not None:
            raise
        advice = "Run it again with --tenant."
        raise CommandError("This key acts for all tenants, and needs to be told for which.", advice) from error
    return True


@click.group(cls=CommandGroup)
def profiles() -> None:
    """See, choose and remove profiles: addresses with their keys."""


@erasure_command("list")
def list_profiles(session: Session, out: Output) -> None:
    """List the profiles. Keys are not shown."""
    kept = session.file.read()
    listed = [kept.by_name[name] for name in sorted(kept.by_name)]
    document = [
        {
            "name": each.name,
            "current": each.name == kept.current,
            "url": each.url,
            "tenant": each.tenant,
            "stack_name": each.stack_name,
            "region": each.region,
            "has_key": each.key is not None,
        }
        for each in listed
    ]
    if not listed and not out.as_json:
        out.note("There is no profile yet. Make one with `erasure login`.")
        return
    rows = table("", "PROFILE", "ADDRESS", "TENANT", "STACK")
    for each in listed:
        mark = "*" if each.name == kept.current else ""
        rows.add_row(mark, *(plain(value or "") for value in (each.name, each.url, each.tenant, each.stack_name)))
    out.result({"profiles": document}, rows)


@erasure_command("use")
@click.argument("name", metavar="PROFILE", shell_complete=complete_profile)
def use_profile(session: Session, out: Output, *, name: str) -> None:
    """Use this profile from now on, if no other is named."""
    kept = _with(session, name)
    session.file.write(replace(kept, current=name))
    out.result({"current": name}, f"{name} is used from now on.")


@erasure_command("remove")
@click.argument("name", metavar="PROFILE", shell_complete=complete_profile)
def remove_profile(session: Session, out: Output, *, name: str) -> None:
    """Forget a profile and its key. The key itself stays good: revoke it with `erasure keys revoke`."""
    kept = _with(session, name)
    session.file.write(kept.without(name))
    out.result({"removed": name}, f"{name} is forgotten. Its key stays good until it is revoked.")


def _with(session: Session, name: str) -> Profiles:
    kept = session.file.read()
    if name not in kept.by_name:
        advice = "See which there are: `erasure profiles list`."
        raise CommandError("There is no profile of this name.", advice, Exit.NOT_FOUND, "not_found")
    return kept


for _each in (list_profiles, use_profile, remove_profile):
    profiles.add_command(_each)

COMMANDS: tuple[click.Command, ...] = (login, profiles)
