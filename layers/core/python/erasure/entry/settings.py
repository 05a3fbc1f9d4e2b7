"""The typed environment of each function.

``SubjectApiSettings.load()`` and its siblings read the environment when they are called, never at import, and name
everything that is missing or wrong in one :class:`SettingsError`: a deployment is put right in one go.
Values are not repeated in the error: some are names that logs may not hold.

Named tuples, because a frozen dataclass compiles its methods at each import: here that would be twenty million
instructions of every function's cold start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from erasure.errors import ErasureError

TOKEN_ALGORITHMS = ("RS256", "ES256")
"""What tokens may be signed with. Public-key algorithms only, so that a public key never serves as a shared secret."""


class SettingsError(ErasureError):
    """The environment is incomplete or wrong. ``problems``: ``(variable, rule)`` pairs in the order of reading."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {rule}" for name, rule in problems))
        self.problems = problems


class _Reader:
    """Reads variables and collects what is wrong with them until :meth:`finish`."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self._environment = os.environ if environment is None else environment
        self._problems: list[tuple[str, str]] = []

    def text(self, name: str, default: str | None = None) -> str:
        """``default=None``: required. A variable that is set but empty counts as not set: templates pass ``""``."""
        value = self._environment.get(name, "").strip()
        if value:
            return value
        if default is None:
            self._problems.append((name, "is required"))
            return ""
        return default

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name, str(default))
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        self._problems.append((name, f"must be a whole number from {least} to {most}"))
        return default

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of ``allowed``; the first when not set."""
        chosen = self.text(name, allowed[0])
        if chosen not in allowed:
            self._problems.append((name, f"must be {' or '.join(allowed)}"))
        return chosen

    def choices(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """A comma-separated list; all of ``allowed`` when not set."""
        chosen = tuple(dict.fromkeys(word.strip() for word in self.text(name, ",".join(allowed)).split(",")))
        if not set(chosen) <= set(allowed):
            self._problems.append((name, f"may only list {', '.join(allowed)}"))
        return chosen

    def flag(self, name: str, *, default: bool) -> bool:
        text = self.text(name, "true" if default else "false")
        if text not in ("true", "false"):
            self._problems.append((name, "must be true or false"))
        return text == "true"

    def finish(self) -> None:
        if self._problems:
            raise SettingsError(self._problems)


class OidcSettings(NamedTuple):
    """Who signs the tokens of subjects, and where in them the ids are. ``jwks_uri=None``: found by OIDC discovery."""

    issuer: str
    audience: str
    jwks_uri: str | None
    user_claim: str
    tenant_claim: str
    algorithms: tuple[str, ...]


class ClockSettings(NamedTuple):
    """What :class:`erasure.domain.clock.ClockPolicy` is made of: ``(sla_hours, patience_minutes, second_look_hours,
    own_backup_days)``."""

    sla_hours: int
    patience_minutes: int
    second_look_hours: int
    own_backup_days: int

    @classmethod
    def read(cls, reader: _Reader) -> ClockSettings:
        return cls(
            sla_hours=reader.integer("SLA_HOURS", 72, 1, 720),
            patience_minutes=reader.integer("PATIENCE_MINUTES", 15, 1, 120),
            second_look_hours=reader.integer("SECOND_LOOK_HOURS", 24, 0, 720),
            own_backup_days=reader.integer("OWN_BACKUP_DAYS", 7, 1, 35),
        )


class SubjectApiSettings(NamedTuple):
    """``confirm_wait_seconds``: how long a confirmation may wait, below the gateway's own limit of 29 seconds.
    ``paths_are_encoded``: the gateway hands paths over as they were sent, as API Gateway does; emulators may not.
    ``reader_function``: who may read the application's data, for previews."""

    delete_ids_table: str
    requests_table: str
    registry_table: str
    audit_table: str
    interactive_queue_url: str
    digest_key_secret_arn: str
    oidc: OidcSettings
    delete_id_seconds: int
    confirm_wait_seconds: int
    purge_days: int
    clock: ClockSettings
    paths_are_encoded: bool
    reader_function: str

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> SubjectApiSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            delete_ids_table=reader.text("DELETE_IDS_TABLE"),
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            audit_table=reader.text("AUDIT_TABLE"),
            interactive_queue_url=reader.text("INTERACTIVE_QUEUE_URL"),
            digest_key_secret_arn=reader.text("DIGEST_KEY_SECRET_ARN"),
            oidc=OidcSettings(
                issuer=reader.text("OIDC_ISSUER"),
                audience=reader.text("OIDC_AUDIENCE"),
                jwks_uri=reader.text("OIDC_JWKS_URI", "") or None,
                user_claim=reader.text("OIDC_USER_CLAIM", "sub"),
                tenant_claim=reader.text("OIDC_TENANT_CLAIM", "tenant_id"),
                algorithms=reader.choices("OIDC_ALGORITHMS", TOKEN_ALGORITHMS),
            ),
            delete_id_seconds=reader.integer("DELETE_ID_SECONDS", 300, 1, 3600),
            confirm_wait_seconds=reader.integer("CONFIRM_WAIT_SECONDS", 25, 0, 300),
            purge_days=reader.integer("PURGE_DAYS", 90, 1, 365),
            clock=ClockSettings.read(reader),
            paths_are_encoded=reader.flag("PATHS_ARE_ENCODED", default=True),
            reader_function=reader.text("READER_FUNCTION"),
        )
        reader.finish()
        return settings


class BackendApiSettings(NamedTuple):
    """``key_mode``: which API keys are taken, ``live`` or ``test``. ``calls_per_minute``: of keys without a limit of
    their own. The functions are those that are called where a caller waits for what they do. ``paths_are_encoded``: as
    for subject_api."""

    requests_table: str
    registry_table: str
    audit_table: str
    batch_queue_url: str
    interactive_queue_url: str
    digest_key_secret_arn: str
    erase_dynamodb_function: str
    erase_s3_function: str
    verify_target_function: str
    key_mode: str
    calls_per_minute: int
    purge_days: int
    retention_hours: int
    retention_report_hours: int
    clock: ClockSettings
    paths_are_encoded: bool

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> BackendApiSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        # Here, because the other functions have no use for keys.
        from erasure.domain.api_key import MODES

        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            audit_table=reader.text("AUDIT_TABLE"),
            batch_queue_url=reader.text("BATCH_QUEUE_URL"),
            interactive_queue_url=reader.text("INTERACTIVE_QUEUE_URL"),
            digest_key_secret_arn=reader.text("DIGEST_KEY_SECRET_ARN"),
            erase_dynamodb_function=reader.text("ERASE_DYNAMODB_FUNCTION"),
            erase_s3_function=reader.text("ERASE_S3_FUNCTION"),
            verify_target_function=reader.text("VERIFY_TARGET_FUNCTION"),
            key_mode=reader.choice("KEY_MODE", MODES),
            calls_per_minute=reader.integer("CALLS_PER_MINUTE", 600, 1, 60_000),
            purge_days=reader.integer("PURGE_DAYS", 90, 1, 365),
            retention_hours=reader.integer("RETENTION_HOURS", 24, 1, 720),
            retention_report_hours=reader.integer("RETENTION_REPORT_HOURS", 24, 0, 720),
            clock=ClockSettings.read(reader),
            paths_are_encoded=reader.flag("PATHS_ARE_ENCODED", default=True),
        )
        reader.finish()
        return settings


class StartJobsSettings(NamedTuple):
    """``batch_queue_arn``: whose messages are packed together; those of any other queue get a job each."""

    state_machine_arn: str
    batch_queue_arn: str

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> StartJobsSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            state_machine_arn=reader.text("STATE_MACHINE_ARN"), batch_queue_arn=reader.text("BATCH_QUEUE_ARN")
        )
        reader.finish()
        return settings


class PlanJobSettings(NamedTuple):
    """``erase_dynamodb_function``, ``erase_s3_function``: the names that units carry to the state machine.
    ``reader_function``: may read the targets, and is asked for further ids of subjects and for sizes of tables.
    ``inline_units``: a job of more units has them in a manifest in ``control_bucket``."""

    requests_table: str
    registry_table: str
    audit_table: str
    erase_dynamodb_function: str
    erase_s3_function: str
    reader_function: str
    control_bucket: str
    inline_units: int
    digest_key_secret_arn: str

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> PlanJobSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            audit_table=reader.text("AUDIT_TABLE"),
            erase_dynamodb_function=reader.text("ERASE_DYNAMODB_FUNCTION"),
            erase_s3_function=reader.text("ERASE_S3_FUNCTION"),
            reader_function=reader.text("READER_FUNCTION"),
            control_bucket=reader.text("CONTROL_BUCKET"),
            inline_units=reader.integer("INLINE_UNITS", 40, 1, 40),
            digest_key_secret_arn=reader.text("DIGEST_KEY_SECRET_ARN"),
        )
        reader.finish()
        return settings


class EraserSettings(NamedTuple):
    """``slice_margin_seconds``: a slice begins no new work this long before the function's time is up.
    ``capacity_share``: percent of a provisioned table's capacity that erasing may take. ``digest_key_secret_arn``:
    for digests in the place of values, and to know the items of held subjects."""

    requests_table: str
    registry_table: str
    slice_margin_seconds: int
    capacity_share: int
    digest_key_secret_arn: str
    external_id: str

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> EraserSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            slice_margin_seconds=reader.integer("SLICE_MARGIN_SECONDS", 15, 1, 600),
            capacity_share=reader.integer("CAPACITY_SHARE", 50, 1, 100),
            digest_key_secret_arn=reader.text("DIGEST_KEY_SECRET_ARN"),
            external_id=reader.text("TARGET_EXTERNAL_ID", ""),
        )
        reader.finish()
        return settings


class VerifyTargetSettings(NamedTuple):
    """``max_verify_rounds``: how often what verification still finds goes back to the eraser."""

    requests_table: str
    registry_table: str
    slice_margin_seconds: int
    max_verify_rounds: int
    capacity_share: int
    digest_key_secret_arn: str
    external_id: str

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> VerifyTargetSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            slice_margin_seconds=reader.integer("SLICE_MARGIN_SECONDS", 15, 1, 600),
            max_verify_rounds=reader.integer("MAX_VERIFY_ROUNDS", 3, 1, 10),
            capacity_share=reader.integer("CAPACITY_SHARE", 50, 1, 100),
            digest_key_secret_arn=reader.text("DIGEST_KEY_SECRET_ARN"),
            external_id=reader.text("TARGET_EXTERNAL_ID", ""),
        )
        reader.finish()
        return settings


class CloseJobSettings(NamedTuple):
    requests_table: str
    audit_table: str
    event_bus: str
    clock: ClockSettings

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> CloseJobSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            audit_table=reader.text("AUDIT_TABLE"),
            event_bus=reader.text("EVENT_BUS"),
            clock=ClockSettings.read(reader),
        )
        reader.finish()
        return settings


class SlaWatchSettings(NamedTuple):
    requests_table: str
    registry_table: str
    audit_table: str
    batch_queue_url: str
    dead_letter_queue_url: str
    state_machine_arn: str
    event_bus: str
    clock: ClockSettings

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> SlaWatchSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            audit_table=reader.text("AUDIT_TABLE"),
            batch_queue_url=reader.text("BATCH_QUEUE_URL"),
            dead_letter_queue_url=reader.text("DEAD_LETTER_QUEUE_URL"),
            state_machine_arn=reader.text("STATE_MACHINE_ARN"),
            event_bus=reader.text("EVENT_BUS"),
            clock=ClockSettings.read(reader),
        )
        reader.finish()
        return settings


class RetentionSweepSettings(NamedTuple):
    """``reader_function``: may read the targets, and is asked whether an account is gone.
    ``retention_hours``: how often retention rules run; ``retention_report_hours``: how long after its first report a
    rule begins to erase."""

    requests_table: str
    registry_table: str
    audit_table: str
    batch_queue_url: str
    reader_function: str
    event_bus: str
    purge_days: int
    retention_hours: int
    retention_report_hours: int
    clock: ClockSettings

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> RetentionSweepSettings:
        """From ``environment`` (default: the process's). Raises :class:`SettingsError`."""
        reader = _Reader(environment)
        settings = cls(
            requests_table=reader.text("REQUESTS_TABLE"),
            registry_table=reader.text("REGISTRY_TABLE"),
            audit_table=reader.text("AUDIT_TABLE"),
            batch_queue_url=reader.text("BATCH_QUEUE_URL"),
            reader_function=reader.text("READER_FUNCTION"),
            event_bus=reader.text("EVENT_BUS"),
            purge_days=reader.integer("PURGE_DAYS", 90, 1, 365),
            retention_hours=reader.integer("RETENTION_HOURS", 24, 1, 720),
            retention_report_hours=reader.integer("RETENTION_REPORT_HOURS", 24, 0, 720),
            clock=ClockSettings.read(reader),
        )
        reader.finish()
        return settings
