"""Goals 1 and 2, and each function's cold start against a bare boto3 client.

Instructions are counted by valgrind's callgrind with ``PYTHONHASHSEED=0``, over the whole process, the interpreter's
own start included. A start ends when the named services have each been sent one signed request (see
``tests/bench/cold_start/probe.py``). Without valgrind the instructions are left out and said to be.
By itself: ``python -m tests.bench cold_start``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erasure.adapters.attributes import to_item
from erasure.adapters.key_store import _key_to_item
from erasure.domain.api_key import SCOPES, ApiKey, new_key, secret_digest
from erasure.domain.data_map import parse_data_map
from local.stack import ROOT
from tests.bench.cold_start.artefacts import PROBE, Artefacts, build_all, function_names
from tests.bench.moto_stack import EIGHT_TARGETS
from tests.client.token_issuer import AUDIENCE, make_token, public_jwk, rsa_key

RATIO_GOAL = 0.20
WALL_RUNS = 7
ISSUER = "https://issuer.example"

# The services each function needs before it is of use; the first request of the workers goes to DynamoDB.
_UNTIL = {"subject_api": ["dynamodb", "sqs"], "backend_api": ["dynamodb", "sqs"], "start_jobs": ["states"]}

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "POWERTOOLS_SERVICE_NAME": "erasure",
    "POWERTOOLS_METRICS_NAMESPACE": "erasure",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    **{f"{name}_TABLE": name.title() for name in ("DELETE_IDS", "REQUESTS", "REGISTRY", "AUDIT")},
    "BATCH_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/batch",
    "BATCH_QUEUE_ARN": "arn:aws:sqs:us-east-1:123456789012:batch",
    "VERIFY_TARGET_FUNCTION": "verify_target",
    "READER_FUNCTION": "verify_target",
    "INTERACTIVE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/interactive",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:erasure_job",
    "DIGEST_KEY_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key",
    "OIDC_ISSUER": ISSUER,
    "OIDC_AUDIENCE": AUDIENCE,
    "OIDC_JWKS_URI": f"{ISSUER}/keys",
    "ERASE_DYNAMODB_FUNCTION": "erase_dynamodb",
    "ERASE_S3_FUNCTION": "erase_s3",
}


@dataclass
class Start:
    """One kind of cold start: the probe's arguments, and what was measured."""

    name: str
    module: str
    path: str
    scenario: dict[str, Any] = field(default_factory=dict)
    instructions: int | None = None
    milliseconds: float = 0.0

    def command(self) -> list[str]:
        # No site, so that neither a virtual environment nor a developer's own packages take part.
        python = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
        return [python, "-S", "-s", str(PROBE), self.module, json.dumps(self.scenario)]

    def environment(self, home: str) -> dict[str, str]:
        return {**_ENVIRONMENT, "PYTHONPATH": self.path, "HOME": home, "PATH": os.environ["PATH"]}


def run() -> list[dict[str, Any]]:
    artefacts = build_all()
    naive, ours, with_token, backend, bare = starts = [
        Start("naive build", "naive_app", str(artefacts.naive), _confirmation("naive")),
        Start("API, token trusted", "app", artefacts.path_of("subject_api"), _confirmation("trusted")),
        Start("API, token checked", "app", artefacts.path_of("subject_api"), _confirmation("checked")),
        Start("API of backends", "app", artefacts.path_of("backend_api"), _call_of_a_backend()),
        Start("bare boto3 client", "bare", str(artefacts.bare), {"event": None}),
    ]
    workers = [
        Start(name, "app", artefacts.path_of(name), {"until": _UNTIL.get(name, ["dynamodb"]), "event": _event(name)})
        for name in function_names()
        if name not in ("subject_api", "backend_api")
    ]
    _measure([*starts, *workers])
    return [
        _row_of_goal_1(ours, naive, "all but the token check"),
        _row_of_goal_1(with_token, naive, "token check included"),
        _row_of_goal_1(backend, naive, "API of backends"),
        _row_of_goal_2(artefacts),
        *(_row_of_function(start, bare) for start in (with_token, backend, *workers)),
    ]


# --- rows --------------------------------------------------------------------------------------------------------


def _row_of_goal_1(ours: Start, naive: Start, what: str) -> dict[str, Any]:
    row = {"goal": 1, "what": f"cold start to the first DynamoDB and SQS call, {what} (M instructions)"}
    if ours.instructions is None or naive.instructions is None:
        return {**row, "measured": "valgrind is not installed", "bound": None, "ratio": None, "verdict": "skipped"}
    ratio = ours.instructions / naive.instructions
    return {
        **row,
        "measured": round(ours.instructions / 1e6, 1),
        "bound": f"{RATIO_GOAL} x naive build's {naive.instructions / 1e6:.1f}",
        "ratio": round(ratio, 4),
        "verdict": "pass" if ratio <= RATIO_GOAL else "miss",
    }


def _row_of_goal_2(artefacts: Artefacts) -> dict[str, Any]:
    modules = [module for folder in artefacts.compiled() for module in folder.rglob("*.py")]
    missing = [module for module in modules if not has_unchecked_bytecode(module)]
    return {
        "goal": 2,
        "what": f"modules without unchecked bytecode, of {len(modules)} in all artefacts",
        "measured": len(missing),
        "bound": 0,
        "ratio": None,
        "verdict": "pass" if modules and not missing else "miss",
    }


def has_unchecked_bytecode(module: Path) -> bool:
    """Whether a .pyc for this interpreter lies beside ``module`` that is used without looking at the source."""
    compiled = Path(importlib.util.cache_from_source(str(module)))
    if not compiled.exists():
        return False
    header = compiled.read_bytes()[:8]
    hash_based, checks_source = 0b01, 0b10
    flags = int.from_bytes(header[4:8], "little")
    return header[:4] == importlib.util.MAGIC_NUMBER and flags & hash_based > 0 and not flags & checks_source


def _row_of_function(start: Start, bare: Start) -> dict[str, Any]:
    counts = ""
    if start.instructions and bare.instructions:
        ratio = start.instructions / bare.instructions
        counts = f", {start.instructions / 1e6:.0f} M instructions"
    else:
        ratio = start.milliseconds / bare.milliseconds
    bound = f"{bare.milliseconds:.0f} ms, {(bare.instructions or 0) / 1e6:.0f} M"
    return {
        "goal": "-",
        "what": f"cold start of {start.name} against a bare boto3 DynamoDB client with bytecode",
        "measured": f"{start.milliseconds:.0f} ms{counts}",
        "bound": bound,
        "ratio": round(ratio, 3),
        "verdict": "info",
    }


# --- measuring ---------------------------------------------------------------------------------------------------


def _measure(starts: Sequence[Start]) -> None:
    with tempfile.TemporaryDirectory() as home:
        for start in starts:
            start.milliseconds = _wall(start, home)
        valgrind = shutil.which("valgrind")
        if valgrind:
            count: Callable[[Start], int] = lambda start: _instructions(valgrind, start, home)  # noqa: E731
            # Counts do not depend on what else runs. The longest first.
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for start, instructions in zip(starts, pool.map(count, starts), strict=True):
                    start.instructions = instructions


def _wall(start: Start, home: str) -> float:
    """Median milliseconds from the interpreter's first line to the last request, files already in memory."""
    runs = []
    for _ in range(WALL_RUNS + 1):
        done = subprocess.run(start.command(), env=start.environment(home), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{start.name}: {done.stderr[-2000:] or done.stdout}")
        runs.append(float(done.stdout.split()[-1]))
    return statistics.median(runs[1:])


def _instructions(valgrind: str, start: Start, home: str) -> int:
    counted = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", *start.command()]
    done = subprocess.run(counted, env=start.environment(home), capture_output=True, text=True, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"{start.name}: {done.stderr[-2000:]}")
    return int(found.group(1).replace(",", ""))


# --- events ------------------------------------------------------------------------------------------------------


def _confirmation(kind: str) -> dict[str, Any]:
    """A confirmed self-deletion. ``kind``: ``naive`` and ``trusted`` check no token, ``checked`` does."""
    headers = {"Content-Type": "application/json"}
    scenario: dict[str, Any] = {"until": _UNTIL["subject_api"]}
    if kind == "trusted":
        scenario["principal"] = True
    if kind == "checked":
        token = make_token(ISSUER, rsa_key(), exp=int(time.time()) + 3600)
        headers["Authorization"] = f"Bearer {token}"
        scenario["jwks"] = {"keys": [public_jwk(rsa_key(), "rsa-0")]}
    path = "/users/current/confirm-delete"
    event = {
        "httpMethod": "POST",
        "path": path,
        "resource": path,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {"timeout": "0"},
        "multiValueQueryStringParameters": {"timeout": ["0"]},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"requestId": "r-1", "path": path, "stage": "v1", "domainName": "api.example"},
        "body": json.dumps({"delete_id": "x" * 43}),
        "isBase64Encoded": False,
    }
    return {**scenario, "event": event}


def _call_of_a_backend() -> dict[str, Any]:
    """June's POST for a user. Its key and the data map are read, the call is counted."""
    key = new_key("live")
    stored = ApiKey(key.key_id, "live", secret_digest(key.secret), "acme", frozenset(SCOPES), "", datetime.now(UTC))
    event = json.loads((ROOT / "events" / "backend_api" / "user_deletion_request.json").read_text())
    event["headers"]["Authorization"] = f"Basic {key.text}"
    targets = json.dumps([json.loads(target.to_json()) for target in parse_data_map(EIGHT_TARGETS).targets])
    items = {
        f"KEY#{key.key_id}": _key_to_item(stored),
        "DATA_MAP": to_item({"version": 1, "digest": "0" * 64, "targets": targets}),
    }
    return {"until": _UNTIL["backend_api"], "event": event, "items": items}


def _event(function: str) -> dict[str, Any]:
    request_id = "er_01JAZ3T1Q6Q9V4X8R2M5N7P0AB"
    job = {"job_id": f"{request_id}-1", "request_ids": [request_id]}
    if function == "start_jobs":
        body = json.dumps({"request_id": request_id, "attempt": 1})
        return {"Records": [{"messageId": "m-1", "body": body, "eventSource": "aws:sqs"}]}
    return {**job, "unit": "dynamodb-00", "eraser": "erase_dynamodb", "passes_left": 600}
