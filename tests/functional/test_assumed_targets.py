"""Targets in other accounts, on moto, which keeps its accounts apart; and what is asked of STS, on a stand-in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import moto
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.session import Session

from erasure.adapters.sessions import MOST_SESSIONS, AssumedSessions, SessionName
from erasure.domain.permissions import ERASE, VERIFY
from erasure.domain.plan import Shard
from erasure.domain.target_spec import (
    DetachRule,
    DynamoDBRule,
    KeyRule,
    RedactRule,
    RetainRule,
    RoleRule,
    S3Rule,
    TargetSpec,
)
from erasure.errors import TargetError
from erasure.targets.assumed import AssumedTables, AssumedTargets, ByAccount, session_policy
from erasure.targets.dynamodb import DynamoDBTarget
from erasure.targets.protocol import Deadline, Target
from erasure.targets.s3 import S3Target
from erasure.targets.s3_client import make_s3_client

pytestmark = pytest.mark.timeout(60)

OTHER = "210987654321"
ROLE = RoleRule(f"arn:aws:iam::{OTHER}:role/data/erasure")
ANN = {"tenant_id": "acme", "user_id": "ann"}
BEN = {"tenant_id": "acme", "user_id": "ben"}
HERE = TargetSpec("notes", "content", dynamodb=DynamoDBRule("app-notes", KeyRule("pk", "{tenant_id}#{user_id}")))
THERE = TargetSpec("partner-notes", "content", dynamodb=HERE.dynamodb, role=ROLE)
FILES_HERE = TargetSpec("files", "content", s3=S3Rule("app-files", prefix="{tenant_id}/{user_id}/"))
FILES_THERE = TargetSpec(
    "partner-files", "content", s3=S3Rule("partner-files", prefix="{tenant_id}/{user_id}/"), role=ROLE
)


def an_hour() -> Deadline:
    return Deadline(3600)


# On moto: whose data is erased


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with moto.mock_aws():
        yield Session()


def sessions_of(base: Session) -> AssumedSessions:
    sts = base.create_client("sts")
    return AssumedSessions(lambda: sts, base, session_name=SessionName())


def client_here(base: Session, service: str) -> Any:
    return base.create_client(service)


def client_there(base: Session, service: str) -> Any:
    """A client in the other account, made without any of the code that is tested."""
    given = client_here(base, "sts").assume_role(RoleArn=ROLE.arn, RoleSessionName="test")["Credentials"]
    return base.create_client(
        service,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


def put_notes(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName="app-notes",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    for person in ("acme#ann", "acme#ben"):
        for number in range(3):
            dynamodb.put_item(TableName="app-notes", Item={"pk": {"S": person}, "sk": {"S": str(number)}})


def notes(dynamodb: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in dynamodb.scan(TableName="app-notes")["Items"]:
        found[item["pk"]["S"]] = found.get(item["pk"]["S"], 0) + 1
    return found


def tables_of(base: Session, purpose: str = ERASE) -> AssumedTables:
    def make(session: Session, _account: str) -> DynamoDBTarget:
        return DynamoDBTarget(session.create_client("dynamodb"), conditional="single")

    return AssumedTables(ByAccount(make(base, ""), make, sessions_of(base), purpose))


def test_a_table_of_the_other_account_is_erased_and_no_other(aws: Session) -> None:
    """A target with a role erases the other account's items; the own table of the same name keeps the same person's."""
    here, there = client_here(aws, "dynamodb"), client_there(aws, "dynamodb")
    put_notes(here)
    put_notes(there)
    (result,) = tables_of(aws).erase(THERE, [ANN], an_hour())
    assert (result.erased, result.done) == (3, True)
    assert notes(there) == {"acme#ben": 3}
    assert notes(here) == {"acme#ann": 3, "acme#ben": 3}


def test_a_table_of_the_own_account_is_erased_and_no_other(aws: Session) -> None:
    """The other way round: without a role, nothing of the other account is touched."""
    here, there = client_here(aws, "dynamodb"), client_there(aws, "dynamodb")
    put_notes(here)
    put_notes(there)
    targets = tables_of(aws)
    targets.erase(THERE, [BEN], an_hour())
    (result,) = targets.erase(HERE, [ANN], an_hour())
    assert (result.erased, result.done) == (3, True)
    assert notes(here) == {"acme#ben": 3}
    assert notes(there) == {"acme#ann": 3}


def test_a_missing_table_of_the_other_account_is_missing(aws: Session) -> None:
    """A table that only the own account has is not there for the role, and nothing falls back on the own one."""
    here = client_here(aws, "dynamodb")
    put_notes(here)
    targets = tables_of(aws)
    (result,) = targets.erase(THERE, [ANN], an_hour())
    assert (result.problem, result.permanent) == ("target_missing", True)
    (seen,) = targets.verify(THERE, [ANN], an_hour())
    assert (seen.problem, seen.complete) == ("target_missing", False)
    assert notes(here) == {"acme#ann": 3, "acme#ben": 3}


def test_verifying_looks_into_the_right_account(aws: Session) -> None:
    """What is left is counted where the target is: none of the own account's items stand for the other's."""
    here, there = client_here(aws, "dynamodb"), client_there(aws, "dynamodb")
    put_notes(here)
    put_notes(there)
    targets = tables_of(aws, VERIFY)
    there.delete_item(TableName="app-notes", Key={"pk": {"S": "acme#ann"}, "sk": {"S": "0"}})
    assert [result.left for result in targets.verify(THERE, [ANN], an_hour())] == [2]
    assert [result.left for result in targets.verify(HERE, [ANN], an_hour())] == [3]


def test_what_leads_to_others_is_read_in_its_account(aws: Session) -> None:
    """Items of the other account come from there, those of the own from here."""
    here, there = client_here(aws, "dynamodb"), client_there(aws, "dynamodb")
    put_notes(here)
    put_notes(there)
    there.put_item(TableName="app-notes", Item={"pk": {"S": "acme#ann"}, "sk": {"S": "9"}, "file": {"S": "theirs"}})
    reader = tables_of(aws, VERIFY)

    def files(spec: TargetSpec) -> list[str]:
        pages = reader.items(spec, ANN, ("file",), an_hour())
        return [item["file"]["S"] for page in pages for item in page if "file" in item]

    assert (files(THERE), files(HERE)) == (["theirs"], [])


def test_a_bucket_of_the_other_account_is_erased(aws: Session) -> None:
    """The same with objects; the account's number is there for whoever makes the target."""
    here, there = client_here(aws, "s3"), client_there(aws, "s3")
    for client, bucket in ((here, "app-files"), (there, "partner-files")):
        client.create_bucket(Bucket=bucket)
        for key in ("acme/ann/1", "acme/ben/1"):
            client.put_object(Bucket=bucket, Key=key, Body=b"x")
    accounts = []

    def make(session: Session, account: str) -> Target:
        accounts.append(account)
        return S3Target(make_s3_client(session), expected_owner=account)

    targets = AssumedTargets(ByAccount(S3Target(make_s3_client(aws)), make, sessions_of(aws), ERASE))
    assert [result.erased for result in targets.erase(FILES_THERE, [ANN], an_hour())] == [1]
    assert [each["Key"] for each in there.list_objects_v2(Bucket="partner-files")["Contents"]] == ["acme/ben/1"]
    assert len(here.list_objects_v2(Bucket="app-files")["Contents"]) == 2
    assert [result.erased for result in targets.erase(FILES_HERE, [ANN], an_hour())] == [1]
    assert accounts == [OTHER]


# On a stand-in: what STS is asked, and when


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: int) -> None:
        self.at += timedelta(**by)


class Sts:
    """Sessions of an hour. ``failing``: raised instead, each once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked: list[dict[str, Any]] = []
        self.failing: list[Exception] = []

    def assume_role(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        if self.failing:
            raise self.failing.pop()
        number = len(self.asked)
        return {
            "Credentials": {
                "AccessKeyId": f"key-{number}",
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": self._clock.at + timedelta(hours=1),
            }
        }


def refused(code: str, status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": f"not authorized on {ROLE.arn}"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "AssumeRole")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sts(clock: Clock) -> Sts:
    return Sts(clock)


@pytest.fixture
def name() -> SessionName:
    return SessionName()


@pytest.fixture
def sessions(sts: Sts, clock: Clock, name: SessionName) -> AssumedSessions:
    base = Session()
    base.set_config_variable("region", "eu-west-1")
    return AssumedSessions(lambda: sts, base, session_name=name, external_id="of-the-stack", now=clock)


def key_of(session: Session) -> str:
    credentials: Any = session.get_credentials()
    return str(credentials.get_frozen_credentials().access_key)


def test_the_session_is_named_after_the_job_and_limited(sessions: AssumedSessions, sts: Sts, name: SessionName) -> None:
    """STS is told the role, the job's name, the stack's external id and the policy; the session is of the region."""
    with name.of("er_01K8ZQ4W7M3T9X5B2C6D8F0G1H-1"):
        session = sessions.open(ROLE, "{}")
    assert sts.asked == [
        {
            "RoleArn": ROLE.arn,
            "RoleSessionName": "erasure-er_01K8ZQ4W7M3T9X5B2C6D8F0G1H-1",
            "Policy": "{}",
            "ExternalId": "of-the-stack",
        }
    ]
    assert session.get_config_variable("region") == "eu-west-1"
    sessions.open(ROLE, "{}")
    assert sts.asked[1]["RoleSessionName"] == "erasure"


def test_the_maps_external_id_comes_first(sessions: AssumedSessions, sts: Sts) -> None:
    """A role with an external id of its own is assumed with that one."""
    sessions.open(RoleRule(ROLE.arn, "of-the-map"), "{}")
    assert sts.asked[0]["ExternalId"] == "of-the-map"


def test_sessions_are_kept_until_shortly_before_their_end(sessions: AssumedSessions, sts: Sts, clock: Clock) -> None:
    """One call for 55 minutes; then the same session goes on with new credentials."""
    session = sessions.open(ROLE, "{}")
    clock.move(minutes=54, seconds=59)
    assert sessions.open(ROLE, "{}") is session
    assert (key_of(session), len(sts.asked)) == ("key-1", 1)
    clock.move(seconds=1)
    assert sessions.open(ROLE, "{}") is session
    assert (key_of(session), len(sts.asked)) == ("key-2", 2)


def test_a_long_slice_outlives_its_credentials(sessions: AssumedSessions, clock: Clock) -> None:
    """A client that was made before the credentials ran short signs with new ones."""
    session = sessions.open(ROLE, "{}")
    clock.move(hours=2)
    assert key_of(session) == "key-2"


def test_sessions_are_kept_apart(sessions: AssumedSessions, sts: Sts, name: SessionName) -> None:
    """Another role, external id, policy or job has a session of its own."""
    first = sessions.open(ROLE, "{}")
    others = [
        sessions.open(RoleRule(f"{ROLE.arn}-2"), "{}"),
        sessions.open(RoleRule(ROLE.arn, "x"), "{}"),
        sessions.open(ROLE, "[]"),
    ]
    with name.of("job"):
        others.append(sessions.open(ROLE, "{}"))
    assert len({id(session) for session in [first, *others]}) == len(sts.asked) == 5


def test_only_so_many_sessions_are_kept(sessions: AssumedSessions, sts: Sts) -> None:
    """The one that was not asked for the longest is forgotten; those in use stay."""
    sessions.open(ROLE, "0")
    sessions.open(ROLE, "1")
    for number in range(2, MOST_SESSIONS + 1):
        sessions.open(ROLE, "0")
        sessions.open(ROLE, str(number))
    asked = len(sts.asked)
    sessions.open(ROLE, "0")
    assert len(sts.asked) == asked
    sessions.open(ROLE, "1")
    assert len(sts.asked) == asked + 1


def test_threads_share_a_session(sessions: AssumedSessions, sts: Sts) -> None:
    """Eight threads at once assume the role once."""
    start = threading.Barrier(8)

    def ask(_: int) -> Session:
        start.wait()
        return sessions.open(ROLE, "{}")

    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(ask, range(8)))
    assert len({id(session) for session in opened}) == len(sts.asked) == 1


class Seen:
    """A target that notes what it was made for."""

    def __init__(self, session: Any, account: str) -> None:
        self.session, self.account = session, account


@pytest.mark.parametrize(
    ("error", "problem", "permanent"),
    [
        (refused("AccessDenied", 403), "access_denied", True),
        (refused("Throttling"), "throttled", False),
        (refused("ServiceUnavailable", 503), "unavailable", False),
        (refused("PackedPolicyTooLarge"), "rejected", True),
        (EndpointConnectionError(endpoint_url="https://sts.invalid"), "unavailable", False),
    ],
)
def test_a_role_that_cannot_be_assumed(
    sessions: AssumedSessions, sts: Sts, error: Exception, problem: str, permanent: bool
) -> None:
    """Every subject gets the fixed word for it, nothing is erased by anybody, and the next slice asks again."""
    own: Any = object()  # has no erase: to fall back on it would be an error
    calls: list[str] = []

    class Other:
        def erase(self, *_: Any) -> list[Any]:
            calls.append("erase")
            return []

    made: Any = Other()
    targets = AssumedTargets(ByAccount(own, lambda _session, _account: made, sessions, ERASE))
    sts.failing = [error]
    results = targets.erase(THERE, [ANN, BEN], an_hour())
    assert [(r.erased, r.done, r.problem, r.permanent) for r in results] == [(0, False, problem, permanent)] * 2
    sts.failing = [error]
    (seen,) = targets.verify(THERE, [ANN], an_hour())
    assert (seen.left, seen.complete, seen.problem, seen.permanent) == (0, False, problem, permanent)
    assert calls == []
    targets.erase(THERE, [ANN], an_hour())
    assert calls == ["erase"]


def test_the_refusal_names_nobody(sessions: AssumedSessions, sts: Sts) -> None:
    """The role's name in botocore's message goes no further, not even as the context of the error."""
    sts.failing = [refused("AccessDenied", 403)]
    with pytest.raises(TargetError, match="access_denied") as caught:
        ByAccount(None, lambda _session, _account: None, sessions, ERASE).of(THERE)
    assert caught.value.__context__ is None
    assert OTHER not in str(caught.value)


def test_no_arn_is_no_role(sessions: AssumedSessions, sts: Sts) -> None:
    """A spec whose role is no role's ARN fails for good, and STS is not asked."""
    spec = TargetSpec("x", "content", s3=FILES_THERE.s3, role=RoleRule("arn:aws:iam::1:user/x"))
    own: Any = None
    targets = AssumedTargets(ByAccount(own, lambda _session, _account: own, sessions, ERASE))
    assert [(r.problem, r.permanent) for r in targets.erase(spec, [ANN], an_hour())] == [("map_mismatch", True)]
    assert sts.asked == []


def test_a_target_is_made_once_for_each_session(sessions: AssumedSessions, name: SessionName) -> None:
    """Within a job the same one works on; the next job, another table or another role gets another."""
    made = ByAccount(Seen(None, "own"), Seen, sessions, ERASE)
    assert made.of(HERE).account == "own"
    first = made.of(THERE)
    assert made.of(THERE) is first
    assert made.of(FILES_THERE) is not first
    with name.of("another"):
        assert made.of(THERE) is not first
    assert (first.account, first.session.get_config_variable("region")) == (OTHER, "eu-west-1")


def test_items_are_read_where_they_are(sessions: AssumedSessions, sts: Sts) -> None:
    """The account of the target decides which table is read; if there is no way to it, nothing is read anywhere."""

    class Table:
        def __init__(self, account: str) -> None:
            self._account = account

        def items(self, *_: Any) -> Iterator[list[Any]]:
            yield [{"account": {"S": self._account}}]

        def shards(self, *_: Any) -> tuple[Shard, ...]:
            return (Shard(len(self._account), 0, 1),)

    def made(_session: Any, account: str) -> Any:
        return Table(account)

    reader = AssumedTables(ByAccount(made(None, "own"), made, sessions, VERIFY))
    assert list(reader.items(HERE, ANN, (), an_hour())) == [[{"account": {"S": "own"}}]]
    assert list(reader.items(THERE, ANN, (), an_hour())) == [[{"account": {"S": OTHER}}]]
    assert [reader.shards(spec, an_hour())[0].total for spec in (HERE, THERE)] == [len("own"), len(OTHER)]
    sts.failing = [refused("AccessDenied", 403)]
    with pytest.raises(TargetError, match="access_denied"):
        list(reader.items(of_table(index="by-user"), ANN, (), an_hour()))


# The session's policy


def allowed(spec: TargetSpec, purpose: str) -> dict[str, set[str]]:
    """Actions by resource."""
    found: dict[str, set[str]] = {}
    for statement in json.loads(session_policy(spec, purpose, "eu-west-1"))["Statement"]:
        for resource in statement["Resource"]:
            found.setdefault(resource, set()).update(statement["Action"])
    return found


TABLE = f"arn:aws:dynamodb:eu-west-1:{OTHER}:table/app-notes"
READS = {f"dynamodb:{name}" for name in ("DescribeTable", "Query", "GetItem", "BatchGetItem")}
DELETES = {f"dynamodb:{name}" for name in ("BatchWriteItem", "DeleteItem", "PartiQLDelete")}


def of_table(action: Any = None, *, index: str | None = None, scan: bool = False, **more: Any) -> TargetSpec:
    rule = DynamoDBRule("app-notes", KeyRule("pk", "{user_id}"), index=index, scan=scan)
    return TargetSpec("x", "content", dynamodb=rule, role=ROLE, **(action or {}), **more)


@pytest.mark.parametrize(
    ("spec", "purpose", "expected"),
    [
        (of_table(), ERASE, READS | DELETES),
        (of_table(), VERIFY, READS),
        (of_table(scan=True), ERASE, READS | DELETES | {"dynamodb:Scan"}),
        (of_table(scan=True), VERIFY, READS | {"dynamodb:Scan"}),
        (of_table(detach=DetachRule("members"), index="by-member"), ERASE, READS | {"dynamodb:UpdateItem"}),
        (of_table(redact=(RedactRule("name", "remove"),)), ERASE, READS | {"dynamodb:UpdateItem"}),
        (of_table(redact=(RedactRule("name", "remove"),)), VERIFY, READS),
        (
            of_table(redact=(RedactRule("name", "remove"),), retain=RetainRule("tax law", "10y", "at")),
            ERASE,
            READS | DELETES | {"dynamodb:UpdateItem"},
        ),
    ],
)
def test_a_table_is_opened_for_what_its_action_takes(spec: TargetSpec, purpose: str, expected: set[str]) -> None:
    """The session reaches the target's own table, and may write only what the action writes."""
    assert allowed(spec, purpose)[TABLE] == expected


def test_a_session_has_one_table_or_one_bucket() -> None:
    """Nothing else of the account: no other table, index or bucket, and keys only through DynamoDB."""
    found = allowed(of_table(index="by-user"), ERASE)
    assert set(found) == {TABLE, f"{TABLE}/index/by-user", "*"}
    assert found[f"{TABLE}/index/by-user"] == {"dynamodb:Query"}
    assert all(action.startswith("kms:") for action in found["*"])
    (keys,) = [s for s in json.loads(session_policy(THERE, ERASE, "eu-west-1"))["Statement"] if "*" in s["Resource"]]
    assert keys["Condition"] == {"StringLike": {"kms:ViaService": "dynamodb.*"}}
    assert set(allowed(FILES_THERE, ERASE)) == {"arn:aws:s3:::partner-files", "arn:aws:s3:::partner-files/*"}


def test_who_verifies_cannot_delete() -> None:
    """No session of the verifier has an action that writes."""
    for spec in (THERE, FILES_THERE):
        actions = {action for actions in allowed(spec, VERIFY).values() for action in actions}
        assert not {action for action in actions if not action.partition(":")[2].startswith(READING)}, actions


READING = ("Get", "List", "Describe", "Query", "BatchGet", "Decrypt")


def test_a_session_policy_fits() -> None:
    """STS takes 2,048 characters: the longest names that AWS allows fit."""
    rule = DynamoDBRule("t" * 255, KeyRule("pk", "{user_id}"), index="i" * 255, scan=True)
    redact = (RedactRule("name", "remove"),)
    spec = TargetSpec("x", "content", dynamodb=rule, redact=redact, retain=RetainRule("law", "1y", "at"), role=ROLE)
    assert len(session_policy(spec, ERASE, "ap-southeast-3")) <= 2048
    files = TargetSpec("x", "content", s3=S3Rule("b" * 63, prefix="{user_id}/"), role=ROLE)
    assert len(session_policy(files, ERASE, "ap-southeast-3")) <= 2048


def test_a_partition_is_the_roles() -> None:
    """In another partition of AWS the resources are of that one."""
    role = RoleRule("arn:aws-cn:iam::210987654321:role/erasure")
    spec = TargetSpec("x", "content", dynamodb=HERE.dynamodb, role=role)
    assert "arn:aws-cn:dynamodb:eu-west-1:210987654321:table/app-notes" in session_policy(spec, ERASE, "eu-west-1")
