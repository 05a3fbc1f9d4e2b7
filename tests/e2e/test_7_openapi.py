"""The deployed API keeps to its own document: generated calls, good ones and bad ones, on every route."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.deployment import make_key
from local.stack import Stack
from local.tokens import token

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
OF_SUBJECTS = "^/(api/v1/)?users/current|^/rpc/meta$"
TENANT = "a-tenant-of-generated-calls"


@pytest.mark.parametrize(
    ("caller", "paths"),
    [("subject", ["--include-path-regex", OF_SUBJECTS]), ("backend", ["--exclude-path-regex", OF_SUBJECTS])],
)
def test_no_call_gets_an_answer_that_is_not_documented(
    stack: Stack, tmp_path: Path, caller: str, paths: list[str]
) -> None:
    """No 5xx, no undocumented status, content type or header, no body that breaks its schema.

    The tenant is one that nobody else's data belongs to, and its key may not change the data map: the map is the
    deployment's, and only platform keys may.
    """
    credential = (
        token("generated", TENANT, stack=stack)
        if caller == "subject"
        else make_key(stack, TENANT, "", "--calls-per-minute", "60000")
    )
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{stack.api_url}/openapi.json", "--url", stack.api_url),
        *("--header", f"Authorization: Bearer {credential}"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "4"),
        *("--seed", "20261122", "--request-timeout", "60", "--continue-on-failure", "--warnings", "off", "--no-color"),
        *paths,
    ]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Tested: " in done.stdout
