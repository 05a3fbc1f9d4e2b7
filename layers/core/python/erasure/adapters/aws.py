"""Sessions and clients: botocore alone, made when first needed, once for each worker."""

from __future__ import annotations

import threading
from typing import Any

from erasure.cold_start import kept_for_good

with kept_for_good():
    from botocore.config import Config
    from botocore.exceptions import ClientError
    from botocore.session import Session, get_session


def client_config(*, max_pool_connections: int = 16, read_timeout: float = 10.0, total_max_attempts: int = 5) -> Config:
    """Short timeouts and a few quick retries: a slice that waits for a dead connection erases nothing."""
    return Config(
        connect_timeout=3.0,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": total_max_attempts},
        max_pool_connections=max_pool_connections,
        tcp_keepalive=True,
    )


class Clients:
    """Clients by service name, each made when it is first asked for, also when several threads ask at once.

    ``overrides`` replaces clients in tests.
    """

    def __init__(self, session: Session | None = None, overrides: dict[str, Any] | None = None) -> None:
        self._session = session
        self._clients: dict[str, Any] = dict(overrides or {})
        # Clients serve any number of threads, but a session makes one client at a time.
        self._making = threading.RLock()

    @property
    def session(self) -> Session:
        with self._making:
            if self._session is None:
                self._session = get_session()
            return self._session

    def get(self, service: str, **options: Any) -> Any:
        """``options``: of :func:`client_config`; those of the first call count."""
        client = self._clients.get(service)
        return self._make(service, options) if client is None else client

    def _make(self, service: str, options: dict[str, Any]) -> Any:
        with self._making:
            if service not in self._clients:
                self._clients[service] = self.session.create_client(service, config=client_config(**options))
            return self._clients[service]


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
