"""Where the client tests run: the API in this process, or the deployed stack. Both do the same for a test."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from aws_lambda_powertools.logging import Logger

from erasure.entry.api import Api
from erasure.entry.h2o import H2OFamily
from erasure.entry.settings import OidcSettings
from erasure.entry.tokens import TokenVerifier
from local.stack import Stack
from local.tokens import token as stack_token
from tests.client.gateway import Gateway
from tests.client.memory_self_deletion import MemorySelfDeletion, no_plans
from tests.client.token_issuer import AUDIENCE, TokenIssuer

TENANT = "client-tests"


class Deployment(Protocol):
    url: str
    """The base URL, without a slash at its end: what a client takes as its ``address``."""

    def token(self, subject: str, tenant: str = TENANT, **claims: Any) -> str:
        """A token of that person; ``claims`` replace its own."""

    def expire(self, delete_id: str) -> None:
        """Let the five minutes of a delete id be over."""


class InProcess:
    """The real API and the real token checks, with self-deletion in memory. ``service`` is that memory."""

    def __init__(self, url: str, issuer: TokenIssuer, service: MemorySelfDeletion) -> None:
        self.url = url
        self.service = service
        self._issuer = issuer

    def token(self, subject: str, tenant: str = TENANT, **claims: Any) -> str:
        return self._issuer.token(subject, tenant, **claims)

    def expire(self, delete_id: str) -> None:  # noqa: ARG002 - time passes for all of them
        later = datetime.now(UTC) + timedelta(minutes=6)
        self.service.now = lambda: later


class Deployed:
    """The stack of ``make up``."""

    def __init__(self, stack: Stack) -> None:
        self.url = stack.api_url.rstrip("/")
        self._stack = stack

    def token(self, subject: str, tenant: str = TENANT, **claims: Any) -> str:
        return stack_token(subject, tenant, stack=self._stack, **claims)

    def expire(self, delete_id: str) -> None:
        # Put back the time in its record: the tests cannot wait for five minutes, and TTL is not what decides.
        self._stack.client("dynamodb").update_item(
            TableName=self._stack["DELETE_IDS_TABLE"],
            Key={"pk": {"S": hashlib.sha256(delete_id.encode()).hexdigest()}},
            UpdateExpression="SET expires_at = :past",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
        )


@contextmanager
def in_process(base_path: str = "") -> Iterator[InProcess]:
    """An :class:`InProcess` that is reachable below ``base_path`` while the context lasts."""
    service = MemorySelfDeletion()
    with TokenIssuer() as issuer:
        oidc = OidcSettings(issuer.url, AUDIENCE, None, "sub", "tenant_id", ("RS256", "ES256"))
        family = H2OFamily(service, 25, no_plans)
        logger = Logger(service="client-tests", stream=io.StringIO())
        api = Api([family], logger, default=family, subjects=TokenVerifier.from_settings(oidc))
        with Gateway(api, family.routes(), base_path) as gateway:
            yield InProcess(gateway.url, issuer, service)
