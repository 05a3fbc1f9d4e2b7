"""botocore on the trimmed data says the same as on its own: requests, endpoints, answers, errors, retries."""

from __future__ import annotations

import hashlib
import io
import json
import re
import runpy
import shutil
import tokenize
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HAS_CRT
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpchecksum import AwsChunkedWrapper
from botocore.loaders import Loader
from botocore.response import StreamingBody
from botocore.session import Session

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "layers" / "core" / "python" / "erasure"
SCRIPT = runpy.run_path(str(ROOT / "layers" / "deps" / "trim_botocore.py"))
OPERATIONS: dict[str, tuple[str, ...]] = SCRIPT["OPERATIONS"]
FULL_DATA = Path(botocore.__file__).parent / "data"
SHARED = ("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
OPERATOR = {path.name for path in (SOURCES / "entry").glob("operator*.py")} | {"account.py"}
"""The operator's commands and what only they use: they run on a developer's machine, with the whole of botocore."""

KEY = {"pk": {"S": "A"}, "sk": {"N": "1"}}
BUCKET = {"Bucket": "a-bucket"}
STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:m"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:m:n"
QUEUE = "https://queue.example/123456789012/q"
CALLS: dict[str, dict[str, dict[str, Any]]] = {
    "dynamodb": {
        "BatchExecuteStatement": {
            "Statements": [{"Statement": "DELETE FROM t WHERE pk=?", "Parameters": [{"S": "A"}]}]
        },
        "BatchGetItem": {"RequestItems": {"t": {"Keys": [KEY], "ConsistentRead": True}}},
        "BatchWriteItem": {"RequestItems": {"t": [{"DeleteRequest": {"Key": KEY}}]}},
        "DeleteItem": {"TableName": "t", "Key": KEY, "ConditionExpression": "attribute_exists(pk)"},
        "DescribeEndpoints": {},
        "DescribeTable": {"TableName": "t"},
        "GetItem": {"TableName": "t", "Key": KEY, "ConsistentRead": True},
        "PutItem": {
            "TableName": "t",
            "Item": {**KEY, "b": {"B": b"\x00\xff"}, "m": {"M": {"l": {"L": [{"NULL": True}]}}}},
        },
        "Query": {
            "TableName": "t",
            "KeyConditionExpression": "pk = :a",
            "ExpressionAttributeValues": {":a": {"S": "A"}},
        },
        "Scan": {"TableName": "t", "Segment": 3, "TotalSegments": 7, "FilterExpression": "attribute_exists(a)"},
        "TransactWriteItems": {"TransactItems": [{"Put": {"TableName": "t", "Item": KEY}}], "ClientRequestToken": "x"},
        "UpdateItem": {"TableName": "t", "Key": KEY, "UpdateExpression": "SET a = :a"},
    },
    "lambda": {"Invoke": {"FunctionName": "a-function", "Payload": b'{"unit": "s3-00"}'}},
    "s3": {
        "AbortMultipartUpload": {**BUCKET, "Key": "a/b c\u00e9", "UploadId": "u+/="},
        "CreateSession": {"Bucket": "a-bucket--use1-az4--x-s3"},
        "DeleteObject": {**BUCKET, "Key": "a//b?c", "VersionId": "v"},
        "DeleteObjects": {**BUCKET, "Delete": {"Objects": [{"Key": "a&b", "VersionId": "v"}], "Quiet": True}},
        "GetBucketVersioning": BUCKET,
        "GetObjectLegalHold": {**BUCKET, "Key": "a/b c", "VersionId": "v"},
        "GetObjectLockConfiguration": BUCKET,
        "GetObjectRetention": {**BUCKET, "Key": "a/b c", "VersionId": "v"},
        "HeadBucket": {**BUCKET, "ExpectedBucketOwner": "123456789012"},
        "ListMultipartUploads": {**BUCKET, "Prefix": "a/", "KeyMarker": "a/b", "UploadIdMarker": "u"},
        "ListObjectVersions": {**BUCKET, "Prefix": "a/", "KeyMarker": "a/b", "VersionIdMarker": "v", "MaxKeys": 1000},
        "PutObject": {**BUCKET, "Key": "a/b.json", "Body": b"[]", "ContentType": "application/json"},
    },
    "secretsmanager": {"GetSecretValue": {"SecretId": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"}},
    "events": {
        "PutEvents": {
            "Entries": [
                {
                    "Source": "erasure",
                    "DetailType": "t",
                    "Detail": "{}",
                    "EventBusName": "b",
                    "Time": datetime(2026, 1, 31, tzinfo=UTC),
                }
            ]
        }
    },
    "sqs": {
        "DeleteMessage": {"QueueUrl": QUEUE, "ReceiptHandle": "h"},
        "ReceiveMessage": {"QueueUrl": QUEUE, "MaxNumberOfMessages": 10, "VisibilityTimeout": 60},
        "SendMessage": {"QueueUrl": QUEUE, "MessageBody": "{}"},
    },
    "stepfunctions": {
        "DescribeExecution": {"executionArn": EXECUTION},
        "StartExecution": {"stateMachineArn": STATE_MACHINE, "name": "n", "input": "{}"},
    },
    "sts": {"AssumeRole": {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "session"}},
}
ALL_CALLS = [(service, operation) for service, operations in CALLS.items() for operation in operations]

LISTING = b"""<?xml version="1.0"?><ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Name>b</Name><Prefix>a/</Prefix><IsTruncated>true</IsTruncated><NextKeyMarker>a/2</NextKeyMarker>
<Version><Key>a/1</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest><Size>3</Size>
<LastModified>2026-01-01T00:00:00.000Z</LastModified></Version>
<DeleteMarker><Key>a/2</Key><VersionId>null</VersionId><IsLatest>false</IsLatest></DeleteMarker></ListVersionsResult>"""
DELETED = b"""<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Deleted><Key>a</Key><VersionId>v</VersionId>
</Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>m</Message></Error></DeleteResult>"""
ANSWERS: list[tuple[str, str, bytes]] = [
    ("dynamodb", "Query", b'{"Items": [{"pk": {"S": "A"}, "b": {"B": "AP8="}}], "Count": 1, "LastEvaluatedKey": {}}'),
    ("dynamodb", "BatchWriteItem", b'{"UnprocessedItems": {"t": [{"DeleteRequest": {"Key": {"pk": {"S": "A"}}}}]}}'),
    ("dynamodb", "BatchExecuteStatement", b'{"Responses": [{"Error": {"Code": "ThrottlingError", "Message": "m"}}]}'),
    ("dynamodb", "DescribeTable", b'{"Table": {"TableName": "t", "KeySchema": [{"AttributeName": "pk"}]}}'),
    ("lambda", "Invoke", b'{"found": true}'),
    ("s3", "ListObjectVersions", LISTING),
    ("s3", "DeleteObjects", DELETED),
    ("secretsmanager", "GetSecretValue", b'{"SecretString": "s", "CreatedDate": 1.5e9}'),
    ("events", "PutEvents", b'{"FailedEntryCount": 1, "Entries": [{"EventId": "e"}, {"ErrorCode": "c"}]}'),
    ("sqs", "ReceiveMessage", b'{"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "{}"}]}'),
    ("stepfunctions", "DescribeExecution", b'{"executionArn": "a", "status": "RUNNING", "startDate": 1.5e9}'),
    ("sqs", "SendMessage", b'{"MessageId": "m", "MD5OfMessageBody": "99914b932bd37a50b983c5e7c90ae93b"}'),
    ("stepfunctions", "StartExecution", b'{"executionArn": "a", "startDate": 1.5e9}'),
]

EMPTY = {"sts": b"<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>"}
"""An answer with nothing in it, where that is not the empty body."""

Sent = tuple[str, str, dict[str, str], bytes]


@pytest.fixture(scope="module")
def trimmed_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_and_trim(tmp_path_factory.mktemp("botocore") / "data")


def copy_and_trim(data: Path) -> Path:
    for service in (*OPERATIONS, "account"):
        shutil.copytree(FULL_DATA / service, data / service)
    for name in SHARED:
        shutil.copy(FULL_DATA / name, data / name)
    SCRIPT["trim"](data)
    return data


@pytest.fixture(scope="module")
def full() -> Session:
    return Session()


@pytest.fixture(scope="module")
def trimmed(trimmed_data: Path) -> Session:
    class InPlace(Loader):
        # As in the layer: for data from elsewhere, botocore resolves endpoints in another way.
        BUILTIN_DATA_PATH = str(trimmed_data)

    session = Session()
    session.register_component("data_loader", InPlace([str(trimmed_data)], include_default_search_paths=False))
    return session


@pytest.fixture(autouse=True)
def _same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still, so that signatures can be compared; no developer's configuration takes part."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(remove_tzinfo: bool = True) -> datetime:
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    monkeypatch.setattr("botocore.auth.get_current_datetime", now)
    if HAS_CRT:  # some development tools bring it along
        monkeypatch.setattr("botocore.crt.auth.get_current_datetime", now)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DATA_PATH", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


class Raw:
    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    def stream(self, **_: Any) -> Any:
        yield self._body.read()

    def read(self, *_: Any) -> bytes:
        return self._body.read()


def make_client(session: Session, service: str, region: str = "us-east-1", **options: Any) -> Any:
    account = options.pop("account", None)
    config = Config(retries={"mode": "standard", "max_attempts": 3}, **options)
    return session.create_client(
        service,
        region_name=region,
        config=config,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="secret",
        aws_session_token="token",
        aws_account_id=account,
    )


def send(
    client: Any, operation: str, parameters: dict[str, Any], answer: tuple[int, bytes] | None = None
) -> tuple[list[Sent], Any]:
    """Make a call against one fixed answer. Returns what was sent, and the parsed answer or the error's."""
    sent: list[Sent] = []
    status, body = answer or (200, EMPTY.get(client.meta.service_model.service_name, b""))

    def stub(request: Any, **_: Any) -> AWSResponse:
        headers = {name: text(value) for name, value in request.headers.items()}
        # Names features in the order of a set.
        headers["User-Agent"] = "".join(sorted(headers["User-Agent"]))
        headers.pop("amz-sdk-invocation-id", None)
        # What is put into a bucket is sent in chunks, with its checksum behind them.
        sending = request.body.read() if isinstance(request.body, AwsChunkedWrapper) else request.body or b""
        content = sending if isinstance(sending, bytes) else sending.encode()
        sent.append((request.method, request.url, headers, content))
        return AWSResponse(request.url, status, {"x-amzn-RequestId": "r"}, Raw(body))

    client.meta.events.register_first("before-send", stub, unique_id="stub")
    try:
        outcome = getattr(client, xform_name(operation))(**parameters)
        if isinstance(outcome.get("Payload"), StreamingBody):
            outcome["Payload"] = outcome["Payload"].read()
    except ClientError as error:
        outcome = (type(error).__name__, error.response)
    except BotoCoreError as error:
        outcome = (type(error).__name__, str(error))
    finally:
        client.meta.events.unregister("before-send", stub, unique_id="stub")
    return sent, outcome


def text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def all_regions() -> list[str]:
    """Every region of every partition, and names that no list has yet."""
    partitions = json.loads((FULL_DATA / "endpoints.json").read_text())["partitions"]
    known = [region for partition in partitions for region in partition["regions"]]
    return [*known, "eu-west-99", "cn-west-99", "us-gov-north-9", "us-iso-north-9"]


def test_every_operation_has_a_sample() -> None:
    """The calls that are compared below are all that the functions can make."""
    assert {service: set(calls) for service, calls in CALLS.items()} == {
        service: set(operations) for service, operations in OPERATIONS.items()
    }


@pytest.mark.parametrize(("service", "operation"), ALL_CALLS)
@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1"])
def test_request_is_the_same(full: Session, trimmed: Session, service: str, operation: str, region: str) -> None:
    """Method, address, headers, signature and body of each operation, in three partitions."""
    parameters = CALLS[service][operation]
    expected, _ = send(make_client(full, service, region), operation, parameters)
    found, _ = send(make_client(trimmed, service, region), operation, parameters)
    assert expected
    assert "Signature=" in expected[0][2]["Authorization"]
    assert found == expected


@pytest.mark.parametrize("service", OPERATIONS)
def test_endpoint_is_the_same_everywhere(full: Session, trimmed: Session, service: str) -> None:
    """Address and signature of each service in every region of every partition, future ones included."""
    operation = OPERATIONS[service][-1]
    parameters = CALLS[service][operation]
    for region in all_regions():
        whole, small = make_client(full, service, region), make_client(trimmed, service, region)
        assert send(small, operation, parameters) == send(whole, operation, parameters), region
        legacy = [(client.meta.endpoint_url, client.meta.partition) for client in (whole, small)]
        assert legacy[0] == legacy[1], region


@pytest.mark.parametrize("service", OPERATIONS)
@pytest.mark.parametrize(
    "options",
    [
        {"use_fips_endpoint": True},
        {"use_dualstack_endpoint": True},
        {"account": "123456789012"},
        {"s3": {"addressing_style": "path"}},
        {"s3": {"use_accelerate_endpoint": True}},
    ],
    ids=str,
)
def test_endpoint_options_work_the_same(full: Session, trimmed: Session, service: str, options: dict[str, Any]) -> None:
    """FIPS, dual stack, account endpoints of DynamoDB and S3's own options lead to the same address."""
    operation = OPERATIONS[service][-1]
    for region in ("us-east-1", "us-gov-west-1", "cn-north-1"):
        expected = send(make_client(full, service, region, **options), operation, CALLS[service][operation])
        assert send(make_client(trimmed, service, region, **options), operation, CALLS[service][operation]) == expected


@pytest.mark.parametrize(("service", "operation", "body"), ANSWERS)
def test_answer_is_read_the_same(full: Session, trimmed: Session, service: str, operation: str, body: bytes) -> None:
    """A successful answer is parsed to the same values."""
    parameters = CALLS[service][operation]
    _, expected = send(make_client(full, service), operation, parameters, (200, body))
    _, found = send(make_client(trimmed, service), operation, parameters, (200, body))
    assert found == expected
    assert len(expected) > 1, "nothing was parsed"


@pytest.mark.parametrize("service", OPERATIONS)
def test_errors_are_read_the_same(full: Session, trimmed: Session, service: str) -> None:
    """Each error that the service knows, and unknown ones, give the same exception after the same number of tries."""
    operation = OPERATIONS[service][0]
    parameters = CALLS[service][operation]
    whole, small = make_client(full, service), make_client(trimmed, service)
    codes = [shape.error_code for shape in whole.meta.service_model.error_shapes]
    assert codes
    for code in [*codes, "ThrottlingException", "SlowDown", "NoSuchThing"]:
        for status in (400, 503):
            answer = (status, error_body(whole.meta.service_model.protocol, code))
            sent, expected = send(whole, operation, parameters, answer)
            found_sent, found = send(small, operation, parameters, answer)
            assert found == expected
            assert expected[1]["Error"]["Code"] == code
            assert len(found_sent) == len(sent)


def error_body(protocol: str, code: str) -> bytes:
    if "json" in protocol:
        reasons = [{"Code": "ConditionalCheckFailed", "Item": KEY}]
        return json.dumps({"__type": f"prefix#{code}", "message": "m", "CancellationReasons": reasons}).encode()
    error = f"<Error><Code>{code}</Code><Message>m</Message></Error>"
    return (f"<ErrorResponse>{error}</ErrorResponse>" if protocol == "query" else error).encode()


@pytest.mark.parametrize(("service", "operation"), ALL_CALLS)
def test_shapes_are_the_same(full: Session, trimmed: Session, service: str, operation: str) -> None:
    """Each operation's input, output and errors are described alike down to the last member, texts aside."""
    models = [session.get_service_model(service).operation_model(operation) for session in (full, trimmed)]
    whole, small = ([model.input_shape, model.output_shape, *model.error_shapes] for model in models)
    assert [described(shape) for shape in small] == [described(shape) for shape in whole]


def described(shape: Any, above: tuple[str, ...] = ()) -> Any:
    if shape is None or shape.name in above:
        return shape and shape.name
    below = (*above, shape.name)
    return (
        shape.name,
        shape.type_name,
        {name: value for name, value in shape.metadata.items() if name != "documentation"},
        {name: value for name, value in shape.serialization.items() if name != "documentation"},
        {name: described(member, below) for name, member in getattr(shape, "members", {}).items()},
        *(described(getattr(shape, part, None), below) for part in ("member", "key", "value")),
    )


def test_code_calls_nothing_that_was_trimmed(full: Session) -> None:
    """No source names an operation of the services in use that the layer does not have."""
    every = {xform_name(name) for service in OPERATIONS for name in full.get_service_model(service).operation_names}
    kept = {xform_name(name) for operations in OPERATIONS.values() for name in operations}
    named = {word for file in SOURCES.rglob("*.py") if file.name not in OPERATOR for word in words(file)}
    assert "transact_write_items" in named
    assert named & every <= kept


def test_code_makes_no_client_that_was_trimmed() -> None:
    """No source asks for a client of a service that the layer does not have."""
    pattern = re.compile(r'(?:create_client|clients\.get|_getter)\((?:\w+, )?"(\w+)"')
    sources = [file.read_text() for file in SOURCES.rglob("*.py") if file.name not in OPERATOR]
    asked = {service for source in sources for service in pattern.findall(source)}
    assert asked >= {"dynamodb", "s3", "sqs"}
    assert asked <= set(OPERATIONS)


def words(file: Path) -> set[str]:
    """The names in a source, and the texts that consist of one word."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        if token.type == tokenize.STRING:
            found.add(token.string.strip("\"'"))
        elif token.type == tokenize.NAME:
            found.add(token.string)
    return found


def test_other_services_are_gone(trimmed: Session, trimmed_data: Path) -> None:
    """What is left is the services in use, each with one version of its model, and the shared files."""
    assert set(trimmed.get_available_services()) == set(OPERATIONS)
    assert {path.name for path in trimmed_data.iterdir()} == {*OPERATIONS, *SHARED}
    assert all(len(list(folder.iterdir())) == 1 for folder in trimmed_data.iterdir() if folder.is_dir())


def test_trimming_is_reproducible(trimmed_data: Path, tmp_path: Path) -> None:
    """Two builds give the same bytes, and trimming what is trimmed changes nothing."""
    again = copy_and_trim(tmp_path / "data")
    SCRIPT["trim"](again)
    assert digests(again) == digests(trimmed_data)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _without_a_service(data: Path) -> None:
    shutil.rmtree(data / "sqs")


def _without_an_operation(data: Path) -> None:
    file = data / "sqs" / "2012-11-05" / "service-2.json"
    model = json.loads(file.read_text())
    del model["operations"]["SendMessage"]
    file.write_text(json.dumps(model))


def _without_endpoints(data: Path) -> None:
    (data / "endpoints.json").unlink()


@pytest.mark.parametrize("damage", [_without_a_service, _without_an_operation, _without_endpoints])
def test_unknown_layout_is_refused(trimmed_data: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """If botocore's data is not what it was, the build ends with an error instead of a wrong layer."""
    data = tmp_path / "data"
    shutil.copytree(trimmed_data, data)
    damage(data)
    with pytest.raises(SCRIPT["LayoutError"]):
        SCRIPT["trim"](data)
