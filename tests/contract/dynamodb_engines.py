"""DynamoDB three times over: moto (in this process), MiniStack and DynamoDB Local (processes of their own).

What one engine forgives, another catches. A test takes the fixture ``dynamodb`` and runs once on each.
An engine that is not installed skips its tests, except under ``CI=true``, where it fails them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import botocore.session
import moto
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.dynamodb_calls import client_options
from erasure.targets.dynamodb_deletes import Conditional
from tests.one_subject import OneSubject

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60

Item = dict[str, Any]


def make_client(endpoint: str | None = None, **options: Any) -> Any:
    """A botocore client with throw-away credentials; of moto if there is no endpoint."""
    return _session().create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(**(client_options() | options)),
    )


@functools.cache
def _session() -> Any:
    # One for all clients: it keeps the service description, which takes a while to load.
    return botocore.session.Session()


@dataclass
class Engine:
    """One DynamoDB. ``tables`` are dropped after the test."""

    name: str
    client: Any
    conditional: Conditional
    tables: list[str] = field(default_factory=list)

    def target(self, client: Any = None, **options: Any) -> DynamoDBTarget:
        options.setdefault("conditional", self.conditional)
        return DynamoDBTarget(client or self.client, **options)

    def one(self, client: Any = None, **options: Any) -> OneSubject:
        """The target, for tests about a single subject."""
        return OneSubject(self.target(client, **options))

    def create_table(
        self,
        keys: Sequence[str],
        *,
        indexes: Mapping[str, Sequence[str]] | None = None,
        local_indexes: Mapping[str, Sequence[str]] | None = None,
        types: Mapping[str, str] | None = None,
        projection: str = "KEYS_ONLY",
    ) -> str:
        """A table with these key attributes (strings unless ``types`` says otherwise); returns its name."""
        table = f"app_data-{uuid.uuid4().hex[:12]}"
        every = {**(indexes or {}), **(local_indexes or {})}
        attributes = dict.fromkeys([*keys, *(name for names in every.values() for name in names)])
        request: dict[str, Any] = {
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": _schema(keys),
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": (types or {}).get(name, "S")} for name in attributes
            ],
        }
        for kind, chosen in (("GlobalSecondaryIndexes", indexes), ("LocalSecondaryIndexes", local_indexes)):
            if chosen:
                request[kind] = [
                    {"IndexName": name, "KeySchema": _schema(names), "Projection": {"ProjectionType": projection}}
                    for name, names in chosen.items()
                ]
        self.client.create_table(**request)
        self.client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        self.tables.append(table)
        return table

    def put(self, table: str, items: Sequence[Item]) -> None:
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            assert not self.client.batch_write_item(RequestItems={table: puts}).get("UnprocessedItems")

    def everything(self, table: str) -> list[Item]:
        """All items of the table, in a stable order."""
        items: list[Item] = []
        for page in self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
            items += page["Items"]
        return sorted(items, key=repr)


def _schema(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


@pytest.fixture
def moto_dynamodb() -> Iterator[Engine]:
    """moto. Its PartiQL knows no parameters in DELETE, hence single conditional deletions."""
    with moto.mock_aws():
        yield Engine("moto", make_client(), "single")


@pytest.fixture(
    params=[
        "moto",
        pytest.param("ministack", marks=pytest.mark.engine),
        pytest.param("dynamodb_local", marks=pytest.mark.engine),
    ]
)
def dynamodb(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine in turn."""
    if request.param == "moto":
        yield request.getfixturevalue("moto_dynamodb")
        return
    engine = Engine(request.param, make_client(request.getfixturevalue(f"{request.param}_endpoint")), "batch")
    yield engine
    for table in engine.tables:
        with contextlib.suppress(engine.client.exceptions.ResourceNotFoundException):
            engine.client.delete_table(TableName=table)


@pytest.fixture(scope="session")
def ministack_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MiniStack of our own; ``ERASURE_EMULATOR_PYTHON`` overrides which Python it is installed in."""
    default = ROOT / ".local" / "emulator-venv" / "bin" / "python"
    python = Path(os.environ.get("ERASURE_EMULATOR_PYTHON") or default)
    if not python.exists():
        _missing("MiniStack")
    folder, port = tmp_path_factory.mktemp("ministack"), free_port(4631)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
    }
    with running([str(python), "-m", "ministack"], folder, environment, port) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def dynamodb_local_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """AWS's own engine."""
    engine = dynamodb_local(tmp_path_factory.mktemp("dynamodb-local"), 4641)
    if engine is None:
        _missing("DynamoDB Local")
    with engine as endpoint:
        yield endpoint


def dynamodb_local(folder: Path, first_port: int) -> contextlib.AbstractContextManager[str] | None:
    """DynamoDB Local on a port from ``first_port`` on; ``None``: it is not installed. Its jar comes with an npm package
    under ``ERASURE_NPM_ROOT`` (default ``.local/npm/...``)."""
    npm = Path(os.environ.get("ERASURE_NPM_ROOT") or ROOT / ".local" / "npm" / "node_modules")
    home = npm / "amplify-dynamodb-simulator" / "emulator"
    java = shutil.which("java")
    if java is None or not (home / "DynamoDBLocal.jar").exists():
        return None
    port = free_port(first_port)
    library, jar = f"-Djava.library.path={home / 'DynamoDBLocal_lib'}", str(home / "DynamoDBLocal.jar")
    command = [java, "-Xmx512m", library, "-jar", jar, "-inMemory", "-disableTelemetry", "-port", str(port)]
    return running(command, folder, {"PATH": os.environ["PATH"], "HOME": str(folder)}, port)


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed; `make setup` does it")
    pytest.skip(f"{what} is not installed; `make setup` does it")


def free_port(first: int) -> int:
    """The first free port from ``first`` on, of ten."""
    for port in range(first, first + 10):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError(f"no free port from {first} on")


@contextlib.contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str], port: int) -> Iterator[str]:
    """Run an engine until the block ends; yields its endpoint once it answers."""
    endpoint = f"http://127.0.0.1:{port}"
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _await_answer(endpoint, process, folder / "engine.log")
            yield endpoint
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_answer(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    client = make_client(endpoint)
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            break
        try:
            client.list_tables()
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
            continue
        return
    print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
    raise RuntimeError(f"the engine at {endpoint} did not start")
