"""Build the template with the real SAM CLI and deploy it to a local stack's emulator.

Work that was done already is not done again: a build is repeated when a source file changed, a deployment when the
build, its parameters or the emulator's run changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from local.emulator import EMULATOR_PYTHON, emulator
from local.full_sample import BUCKETS as FULL_BUCKETS
from local.full_sample import PARTNER, PARTNER_ROLE
from local.full_sample import TABLES as FULL_TABLES
from local.full_seeding import create_places
from local.issuer import issuer
from local.sample import BUCKETS, TABLES
from local.stack import (
    AUDIENCE,
    DEFAULT_PORT,
    LOCAL,
    REGION,
    ROOT,
    STACK_NAME,
    LocalError,
    Place,
    Stack,
    bare_stack,
    read_env,
    write_env,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SAMPLE_DATA_MAP = Path(__file__).resolve().parent / "data-map.yaml"
_BUILD = LOCAL / "build"
_SOURCES = ("template.yaml", "Makefile", "build.mk", "functions", "layers")
_TTL_TABLES = ("DELETE_IDS_TABLE", "REGISTRY_TABLE")
_TTL_ATTRIBUTE = "expires_at"
Say = Callable[[str], None]


def up(place: Place, say: Say) -> Stack:
    """Start what is not running, deploy what is not deployed, and write the env file.

    ``say`` is told each step that takes a while. May be called at any time, also by two processes at once.
    """
    with _alone(place.folder / "up.lock"):
        for daemon in (emulator(place), issuer(place)):
            if daemon.pid() is None:
                say(f"starting the {daemon.name}")
            daemon.start()
        built = build(say)
        stack = deploy(place, built, say)
        write_env(place.env_file, stack.variables)
        # Who follows the README with another port finds the file where it says, unless it is the default stack's own.
        if place.port != DEFAULT_PORT and emulator(Place()).pid() is None:
            write_env(LOCAL / "stack.env", stack.variables)
        return stack


def down(place: Place) -> bool:
    """Stop the stack's processes and all they started. True if anything was running."""
    stopped = [daemon.stop() for daemon in (emulator(place), issuer(place))]
    forget(place)
    return any(stopped)


def forget(place: Place) -> None:
    """Remove the env files of a stack that is no longer there, the copy of the latest only if it is this one's."""
    place.env_file.unlink(missing_ok=True)
    latest = LOCAL / "stack.env"
    if latest.exists() and read_env(latest).get("AWS_ENDPOINT_URL") == place.endpoint:
        latest.unlink()


def build(say: Say) -> str:
    """``sam build`` for this machine's Python and processor, unless nothing changed. Returns a digest of the result."""
    with _alone(LOCAL / "build.lock"):
        digest = _sources_digest()
        stamp = LOCAL / "build.digest"
        if not ((_BUILD / "template.yaml").exists() and stamp.exists() and stamp.read_text() == digest):
            say("building")
            stamp.unlink(missing_ok=True)
            environment = {"ERASURE_PYTHON": str(EMULATOR_PYTHON), "ERASURE_ARCH": platform.machine()}
            _sam(
                [
                    *("build", "--template-file", str(ROOT / "template.yaml"), "--build-dir", str(_BUILD)),
                    *("--parameter-overrides", *_machine_parameters()),
                ],
                environment,
                LOCAL / "build.log",
            )
            stamp.write_text(digest)
        return digest


def deploy(place: Place, built: str, say: Say) -> Stack:
    """``sam deploy`` unless this build is what this run of the emulator holds; then what the emulator dropped."""
    stamp = place.folder / "deployed.digest"
    parameters = _parameters(place)
    deployment = json.dumps([built, parameters, emulator(place).identity(), SAMPLE_DATA_MAP.read_text()])
    digest = hashlib.sha256(deployment.encode()).hexdigest()
    if place.env_file.exists() and stamp.exists() and stamp.read_text() == digest:
        return Stack(read_env(place.env_file))
    say("deploying")
    stamp.unlink(missing_ok=True)
    _sam(
        [
            *("deploy", "--template-file", str(_BUILD / "template.yaml"), "--stack-name", STACK_NAME, "--resolve-s3"),
            *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "--no-confirm-changeset"),
            *("--no-fail-on-empty-changeset", "--no-progressbar", "--parameter-overrides", *parameters),
        ],
        place.aws_environment(),
        place.folder / "deploy.log",
    )
    stack = _deployed_stack(place)
    _set_time_to_live(stack.client("dynamodb"), [stack[name] for name in _TTL_TABLES])
    create_places(stack)
    put_data_map(stack, SAMPLE_DATA_MAP)
    stamp.write_text(digest)
    return stack


def put_data_map(stack: Stack, path: Path) -> str:
    """Make the file the current data map. Returns what the operator's command prints; raises :class:`LocalError`."""
    return operate(stack, "the data map was not put", "data-map", "put", str(path))


def make_key(stack: Stack, tenant: str, scopes: str = "", *options: str) -> str:
    """A new API key's text, for ``tenant`` or, if that is ``*``, for all. ``scopes``: comma-separated; all by default.
    ``options``: more of the operator's command. Raises :class:`LocalError`."""
    wanted = ["--scopes", scopes] if scopes else []
    return operate(stack, "the key was not made", "key", "create", "--tenant", tenant, *wanted, *options)


def operate(stack: Stack, problem: str, *arguments: str) -> str:
    """Run the operator's own command on the stack and return what it prints.

    Raises :class:`LocalError` with ``problem`` and the command's explanation.
    """
    command = [sys.executable, "-m", "erasure.entry.operator", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=stack.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"{problem}:\n{done.stderr.strip()}")
    return done.stdout.strip()


def _machine_parameters() -> list[str]:
    architecture = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
    return [f"PythonRuntime=python3.{_emulator_minor()}", f"Architecture={architecture}"]


def _emulator_minor() -> int:
    """The functions run on the Python that the emulator runs on, so that one is built for."""
    command = [str(EMULATOR_PYTHON), "-c", "import sys; print(sys.version_info.minor)"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _parameters(place: Place) -> list[str]:
    return [
        *_machine_parameters(),
        "IsLocal=true",
        f"OidcIssuer={place.issuer}",
        f"OidcAudience={AUDIENCE}",
        f"TargetTables={','.join([*TABLES, *FULL_TABLES])}",
        f"TargetBuckets={','.join([*BUCKETS, *FULL_BUCKETS])}",
        f"TargetRoles=arn:aws:iam::{PARTNER}:role/{PARTNER_ROLE}",
        # Nobody at a desk waits a minute for a batch to fill, or five for a sweep. Its keys are for trying things out.
        "KeyMode=test",
        "BatchWindowSeconds=1",
        "SweepMinutes=1",
        "WatchMinutes=1",
        "PatienceMinutes=1",
        "RetentionHours=1",
        "RetentionReportHours=0",
    ]


def _sam(arguments: Sequence[str], environment: dict[str, str], log_file: Path) -> None:
    """Run the SAM CLI. What it says goes to the log file, and to the error if it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_", "MAKE"))}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_DEFAULT_REGION": REGION}
    command = [str(Path(sys.executable).with_name("sam")), *arguments, "--config-env", "local"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**inherited, **nowhere, "SAM_CLI_TELEMETRY": "0", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log_file.parent.mkdir(parents=True, exist_ok=True)
    log_file.write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise LocalError(f"`sam {arguments[0]}` failed; the end of {log_file}:\n{tail}")


def _deployed_stack(place: Place) -> Stack:
    """The stack's outputs under the names of environment variables: ``StateMachineArn`` is ``STATE_MACHINE_ARN``."""
    described = bare_stack(place).client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    variables = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper(): value for name, value in outputs.items()}
    stage = urlsplit(outputs["ApiUrl"]).path.rstrip("/").rpartition("/")[2]
    return Stack(
        {
            "API_URL": f"{place.endpoint}/_aws/execute-api/{outputs['ApiId']}/{stage}",
            **place.aws_environment(),
            "STACK_NAME": STACK_NAME,
            "OIDC_ISSUER": place.issuer,
            "OIDC_AUDIENCE": AUDIENCE,
            **{name: value for name, value in variables.items() if name != "API_URL"},
        }
    )


def _set_time_to_live(dynamodb: DynamoDBClient, tables: Sequence[str]) -> None:
    """The emulator's CloudFormation drops a table's TTL, the API has it."""
    for table in tables:
        try:
            dynamodb.update_time_to_live(
                TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": _TTL_ATTRIBUTE}
            )
        except ClientError as error:
            if "already enabled" not in str(error):
                raise


def _sources_digest() -> str:
    """A digest of everything that `sam build` reads, the interpreter that compiles included."""
    digest = hashlib.sha256(f"{sys.version} {platform.machine()}".encode())
    for path in _source_files():
        digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def _source_files() -> Iterator[Path]:
    for name in _SOURCES:
        source = ROOT / name
        if source.is_file():
            yield source
        else:
            found = (path for path in source.rglob("*") if path.is_file())
            yield from sorted(path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc")


@contextmanager
def _alone(lock_file: Path) -> Iterator[None]:
    """Hold the lock: two commands at the same moment take turns."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
