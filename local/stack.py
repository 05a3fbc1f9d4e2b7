"""Where one local stack lives, and what it is made of once it is up.

A :class:`Place` is a port and the folder that goes with it. A :class:`Stack` is the content of the env file
that ``make up`` writes: everything a tool needs to talk to the deployed service.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
DEFAULT_PORT = 4566
STACK_NAME = "erasure-local"
REGION = "us-east-1"
AUDIENCE = "erasure-service"
ISSUER_PORT_OFFSET = 1000


class LocalError(Exception):
    """Something about the local stack is not as it should be; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """The port of a stack and the folder for its state, logs and process ids."""

    port: int = DEFAULT_PORT

    @property
    def folder(self) -> Path:
        return LOCAL / str(self.port)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer_port(self) -> int:
        return self.port + ISSUER_PORT_OFFSET

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.issuer_port}"

    @property
    def env_file(self) -> Path:
        return (LOCAL if self.port == DEFAULT_PORT else self.folder) / "stack.env"

    def aws_environment(self) -> dict[str, str]:
        """What points any AWS tool at this emulator, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }


class Stack:
    """A deployed local stack: the variables of its env file, and clients that talk to it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)

    def __getitem__(self, name: str) -> str:
        try:
            return self.variables[name]
        except KeyError:
            raise LocalError(f"the stack's env file has no {name}; run `make up` again") from None

    @property
    def api_url(self) -> str:
        return self["API_URL"]

    def environment(self) -> dict[str, str]:
        """This process's environment with the stack's variables, without any AWS profile of the developer's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**inherited, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull} | self.variables

    @overload
    def client(self, service: Literal["cloudformation"]) -> CloudFormationClient: ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> DynamoDBClient: ...
    @overload
    def client(self, service: Literal["logs"]) -> CloudWatchLogsClient: ...
    @overload
    def client(self, service: Literal["s3"]) -> S3Client: ...
    @overload
    def client(self, service: Literal["stepfunctions"]) -> SFNClient: ...
    def client(self, service: str) -> object:
        """A boto3 client of the emulator. It may be shared by up to 32 threads."""
        session = boto3.Session(
            aws_access_key_id=self["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self["AWS_SECRET_ACCESS_KEY"],
            region_name=self["AWS_DEFAULT_REGION"],
        )
        config = Config(
            max_pool_connections=32,
            retries={"mode": "standard", "max_attempts": 6},
            read_timeout=120,
            s3={"addressing_style": "path"},
        )
        return session.client(service, endpoint_url=self["AWS_ENDPOINT_URL"], config=config)  # type: ignore[call-overload]


def bare_stack(place: Place) -> Stack:
    """A stack of which only the emulator is known: enough for clients, before anything is deployed."""
    return Stack(place.aws_environment())


def load_stack(port: int | None = None) -> Stack:
    """Read the env file of the stack at ``port`` (default: ``PORT``, or the default port).

    Raises :class:`LocalError` if there is none.
    """
    place = Place(port if port is not None else int(os.environ.get("PORT") or DEFAULT_PORT))
    if not place.env_file.exists():
        raise LocalError(f"no stack at port {place.port}; run `make up{port_argument(place)}` first")
    return Stack(read_env(place.env_file))


def read_env(path: Path) -> dict[str, str]:
    """``NAME=value`` lines, values quoted as a shell would."""
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: "".join(shlex.split(value)) for name, value in pairs}


def write_env(path: Path, variables: Mapping[str, str]) -> None:
    """Replace the file in one step, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()))
    draft.replace(path)


def port_argument(place: Place) -> str:
    return "" if place.port == DEFAULT_PORT else f" PORT={place.port}"
