"""The operator's commands about data maps, with an account of moto's behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moto
import pytest
import yaml
from botocore.session import Session
from botocore.stub import Stubber
from samcli.cli.types import CfnParameterOverridesType

from erasure.adapters.account import AwsAccount
from erasure.domain.account import Bucket
from erasure.domain.data_map import parse_data_map
from erasure.domain.permissions import Grant
from erasure.entry.operator import main
from erasure.entry.wiring import utc_now
from tests.functional.job_stack import JobStack, stack_on_moto
from tests.unit.translated_template import source

pytestmark = pytest.mark.timeout(60)

MAP = """\
version: 1
targets:
  - name: notes
    dynamodb:
      table: app-notes
      index: by-author
      key: {author: "{tenant_id}#{user_id}"}
  - name: files
    s3:
      bucket: app-files
      prefix: "{tenant_id}/{user_id}/"
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


Run = Callable[..., Said]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with moto.mock_aws():
        yield Session()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command of ``data-map`` on a map, without anything in the environment unless it is given."""

    def run(command: str, text: str, *options: str, environment: dict[str, str] | None = None) -> Said:
        path = tmp_path / "data-map.yaml"
        path.write_text(text, encoding="utf-8")
        capsys.readouterr()
        code = main(["data-map", command, str(path), *options], environment or {})
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


def client(aws: Session, service: str) -> Any:
    return aws.create_client(service)


def make_table(dynamodb: Any, name: str = "app-notes", **more: Any) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
            {"AttributeName": "author", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-author",
                "KeySchema": [{"AttributeName": "author", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def make_bucket(s3: Any, name: str = "app-files", *, versioned: bool = True) -> None:
    s3.create_bucket(Bucket=name)
    if versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


# Without an account


def test_problems_have_their_lines(run: Run) -> None:
    """Each problem is told with the line on which its place stands, or the nearest around it."""
    said = run("validate", MAP.replace("{user_id}/", "all").replace("name: notes", "nam: notes"))
    assert said.code == 1
    assert [line.split(": ")[:2] for line in said.lines] == [
        ["line 3", "targets[0].name"],
        ["line 3", "targets[0].nam"],
    ]
    said = run("validate", MAP.replace("{user_id}/", ""))
    assert said.err.startswith("line 11: targets[1].s3.prefix: must hold {user_id}")


def test_findings_as_json(run: Run) -> None:
    """With ``--json`` they are on stdout, with level, place, line and text, and nothing is on stderr."""
    said = run("validate", MAP.replace("{user_id}/", ""), "--json")
    assert (said.code, said.err, said.result["errors"]) == (1, "", 1)
    (finding,) = said.result["findings"]
    assert (finding["level"], finding["path"], finding["line"]) == ("error", "targets[1].s3.prefix", 11)
    assert run("validate", MAP, "--json").result == {"findings": [], "errors": 0}


def test_offline_asks_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``check --offline`` says what ``validate`` says, without credentials or a region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for text in (MAP, MAP.replace("{tenant_id}/", ""), MAP.replace("{user_id}/", "")):
        assert run("check", text, "--offline") == run("validate", text)
    assert run("parameters", MAP, "--offline").code == 0


# Against the account


def test_a_map_that_fits(aws: Session, run: Run) -> None:
    """It fits: an index of keys alone is said to be fine, and permissions are said not to have been looked at."""
    make_table(client(aws, "dynamodb"))
    make_bucket(client(aws, "s3"))
    said = run("check", MAP)
    assert said.code == 0
    assert said.lines == [
        "permissions were not looked at: name the stack with --stack-name",
        "note: line 6: targets[0].dynamodb.index: does not hold whole items, which is fine: what it lacks is read from "
        "the table",
        "2 targets, no errors",
    ]


def test_a_map_that_does_not_fit(aws: Session, run: Run) -> None:
    """What is missing is told by line, and makes exit code 1."""
    make_bucket(client(aws, "s3"), versioned=False)
    said = run("check", MAP)
    assert said.code == 1
    assert "line 5: targets[0].dynamodb.table: there is no such table in this account and region" in said.lines
    assert [line for line in said.lines if line.startswith("warning: line 10: targets[1].s3.bucket: has no versioning")]
    assert said.lines[-1] == "2 targets, 1 error"
    make_table(client(aws, "dynamodb"))
    wrong = MAP.replace("      index: by-author\n", "")
    assert "line 6: targets[0].dynamodb.key.author: the partition key of the table is pk" in run("check", wrong).lines
    assert run("check", MAP.replace("by-author", "by-nobody")).code == 1


def test_drift(aws: Session, run: Run) -> None:
    """Tables and buckets that the map does not name are listed, but for the service's own and the ignored ones."""
    for name in ("app-notes", "app-old", "metrics-1", "Requests"):
        make_table(client(aws, "dynamodb"), name)
    for name in ("app-files", "backups"):
        make_bucket(client(aws, "s3"), name)
    said = run("check", MAP, "--ignore", "metrics-*", "--json", environment={"REQUESTS_TABLE": "Requests"})
    assert said.code == 0
    drift = [finding for finding in said.result["findings"] if finding["level"] == "drift"]
    assert [(finding["path"], finding["line"]) for finding in drift] == [
        ("table app-old", None),
        ("bucket backups", None),
    ]
    assert "drift: table app-old: no target names it: what it holds of anybody stays" in run("check", MAP).lines


def test_an_account_that_does_not_answer_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is said to fit: the command fails with a message."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    said = run("check", MAP)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")


def test_buckets_as_they_are(aws: Session) -> None:
    """Versioning and Object Lock are read; what is not there is nothing."""
    s3 = client(aws, "s3")
    account = AwsAccount(lambda service: client(aws, service))
    make_bucket(s3)
    assert account.bucket("app-files") == Bucket("Enabled")
    s3.put_bucket_versioning(Bucket="app-files", VersioningConfiguration={"Status": "Suspended"})
    assert account.bucket("app-files") == Bucket("Suspended")
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    assert account.bucket("locked") == Bucket("Enabled", lock="no retention unless an object is given one")
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=configuration)
    assert account.bucket("locked") == Bucket("Enabled", lock="compliance, 30 days for new objects")
    assert account.bucket("nobodys") is None


def stubbable(*services: str) -> dict[str, Any]:
    session: Any = Session()
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return {service: session.create_client(service, region_name="eu-west-1", **keys) for service in services}


def test_a_bucket_that_refuses_is_not_ours() -> None:
    """A refusal is not taken for an answer, and the owner is asked for: another account's bucket is none of ours."""
    clients = stubbable("s3", "sts", "dynamodb")
    with Stubber(clients["sts"]) as sts, Stubber(clients["s3"]) as s3:
        sts.add_response("get_caller_identity", {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/me"})
        asked = {"Bucket": "app-files", "ExpectedBucketOwner": "123456789012"}
        s3.add_client_error("get_bucket_versioning", "AccessDenied", http_status_code=403, expected_params=asked)
        assert AwsAccount(clients.__getitem__).bucket("app-files") == Bucket(reachable=False)


def test_mfa_delete_is_seen() -> None:
    """It is in the answer about versioning."""
    clients = stubbable("s3", "sts", "dynamodb")
    with Stubber(clients["sts"]) as sts, Stubber(clients["s3"]) as s3:
        sts.add_response("get_caller_identity", {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/me"})
        s3.add_response("get_bucket_versioning", {"Status": "Enabled", "MFADelete": "Enabled"})
        s3.add_client_error("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError")
        assert AwsAccount(clients.__getitem__).bucket("app-files") == Bucket("Enabled", mfa_delete=True)


def test_the_simulator_is_asked_as_the_functions_call() -> None:
    """One resource at a time, with what the conditions of the template's roles ask for; all pages are read."""
    clients = stubbable("iam", "sts", "dynamodb")
    role = "arn:aws:iam::123456789012:role/erase"
    asked: dict[str, Any] = {
        "PolicySourceArn": role,
        "ActionNames": ["dynamodb:Query", "dynamodb:DeleteItem"],
        "ResourceArns": ["arn:aws:dynamodb:eu-west-1:123456789012:table/app-notes"],
        "ContextEntries": [
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in {
                "aws:RequestedRegion": "eu-west-1",
                "aws:ResourceAccount": "123456789012",
                "kms:ViaService": "dynamodb.eu-west-1.amazonaws.com",
            }.items()
        ],
    }
    pages: list[Any] = [
        {"EvaluationResults": [{"EvalActionName": "dynamodb:Query", "EvalDecision": "allowed"}], "IsTruncated": True}
        | {"Marker": "more"},
        {"EvaluationResults": [{"EvalActionName": "dynamodb:DeleteItem", "EvalDecision": "explicitDeny"}]},
    ]
    with Stubber(clients["sts"]) as sts, Stubber(clients["iam"]) as iam:
        sts.add_response("get_caller_identity", {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/me"})
        iam.add_response("simulate_principal_policy", pages[0], asked)
        iam.add_response("simulate_principal_policy", pages[1], {**asked, "Marker": "more"})
        account = AwsAccount(clients.__getitem__)
        grant = Grant(tuple(asked["ActionNames"]), tuple(asked["ResourceArns"]))
        assert account.refused(role, grant) == ["dynamodb:DeleteItem"]
        iam.assert_no_pending_responses()


# Parameters


def overrides(line: str) -> dict[str, str]:
    """As ``sam deploy`` understands them, behind a shell that splits the line at its blanks."""
    return dict(CfnParameterOverridesType().convert(tuple(line.split()), None, None))


def test_parameters_reach_exactly_the_map(aws: Session, run: Run) -> None:
    """Tables, buckets, keys and roles of the map, each once, as ``sam deploy`` takes them and the template allows."""
    kms: Any = client(aws, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    make_table(client(aws, "dynamodb"), SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key})
    make_table(client(aws, "dynamodb"), "app-more")
    more = """\
  - name: more
    dynamodb: {table: app-more, key: {pk: "{tenant_id}#{user_id}"}}
  - name: avatars
    s3: {bucket: app-files, key: "avatars/{tenant_id}/{user_id}"}
"""
    said = run("parameters", MAP + more)
    assert said.code == 0
    values = overrides(said.out)
    assert values == {
        "TargetTables": "app-notes,app-more",
        "TargetBuckets": "app-files",
        "TargetRoles": "",
        "TargetKeys": key,
    }
    declared = source()["Parameters"]
    for name, value in values.items():
        assert all(re.fullmatch(declared[name]["AllowedPattern"], each) for each in value.split(",")), name


def test_what_a_map_does_not_name_is_closed(aws: Session, run: Run) -> None:
    """A list with nothing in it is what the template has by default: no name of before stays open."""
    only_files = MAP[: MAP.index("  - name: notes")] + MAP[MAP.index("  - name: files") :]
    values = overrides(run("parameters", only_files).out)
    declared = source()["Parameters"]
    for name in ("TargetTables", "TargetKeys", "TargetRoles"):
        assert values[name] == declared[name]["Default"], name
    said = run("parameters", MAP)
    assert (said.code, overrides(said.out)["TargetKeys"]) == (0, "")
    assert "warning: table app-notes: there is no such table" in said.err


def test_a_bad_map_has_no_parameters(run: Run) -> None:
    """Nothing is printed that could be deployed, and the problem is told by line."""
    said = run("parameters", MAP.replace("{user_id}/", ""), "--offline")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("line 11: targets[1].s3.prefix: ")


# Differences


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStack]:
    yield from stack_on_moto(monkeypatch)


def test_a_map_is_compared_with_the_current_one(stack: JobStack, run: Run) -> None:
    """What comes, goes and changes is on stdout with what it means, and nothing is put."""
    environment = {"REGISTRY_TABLE": "Registry"}
    stack.maps.put(parse_data_map(yaml.safe_load(MAP)), utc_now())
    version = stack.maps.current()
    said = run("diff", MAP, environment=environment)
    assert (said.code, said.out, said.err) == (0, "", "no differences\n")
    other = MAP.replace("name: notes", "name: notes\n    category: record").replace("name: files", "name: uploads")
    said = run("diff", other, environment=environment)
    assert [line.split(":")[0] for line in said.out.splitlines()] == [
        "removed target files",
        "added target uploads",
        "changed target notes",
    ]
    result = run("diff", other, "--json", environment=environment).result
    assert [each["what"] for each in result["differences"]] == ["target files", "target uploads", "target notes"]
    assert stack.maps.current() == version


def test_the_first_map_is_compared_with_nothing(stack: JobStack, run: Run) -> None:
    """Everything is added."""
    for item in stack.items("Registry"):
        stack.dynamodb.delete_item(TableName="Registry", Key={"pk": item["pk"], "sk": item["sk"]})
    said = run("diff", MAP, environment={"REGISTRY_TABLE": "Registry"})
    assert (said.code, said.err) == (0, "no data map has been put yet\n")
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["added target notes", "added target files"]


# The stack


def test_permissions_of_a_deployed_stack(aws: Session, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--stack-name`` the roles of its functions are asked about, and its own tables are no drift."""
    assume = {"Version": "2012-10-17", "Statement": []}
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": assume}}
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    }
    names = ("EraseDynamodbRole", "EraseS3Role", "VerifyTargetRole")
    template = {"Resources": {**dict.fromkeys(names, role), "Requests": table}}
    client(aws, "cloudformation").create_stack(StackName="erasure", TemplateBody=json.dumps(template))
    make_table(client(aws, "dynamodb"))
    make_bucket(client(aws, "s3"))

    def refused(_account: AwsAccount, role_arn: str, grant: Grant) -> list[str]:
        """moto has no simulator: these roles may do nothing at all, but the one of tables what it takes."""
        return [] if "EraseDynamodbRole" in role_arn else list(grant.actions)

    monkeypatch.setattr(AwsAccount, "refused", refused)
    said = run("check", MAP, "--stack-name", "erasure")
    assert said.code == 1
    errors = [line for line in said.lines if "may not do" in line]
    assert [line[: line.index(" may")] for line in errors] == [
        "line 3: targets[0]: the role of verify_target",
        "line 8: targets[1]: the role of erase_s3",
        "line 8: targets[1]: the role of verify_target",
    ]
    assert "s3:DeleteObjectVersion" in errors[1]
    assert not [line for line in said.lines if line.startswith("drift")]
