"""The template: what is deployed, and that one template is right on AWS and on the emulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.translated_template import ROOT, of_type, resources, source

AWS = resources()
LOCAL = resources({"IsLocal": "true"})
FUNCTIONS: dict[str, Any] = of_type(AWS, "AWS::Lambda::Function")
COMMON = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL", "POWERTOOLS_METRICS_NAMESPACE"}


def variables(function: str) -> dict[str, str]:
    found: dict[str, str] = FUNCTIONS[function]["Environment"]["Variables"]
    return found


@pytest.mark.parametrize(
    "command",
    [("cfn-lint", "template.yaml"), ("sam", "validate", "--lint", "--template", "template.yaml")],
    ids=lambda command: command[0],
)
def test_linters_are_content(command: tuple[str, ...]) -> None:
    """cfn-lint and `sam validate --lint` have nothing to say."""
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_default_runtime_is_python313_on_arm64() -> None:
    """Without parameters everything is Python 3.13 on arm64, like the build's own defaults."""
    assert {(f["Runtime"], *f["Architectures"]) for f in FUNCTIONS.values()} == {("python3.13", "arm64")}
    build = (ROOT / "build.mk").read_text(encoding="utf-8")
    assert "ERASURE_PYTHON ?= python3.13\n" in build
    assert "ERASURE_ARCH ?= aarch64\n" in build


def test_every_built_resource_has_its_make_target() -> None:
    """Each function and layer is built by make, so that no artefact can be without bytecode."""
    build = (ROOT / "build.mk").read_text(encoding="utf-8")
    built = {
        name: resource["Metadata"]
        for name, resource in source()["Resources"].items()
        if resource["Type"] in {"AWS::Serverless::Function", "AWS::Serverless::LayerVersion"}
    }
    assert len(built) == 13
    for name, metadata in built.items():
        # No WorkingDirectory: SAM hands that on to its build containers as it stands on this machine.
        assert {key: metadata[key] for key in metadata if key != "BuildArchitecture"} == {
            "BuildMethod": "makefile",
            "ContextPath": ".",
        }
        assert f"\nbuild-{name}:\n" in build


JUNE = "/api/platform/data_management"
BACKEND_ROUTES = {
    "/v1/users/{user_id}": "GET DELETE",
    "/v1/users/{user_id}/disable": "POST",
    "/v1/users/{user_id}/enable": "POST",
    "/v1/users/bulk-delete": "POST",
    "/v2/users/data/delete": "POST",
    "/v2/users/data/delete/status": "POST",
    f"{JUNE}/user_deletion_request": "POST",
    f"{JUNE}/user_deletion_requests": "GET",
    f"{JUNE}/group_deletion_request": "POST",
    f"{JUNE}/group_deletion_requests": "GET",
    "/v1/erasure-requests": "POST GET",
    "/v1/erasure-requests/{request_id}": "GET",
    "/v1/erasure-requests/{request_id}/cancel": "POST",
    "/v1/erasure-requests/{request_id}/retry": "POST",
    "/v1/erasure-requests/{request_id}/expedite": "POST",
    "/v1/erasure-requests/{request_id}/audit": "GET",
    "/v1/erasure-plans": "POST",
    "/v1/suppressions": "GET",
    "/v1/suppressions/{subject_id}": "GET DELETE",
    "/v1/legal-holds": "GET",
    "/v1/legal-holds/{subject_id}": "GET PUT DELETE",
    "/v1/sla": "GET",
    "/v1/retention": "GET",
    "/v1/data-map": "GET PUT",
    "/v1/api-keys": "POST GET",
    "/v1/api-keys/{key_id}": "DELETE",
    "/openapi.json": "GET",
    "/docs": "GET",
}


def test_routes_are_the_documented_ones() -> None:
    """Every route is explicit, under both prefixes, and nothing answers to ANY."""
    (api,) = of_type(AWS, "AWS::ApiGateway::RestApi").values()
    own = {
        ("DELETE", "/users/current"),
        ("POST", "/users/current/confirm-delete"),
        ("GET", "/users/current/erasure-requests/{request_id}"),
    }
    expected = {*own, *((method, f"/api/v1{path}") for method, path in own), ("GET", "/rpc/meta"), ("GET", "/health")}
    expected.add(("GET", "/users/current/deletion-preview"))  # not one of the real client's calls
    expected |= {(method, path) for path, methods in BACKEND_ROUTES.items() for method in methods.split()}
    assert {(method.upper(), path) for path, item in api["Body"]["paths"].items() for method in item} == expected


def test_each_route_leads_to_its_function() -> None:
    """Routes of backends, and what describes the API, go to backend_api; those of subjects to subject_api."""
    (api,) = of_type(AWS, "AWS::ApiGateway::RestApi").values()
    for path, item in api["Body"]["paths"].items():
        wanted = "BackendApi" if path in BACKEND_ROUTES else "SubjectApi"
        for method in item.values():
            assert f":function:{wanted}/" in method["x-amazon-apigateway-integration"]["uri"]


@pytest.mark.parametrize("place", ["aws", "local"])
def test_gateway_errors_have_code_and_message(place: str) -> None:
    """Each error of API Gateway itself has an integer code, its status, and a lower-case message."""
    answers = gateway_responses(place)
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "WAF_FILTERED", "INTEGRATION_TIMEOUT"} <= set(answers)
    assert len(answers) == 21
    for status, parameters, template in answers.values():
        body = json.loads(template)
        assert set(body) == {"code", "message"}
        assert isinstance(body["code"], int)
        assert str(body["code"]) == status
        assert parameters["gatewayresponse.header.X-Request-Id"] == "context.requestId"
    # What API Gateway says of an unknown route, to a caller with no Authorization header and to one with a token.
    assert answers["MISSING_AUTHENTICATION_TOKEN"][0] == answers["INVALID_SIGNATURE"][0] == "404"
    assert {name for name, (status, *_rest) in answers.items() if status == "429"} == {"THROTTLED", "QUOTA_EXCEEDED"}
    for name in ("THROTTLED", "QUOTA_EXCEEDED"):
        assert int(answers[name][1]["gatewayresponse.header.Retry-After"].strip("'")) > 0


def gateway_responses(place: str) -> dict[str, tuple[str, dict[str, str], str]]:
    """Status, headers and body by response type: of the API's body on AWS, of the resources on the emulator."""
    if place == "aws":
        (api,) = of_type(AWS, "AWS::ApiGateway::RestApi").values()
        found = api["Body"]["x-amazon-apigateway-gateway-responses"]
        return {
            name: (
                str(answer["statusCode"]),
                answer["responseParameters"],
                answer["responseTemplates"]["application/json"],
            )
            for name, answer in found.items()
        }
    return {
        answer["ResponseType"]: (
            answer["StatusCode"],
            answer["ResponseParameters"],
            answer["ResponseTemplates"]["application/json"],
        )
        for answer in of_type(LOCAL, "AWS::ApiGateway::GatewayResponse").values()
    }


def test_gateway_errors_are_the_same_everywhere() -> None:
    """The emulator's copy of the gateway responses says what the API's body says, and exists only there."""
    assert gateway_responses("aws") == gateway_responses("local")
    assert of_type(AWS, "AWS::ApiGateway::GatewayResponse") == {}


def test_gateway_errors_precede_the_emulators_deployment() -> None:
    """The emulator creates by name and a deployment copies what exists: these names must come first."""
    names = of_type(LOCAL, "AWS::ApiGateway::GatewayResponse")
    (deployment,) = of_type(LOCAL, "AWS::ApiGateway::Deployment")
    assert max(names) < deployment


def test_stage_throttles_traces_and_logs_nothing_personal() -> None:
    """Throttling and tracing are on; an access log line has no path, address, agent or token."""
    (stage,) = of_type(AWS, "AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert stage["TracingEnabled"] is True
    assert settings["ThrottlingRateLimit"] == 100
    assert settings["ThrottlingBurstLimit"] == 200
    assert settings["DataTraceEnabled"] is False
    named = set(re.findall(r"\$context\.([A-Za-z.]+)", stage["AccessLogSetting"]["Format"]))
    assert named == {
        *("requestId", "requestTimeEpoch", "httpMethod", "resourcePath", "status"),
        *("responseLength", "responseLatency", "error.responseType"),
    }
    assert "\n" not in stage["AccessLogSetting"]["Format"], "API Gateway takes a single line"
    json.loads(stage["AccessLogSetting"]["Format"])
    assert stage["AccessLogSetting"]["DestinationArn"].endswith(":log-group:ApiLogs")


def test_records_outlive_the_stack() -> None:
    """Requests, registry, audit, control bucket and digest key are retained; on AWS these tables resist deletion."""
    for name in ("Requests", "Registry", "Audit", "ControlBucket", "DigestKey"):
        assert (AWS[name]["DeletionPolicy"], AWS[name]["UpdateReplacePolicy"]) == ("Retain", "Retain")
    for name, table in of_type(AWS, "AWS::DynamoDB::Table").items():
        # A table that goes with the stack and resists would keep the stack from being deleted at all.
        assert table.get("DeletionProtectionEnabled", False) is (AWS[name]["DeletionPolicy"] == "Retain")
        assert table["SSESpecification"] == {"SSEEnabled": True}
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        recovery = table.get("PointInTimeRecoverySpecification", {"PointInTimeRecoveryEnabled": False})
        assert recovery["PointInTimeRecoveryEnabled"] is (name != "DeleteIds")
    assert not any(table.get("DeletionProtectionEnabled") for table in of_type(LOCAL, "AWS::DynamoDB::Table").values())


def test_the_table_of_requests_is_recovered_as_far_back_as_the_purge_knows() -> None:
    """What is purged is in no backup for longer than the functions reckon with; the other tables hold no ids."""
    table = of_type(resources({"OwnBackupDays": "3"}), "AWS::DynamoDB::Table")["Requests"]
    assert table["PointInTimeRecoverySpecification"]["RecoveryPeriodInDays"] == "3"
    changed = of_type(resources({"OwnBackupDays": "3"}), "AWS::Lambda::Function").values()
    told = [f["Environment"]["Variables"].get("OWN_BACKUP_DAYS") for f in changed]
    assert {days for days in told if days is not None} == {"3"}


def test_only_short_lived_items_expire() -> None:
    """Delete ids and registry records may expire by themselves; requests and audit entries never."""
    tables = of_type(AWS, "AWS::DynamoDB::Table")
    expiring = {name for name, table in tables.items() if "TimeToLiveSpecification" in table}
    assert expiring == {"DeleteIds", "Registry"}
    for name in expiring:
        assert tables[name]["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_requests_indexes_hold_no_subject() -> None:
    """The three indexes are there and copy nothing that names anybody: the subject's id stands in one place."""
    indexes = of_type(AWS, "AWS::DynamoDB::Table")["Requests"]["GlobalSecondaryIndexes"]
    found = {i["IndexName"]: [key["AttributeName"] for key in i["KeySchema"]] for i in indexes}
    assert found == {
        "by-tenant-state": ["tenant_state", "pk"],
        "by-clock": ["clock_shard", "clock_at"],
        "by-subject": ["subject_digest", "pk"],
    }
    assert all(i["Projection"]["ProjectionType"] == "INCLUDE" for i in indexes)
    assert {i["IndexName"]: i["Projection"]["NonKeyAttributes"] for i in indexes} == {
        "by-tenant-state": ["family", "subject_type", "due_at", "finished_at"],
        "by-clock": ["due_at", "finished_at"],
        "by-subject": ["family", "subject_type"],
    }


def test_control_bucket_is_closed() -> None:
    """Private, encrypted, versioned, TLS only; manifests expire."""
    bucket = of_type(AWS, "AWS::S3::Bucket")["ControlBucket"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    rules = {rule.get("Prefix"): rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["manifests/"]["ExpirationInDays"] == 7
    (policy,) = of_type(AWS, "AWS::S3::BucketPolicy").values()
    assert_denies_plain_http(policy["PolicyDocument"]["Statement"])


def assert_denies_plain_http(found: list[dict[str, Any]]) -> None:
    (statement,) = found
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_lanes_deliver_at_least_once_and_keep_what_fails() -> None:
    """A queue waits six timeouts (and its window) before it redelivers, gives up after five, and keeps dead letters."""
    queues = of_type(AWS, "AWS::SQS::Queue")
    hidden = 6 * FUNCTIONS["StartJobs"]["Timeout"]
    longest_window = source()["Parameters"]["BatchWindowSeconds"]["MaxValue"]
    assert queues["InteractiveQueue"]["VisibilityTimeout"] >= hidden
    assert queues["BatchQueue"]["VisibilityTimeout"] >= hidden + longest_window
    dead_letters = "arn:aws:sqs:eu-west-1:123456789012:DeadLetterQueue"
    for name in ("InteractiveQueue", "BatchQueue"):
        assert queues[name]["RedrivePolicy"] == {"deadLetterTargetArn": dead_letters, "maxReceiveCount": 5}
    assert queues["DeadLetterQueue"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    policies = of_type(AWS, "AWS::SQS::QueuePolicy").values()
    assert sorted(queue for policy in policies for queue in policy["Queues"]) == sorted(queues)
    for policy in policies:
        assert_denies_plain_http(policy["PolicyDocument"]["Statement"])


def test_start_jobs_reports_partial_batches() -> None:
    """One bad message does not bring back the others, and on the interactive lane nobody waits for a batch to fill."""
    found = mappings({})
    assert set(found) == {"InteractiveQueue", "BatchQueue"}
    assert all(mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"] for mapping in found.values())
    assert found["InteractiveQueue"]["BatchSize"] == 10
    assert not found["InteractiveQueue"].get("MaximumBatchingWindowInSeconds")


def mappings(parameters: dict[str, str]) -> dict[str, Any]:
    """The event source mappings of start_jobs by the queue that they read."""
    found = of_type(resources(parameters), "AWS::Lambda::EventSourceMapping").values()
    return {mapping["EventSourceArn"].rpartition(":")[2]: mapping for mapping in found}


@pytest.mark.parametrize(("seconds", "size"), [("60", 1000), ("1", 1000), ("300", 1000), ("0", 10)])
def test_batch_lane_collects_for_its_window(seconds: str, size: int) -> None:
    """Up to 1,000 messages in the window that the parameter says; without a window, ten as they come."""
    lane = mappings({"BatchWindowSeconds": seconds})["BatchQueue"]
    assert (lane["BatchSize"], lane["MaximumBatchingWindowInSeconds"]) == (size, seconds)
    assert mappings({})["BatchQueue"]["MaximumBatchingWindowInSeconds"] == 60


@pytest.mark.parametrize(("minutes", "rate"), [("1", "rate(1 minute)"), ("5", "rate(5 minutes)")])
@pytest.mark.parametrize(("parameter", "function"), [("SweepMinutes", "RetentionSweep"), ("WatchMinutes", "SlaWatch")])
def test_sweep_and_watch_run_by_the_clock(parameter: str, function: str, minutes: str, rate: str) -> None:
    """EventBridge calls each at the rate of its parameter."""
    rules = of_type(resources({parameter: minutes}), "AWS::Events::Rule").values()
    rates = {
        target["Arn"].rpartition(":")[2]: rule["ScheduleExpression"] for rule in rules for target in rule["Targets"]
    }
    assert set(rates) == {"RetentionSweep", "SlaWatch"}
    assert rates[function] == rate
    assert source()["Parameters"][parameter]["Default"] == 5


def test_api_function_ends_before_the_gateway_does() -> None:
    """API Gateway waits 29 seconds, of which the function's time does not count a cold start: three are left for it."""
    assert FUNCTIONS["SubjectApi"]["Timeout"] <= 29 - 3
    assert FUNCTIONS["BackendApi"]["Timeout"] <= 29 - 3
    assert source()["Parameters"]["ConfirmWaitSeconds"]["MaxValue"] <= FUNCTIONS["SubjectApi"]["Timeout"]


def test_environment_is_as_documented() -> None:
    """Each function gets the variables that docs/architecture.md gives it, and no others."""
    documented = documented_variables()
    for name, directory in DIRECTORIES.items():
        assert set(variables(name)) == COMMON | {v for v, readers in documented.items() if directory in readers}, name


DIRECTORIES = {
    "SubjectApi": "subject_api",
    "BackendApi": "backend_api",
    "StartJobs": "start_jobs",
    "PlanJob": "plan_job",
    "EraseDynamodb": "erase_dynamodb",
    "EraseS3": "erase_s3",
    "VerifyTarget": "verify_target",
    "CloseJob": "close_job",
    "RetentionSweep": "retention_sweep",
    "SlaWatch": "sla_watch",
}


def documented_variables() -> dict[str, set[str]]:
    """Readers by variable, from the table of the architecture page."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    everyone = set(DIRECTORIES.values())
    found: dict[str, set[str]] = {}
    for names, who in re.findall(r"^\| (`[A-Z0-9_`,() a-z:]+) \| ([^|]+) \|", page, re.MULTILINE):
        readers = {"erase_dynamodb", "erase_s3"} if "erase_*" in who else set()
        readers |= everyone & set(re.split(r"[,\s]+", who))
        if who.startswith("all but "):
            readers = everyone - {who.removeprefix("all but ").strip()}
        elif who == "all":
            readers = everyone
        for name in re.findall(r"`([A-Z0-9_]+)`", names):
            found[name] = readers
    return found


def test_functions_log_into_groups_that_expire() -> None:
    """Every function writes to a log group of the template, and every log group has a retention."""
    groups = of_type(AWS, "AWS::Logs::LogGroup")
    assert {f["LoggingConfig"]["LogGroup"] for f in FUNCTIONS.values()} <= set(groups)
    assert all(group["RetentionInDays"] == 30 for group in groups.values())
    assert len(groups) == len(FUNCTIONS) + 2


def test_everything_that_can_fail_has_an_alarm() -> None:
    """Dead letters, waiting messages, jobs that end badly, unfinished requests, functions' errors, the API's 5xx."""
    alarms = of_type(resources({"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:ops"}), "AWS::CloudWatch::Alarm")
    watched = {(metric["Namespace"], metric["MetricName"]) for alarm in alarms.values() for metric in metrics_of(alarm)}
    assert watched == {
        *(("AWS/SQS", f"ApproximateNumberOfMessages{which}") for which in ("Visible", "NotVisible")),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("AWS/States", "ExecutionsFailed"),
        ("AWS/States", "ExecutionsTimedOut"),
        ("AWS/States", "ExecutionsAborted"),
        ("ErasureService", "RequestsWithAttention"),
        *(("ErasureService", name) for name in ("SlaAtRisk75", "SlaAtRisk90", "SlaBreached", "OverdueRequests")),
        *(("ErasureService", name) for name in ("RequestsParked", "OpenRequests", "RequestsPurged")),
        ("AWS/Lambda", "Errors"),
        ("AWS/ApiGateway", "5XXError"),
    }
    errors = [alarm for alarm in alarms.values() if alarm.get("MetricName") == "Errors"]
    assert {dimension["Value"] for alarm in errors for dimension in alarm["Dimensions"]} == set(FUNCTIONS)
    queues = {
        dimension["Value"]
        for alarm in alarms.values()
        if alarm.get("MetricName") == "ApproximateAgeOfOldestMessage"
        for dimension in alarm["Dimensions"]
    }
    assert queues == {"InteractiveQueue.QueueName", "BatchQueue.QueueName"}
    assert all(alarm["AlarmActions"] == ["arn:aws:sns:eu-west-1:123456789012:ops"] for alarm in alarms.values())
    assert not any("AlarmActions" in alarm for alarm in of_type(AWS, "AWS::CloudWatch::Alarm").values())


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that the alarm goes by, itself or through an expression."""
    if "Metrics" not in alarm:
        return [alarm]
    return [query["MetricStat"]["Metric"] for query in alarm["Metrics"] if "MetricStat" in query]


def test_lists_of_targets_take_no_wildcards() -> None:
    """A `*` in the parameters would widen what may be erased: the patterns refuse it."""
    parameters = source()["Parameters"]
    for name, fine in (("TargetTables", "App_users-1.eu"), ("TargetBuckets", "app-users.eu")):
        pattern = parameters[name]["AllowedPattern"]
        assert re.fullmatch(pattern, fine)
        for bad in ("*", "app-*", "a?c", "app/index", "${x}", "", "arn:aws:s3:::x"):
            assert not re.fullmatch(pattern, bad), bad
    pattern = parameters["TargetKeys"]["AllowedPattern"]
    key = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    assert re.fullmatch(pattern, key)
    assert re.fullmatch(pattern, ""), "no key is the default"
    for bad in ("*", "arn:aws:kms:eu-west-1:123456789012:key/*", "arn:aws:kms:*:123456789012:key/x", f"{key}*"):
        assert not re.fullmatch(pattern, bad), bad


def test_the_list_of_roles_takes_no_wildcards() -> None:
    """Each role that may be assumed is named."""
    pattern = source()["Parameters"]["TargetRoles"]["AllowedPattern"]
    for fine in ("", "arn:aws:iam::123456789012:role/erasure", "arn:aws-cn:iam::123456789012:role/data/erasure+1"):
        assert re.fullmatch(pattern, fine), fine
    for bad in ("*", "arn:aws:iam::123456789012:role/*", "arn:aws:iam::*:role/x", "arn:aws:iam::123456789012:user/x"):
        assert not re.fullmatch(pattern, bad), bad


def test_nothing_local_reaches_aws() -> None:
    """The emulator's domain and mapping exist locally only; the account's settings on AWS only."""
    assert {name for name in LOCAL if name not in AWS and not name.startswith("Answer")} == {
        "LocalDomain",
        "LocalMapping",
    }
    assert set(AWS) - set(LOCAL) == {
        *("ApiGatewayAccount", "ApiGatewayRole"),
        *("DeadLettersAlarm", "WatchSilentAlarm", "SweepSilentAlarm"),
        *("ControlBucketPolicy", "InteractiveQueuePolicy", "BatchQueuePolicy", "DeadLetterQueuePolicy"),
    }


def test_web_acl_is_optional() -> None:
    """A web ACL is associated when one is given."""
    arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/x/1"
    assert "WebAclAssociation" not in AWS
    assert resources({"WebAclArn": arn})["WebAclAssociation"]["Properties"]["WebACLArn"] == arn
