"""Sessions of roles in other accounts, each kept until shortly before it ends.

A role is assumed under the name of the job that is being worked on, so that the other account's trail tells which one
it was, and with a session policy that leaves it one table or bucket.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session

from erasure.domain.target_spec import RoleRule

RENEWED_BEFORE_END = timedelta(minutes=5)
MOST_SESSIONS = 64
"""How many are kept; the one that was not asked for the longest goes first."""

_NO_JOB = "erasure"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SessionName:
    """The name of the sessions that are opened now: ``erasure-<job id>`` while a job is worked on.

    One for each worker, which works on one event at a time; the threads of that work all see its job.
    """

    def __init__(self) -> None:
        self._name = _NO_JOB

    def __call__(self) -> str:
        return self._name

    @contextmanager
    def of(self, job_id: str | None) -> Iterator[None]:
        """For as long as this job is worked on; ``None``: no job's."""
        before, self._name = self._name, _NO_JOB if job_id is None else f"{_NO_JOB}-{job_id}"
        try:
            yield
        finally:
            self._name = before


class AssumedSessions:
    """botocore sessions that work as a role. Any number of threads may ask.

    ``sts``: gives the client that assumes; ``base``: whose region and data the sessions share; ``external_id``: for
    roles that the map gives none of their own.
    """

    def __init__(
        self,
        sts: Callable[[], Any],
        base: Session,
        *,
        session_name: Callable[[], str],
        external_id: str | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._sts = sts
        self._base = base
        self._session_name = session_name
        self._external_id = external_id
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], tuple[Session, _Credentials]] = OrderedDict()

    @property
    def region(self) -> str:
        return str(self._base.get_config_variable("region") or "us-east-1")

    def open(self, role: RoleRule, policy: str) -> Session:
        """A session of the role that may do what both the role and ``policy`` (JSON) allow; the same one as long as
        it is kept. It renews itself.

        Raises what botocore raises if the role cannot be assumed.
        """
        external_id = role.external_id or self._external_id
        name = self._session_name()
        key = (role.arn, external_id or "", policy, name)
        with self._lock:
            if key not in self._kept:
                credentials = _Credentials(self._sts, _arguments(role.arn, external_id, policy, name), self._now)
                self._kept[key] = (self._session(credentials), credentials)
                while len(self._kept) > MOST_SESSIONS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            session, credentials = self._kept[key]
        credentials.get_frozen_credentials()
        return session

    def _session(self, credentials: _Credentials) -> Session:
        session = Session()
        session.set_config_variable("region", self.region)
        # Reading the models of the services is most of what a session costs.
        session.register_component("data_loader", self._base.get_component("data_loader"))
        # In the place of all other ways to credentials: nothing may ever fall back on the caller's own.
        session.register_component("credential_provider", _Provider(credentials))
        return session


def _arguments(arn: str, external_id: str | None, policy: str, name: str) -> dict[str, str]:
    arguments = {"RoleArn": arn, "RoleSessionName": name, "Policy": policy}
    return arguments if external_id is None else {**arguments, "ExternalId": external_id}


class _Credentials:
    """What botocore asks before each call. Raises what it raises if the role cannot be assumed (again)."""

    method = "assume-role"
    account_id = None

    def __init__(self, sts: Callable[[], Any], arguments: dict[str, str], now: Callable[[], datetime]) -> None:
        self._sts = sts
        self._arguments = arguments
        self._now = now
        self._lock = threading.Lock()
        self._current: ReadOnlyCredentials | None = None
        self._ends_at = datetime.min.replace(tzinfo=UTC)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        with self._lock:
            if self._current is None or self._now() >= self._ends_at - RENEWED_BEFORE_END:
                given = self._sts().assume_role(**self._arguments)["Credentials"]
                self._current = ReadOnlyCredentials(
                    given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], None
                )
                self._ends_at = given["Expiration"]
            return self._current

    @property
    def access_key(self) -> str:
        return str(self.get_frozen_credentials().access_key)

    @property
    def secret_key(self) -> str:
        return str(self.get_frozen_credentials().secret_key)

    @property
    def token(self) -> str:
        return str(self.get_frozen_credentials().token)

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self.get_frozen_credentials(), name, None)


class _Provider:
    def __init__(self, credentials: _Credentials) -> None:
        self._credentials = credentials

    def load_credentials(self) -> _Credentials:
        return self._credentials
