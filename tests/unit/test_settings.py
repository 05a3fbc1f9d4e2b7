"""The environment of each function: read on demand, complete or refused with everything that is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from erasure.entry import settings
from erasure.entry.settings import (
    BackendApiSettings,
    CloseJobSettings,
    EraserSettings,
    PlanJobSettings,
    RetentionSweepSettings,
    SettingsError,
    SlaWatchSettings,
    StartJobsSettings,
    SubjectApiSettings,
    VerifyTargetSettings,
)

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"

SUBJECT_API = {
    "DELETE_IDS_TABLE": "ids",
    "REQUESTS_TABLE": "requests",
    "REGISTRY_TABLE": "registry",
    "AUDIT_TABLE": "audit",
    "INTERACTIVE_QUEUE_URL": "https://queue.example",
    "DIGEST_KEY_SECRET_ARN": "arn:secret",
    "OIDC_ISSUER": "https://issuer.example",
    "OIDC_AUDIENCE": "erasure",
    "READER_FUNCTION": "reader",
}
BACKEND_API = {
    "REQUESTS_TABLE": "requests",
    "REGISTRY_TABLE": "registry",
    "AUDIT_TABLE": "audit",
    "BATCH_QUEUE_URL": "https://queue.example/batch",
    "INTERACTIVE_QUEUE_URL": "https://queue.example/interactive",
    "DIGEST_KEY_SECRET_ARN": "arn:secret",
    "ERASE_DYNAMODB_FUNCTION": "erase-dynamodb",
    "ERASE_S3_FUNCTION": "erase-s3",
    "VERIFY_TARGET_FUNCTION": "verify-target",
}
WORKER = {"REQUESTS_TABLE": "requests", "REGISTRY_TABLE": "registry", "DIGEST_KEY_SECRET_ARN": "arn:secret"}
REQUIRED: dict[Any, dict[str, str]] = {
    SubjectApiSettings: SUBJECT_API,
    BackendApiSettings: BACKEND_API,
    StartJobsSettings: {"STATE_MACHINE_ARN": "arn:machine", "BATCH_QUEUE_ARN": "arn:queue"},
    PlanJobSettings: {
        "REQUESTS_TABLE": "requests",
        "REGISTRY_TABLE": "registry",
        "AUDIT_TABLE": "audit",
        "ERASE_DYNAMODB_FUNCTION": "erase-dynamodb",
        "ERASE_S3_FUNCTION": "erase-s3",
        "READER_FUNCTION": "reader",
        "CONTROL_BUCKET": "control",
        "DIGEST_KEY_SECRET_ARN": "arn:secret",
    },
    EraserSettings: WORKER,
    VerifyTargetSettings: WORKER,
    CloseJobSettings: {"REQUESTS_TABLE": "requests", "AUDIT_TABLE": "audit", "EVENT_BUS": "bus"},
    SlaWatchSettings: {
        "REQUESTS_TABLE": "requests",
        "REGISTRY_TABLE": "registry",
        "AUDIT_TABLE": "audit",
        "BATCH_QUEUE_URL": "https://queue.example/batch",
        "DEAD_LETTER_QUEUE_URL": "https://queue.example/dead",
        "STATE_MACHINE_ARN": "arn:machine",
        "EVENT_BUS": "bus",
    },
    RetentionSweepSettings: {
        "REQUESTS_TABLE": "requests",
        "REGISTRY_TABLE": "registry",
        "AUDIT_TABLE": "audit",
        "BATCH_QUEUE_URL": "https://queue.example/batch",
        "READER_FUNCTION": "reader",
        "EVENT_BUS": "bus",
    },
}


def test_the_documented_defaults_hold() -> None:
    """What docs/architecture.md says about variables that are not set."""
    loaded = SubjectApiSettings.load(SUBJECT_API)
    assert (loaded.delete_id_seconds, loaded.confirm_wait_seconds) == (300, 25)
    assert loaded.clock == (72, 15, 24, 7)
    assert loaded.purge_days == 90
    assert (loaded.oidc.user_claim, loaded.oidc.tenant_claim) == ("sub", "tenant_id")
    assert loaded.oidc.algorithms == ("RS256", "ES256")
    assert loaded.oidc.jwks_uri is None
    backend = BackendApiSettings.load(BACKEND_API)
    assert (backend.key_mode, backend.calls_per_minute, backend.clock, backend.purge_days) == (
        *("live", 600),
        *((72, 15, 24, 7), 90),
    )
    assert (backend.retention_hours, backend.retention_report_hours) == (24, 24)
    assert backend.paths_are_encoded
    assert EraserSettings.load(WORKER).slice_margin_seconds == 15
    assert VerifyTargetSettings.load(WORKER).max_verify_rounds == 3


def test_every_variable_is_taken() -> None:
    """Each one that is set ends up in its field."""
    loaded = SubjectApiSettings.load(
        {
            **SUBJECT_API,
            "OIDC_JWKS_URI": "https://keys.example",
            "OIDC_USER_CLAIM": "https://app.example/user",
            "OIDC_TENANT_CLAIM": "https://app.example/tenant",
            "OIDC_ALGORITHMS": "ES256",
            "DELETE_ID_SECONDS": "10",
            "CONFIRM_WAIT_SECONDS": "0",
            "SLA_HOURS": "24",
            "PURGE_DAYS": "30",
        }
    )
    assert (loaded.delete_ids_table, loaded.requests_table) == ("ids", "requests")
    assert (loaded.registry_table, loaded.audit_table) == ("registry", "audit")
    assert (loaded.interactive_queue_url, loaded.digest_key_secret_arn) == ("https://queue.example", "arn:secret")
    assert loaded.oidc == (
        "https://issuer.example",
        "erasure",
        "https://keys.example",
        "https://app.example/user",
        "https://app.example/tenant",
        ("ES256",),
    )
    assert (loaded.delete_id_seconds, loaded.confirm_wait_seconds) == (10, 0)
    assert (loaded.clock.sla_hours, loaded.purge_days) == (24, 30)


def test_every_variable_of_the_backends_api_is_taken() -> None:
    """Also those that have a default."""
    given = {"KEY_MODE": "test", "CALLS_PER_MINUTE": "60", "SLA_HOURS": "24", "PURGE_DAYS": "30"}
    given |= {"RETENTION_HOURS": "12", "RETENTION_REPORT_HOURS": "6", "PATHS_ARE_ENCODED": "false"}
    loaded = BackendApiSettings.load({**BACKEND_API, **given})
    assert loaded == (*BACKEND_API.values(), "test", 60, 30, 12, 6, (24, 15, 24, 7), False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY_MODE", "both"),
        ("KEY_MODE", "LIVE"),
        ("CALLS_PER_MINUTE", "0"),
        ("CALLS_PER_MINUTE", "x"),
        ("PATHS_ARE_ENCODED", "no"),
    ],
)
def test_a_bad_value_of_the_backends_api_is_refused(name: str, value: str) -> None:
    """A stack takes the keys of one mode, and no key may have no calls at all."""
    with pytest.raises(SettingsError) as caught:
        BackendApiSettings.load({**BACKEND_API, name: value})
    assert [problem[0] for problem in caught.value.problems] == [name]


@pytest.mark.parametrize("kind", REQUIRED)
def test_everything_that_is_missing_is_named_at_once(kind: Any) -> None:
    """One error, all variables."""
    with pytest.raises(SettingsError) as caught:
        kind.load({})
    assert [name for name, _rule in caught.value.problems] == list(REQUIRED[kind])
    assert all(name in str(caught.value) for name in REQUIRED[kind])


@pytest.mark.parametrize("kind", REQUIRED)
def test_what_is_required_is_enough(kind: Any) -> None:
    """And each value is in the settings."""
    assert set(REQUIRED[kind].values()) <= set(_flat(kind.load(REQUIRED[kind])))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DELETE_ID_SECONDS", "0"),
        ("DELETE_ID_SECONDS", "-5"),
        ("DELETE_ID_SECONDS", "five"),
        ("CONFIRM_WAIT_SECONDS", "25.5"),
        ("SLA_HOURS", "٧٢"),
        ("PURGE_DAYS", "100000"),
        ("OIDC_ALGORITHMS", "RS256,HS256"),
        ("OIDC_ALGORITHMS", "none"),
        ("OIDC_ALGORITHMS", "RS256,"),
    ],
)
def test_a_bad_value_is_refused_and_not_repeated(name: str, value: str) -> None:
    """The error names the variable and its rule; symmetric algorithms are never among the choices."""
    with pytest.raises(SettingsError) as caught:
        SubjectApiSettings.load({**SUBJECT_API, name: value})
    assert [problem[0] for problem in caught.value.problems] == [name]


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_not_set(value: str) -> None:
    """Templates pass empty parameters as empty text."""
    assert SubjectApiSettings.load({**SUBJECT_API, "OIDC_JWKS_URI": value}).oidc.jwks_uri is None
    with pytest.raises(SettingsError, match="AUDIT_TABLE: is required"):
        SubjectApiSettings.load({**SUBJECT_API, "AUDIT_TABLE": value})


def test_the_process_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at import: what is set now counts."""
    monkeypatch.setenv("BATCH_QUEUE_ARN", "arn:queue")
    monkeypatch.setenv("STATE_MACHINE_ARN", "arn:first")
    assert StartJobsSettings.load().state_machine_arn == "arn:first"
    monkeypatch.setenv("STATE_MACHINE_ARN", "arn:second")
    assert StartJobsSettings.load().state_machine_arn == "arn:second"


def test_exactly_the_documented_variables_are_read() -> None:
    """The table in docs/architecture.md and the code know the same names."""
    section = ARCHITECTURE.read_text().split("### Environment variables of the functions")[1].split("###")[0]
    documented = {
        name
        for row in section.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])
        if not name.startswith("POWERTOOLS_")
    }
    source = Path(settings.__file__).read_text()
    assert set(re.findall(r'reader\.\w+\("([A-Z_]+)"', source)) == documented


def _flat(values: Any) -> list[object]:
    return [leaf for value in values for leaf in (_flat(value) if isinstance(value, tuple) else [value])]
