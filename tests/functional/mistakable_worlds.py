"""The service with an application of mistakable people behind it: on moto as it is deployed, and on fakes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import jwt
from aws_lambda_powertools.logging import Logger

from erasure.domain.data_map import parse_data_map
from erasure.entry.settings import SubjectApiSettings
from erasure.entry.subject_api import make_subject_api
from erasure.entry.tokens import TokenVerifier
from erasure.services.self_deletion import SelfDeletionService
from tests.client.memory_self_deletion import no_plans
from tests.client.token_issuer import AUDIENCE, ec_key, make_token, public_jwk
from tests.functional.backend_calls import BackendApi, make_event
from tests.functional.backend_world import KEY, BackendWorld, TargetReader, a_map
from tests.functional.job_stack import JobStack
from tests.functional.mistakable_people import Application, InMemory, OnMoto, write_all
from tests.functional.test_h2o_api import ENVIRONMENT

ISSUER = "https://issuer.example"


class World(Protocol):
    """The service with an application behind it, fresh for each case."""

    @property
    def application(self) -> Application: ...

    def ask(self, tenant_id: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A call of the backends' API with a key of this tenant; status and body."""

    def ask_as_subject(self, token: str, method: str, path: str, body: str | None = None) -> Mapping[str, Any]: ...

    def work(self) -> None:
        """Do all that is queued."""

    def states(self) -> set[str]:
        """Of all requests."""


def token_of(user_id: str, tenant_id: str) -> str:
    """A token of this person, good for both worlds."""
    return make_token(ISSUER, ec_key(), kid="key", algorithm="ES256", sub=user_id, tenant_id=tenant_id)


class CloudWorld:
    """The functions as they are deployed, on moto."""

    def __init__(self, stack: JobStack, data_map: Mapping[str, Any], tenants: Iterable[str]) -> None:
        self.stack = stack
        self.application = OnMoto(stack)
        stack.maps.put(parse_data_map(data_map), datetime.now(UTC))
        self.keys = {tenant: stack.api_key(tenant) for tenant in tenants}
        stack.handlers["subject_api"] = _subject_api(stack.service())
        self._kept = {table: self._keys_of(table) for table in ("Requests", "Registry", "Audit", "DeleteIds")}

    def clear(self) -> None:
        """As it was at first."""
        self.application.clear()
        for table, kept in self._kept.items():
            keys = [key for key in self._keys_of(table) if key not in kept]
            write_all(self.stack, {table: [{"DeleteRequest": {"Key": key}} for key in keys]})

    def _keys_of(self, table: str) -> list[dict[str, Any]]:
        return [{name: item[name] for name in ("pk", "sk") if name in item} for item in self.stack.items(table)]

    def ask(self, tenant_id: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.stack.ask(self.keys[tenant_id], method, path, body)

    def ask_as_subject(self, token: str, method: str, path: str, body: str | None = None) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        reply: Mapping[str, Any] = self.stack.call("subject_api", make_event(method, path, headers, body))
        return reply

    def work(self) -> None:
        self.stack.work()

    def states(self) -> set[str]:
        return {item["state"]["S"] for item in self.stack.items("Requests") if "state" in item}


class MemoryWorld(BackendWorld):
    """The same handlers and use cases on fakes."""

    def __init__(self, data_map: Mapping[str, Any]) -> None:
        super().__init__(a_map(data_map["targets"]))
        self.application = InMemory()
        self.target = cast(Any, self.application)
        self.reader = TargetReader(self.target)
        self.accounts._accounts = self.reader
        self.api = BackendApi(self)

    def ask(self, tenant_id: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        reply = self.api.call(method, path, body, key=self.api.make_key(tenant_id))
        return reply["statusCode"], json.loads(reply["body"] or "null")

    def ask_as_subject(self, token: str, method: str, path: str, body: str | None = None) -> Mapping[str, Any]:
        handle = _subject_api(
            SelfDeletionService(
                delete_ids=self.delete_ids,
                acceptance=self.acceptance,
                requests=self.requests,
                data_maps=self.maps,
                queue=self.queue,
                holds=self.holds,
                audit=self.audit,
                digest_key=lambda: KEY,
                now=self.clock,
            )
        )
        reply: Mapping[str, Any] = handle(make_event(method, path, {"Authorization": f"Bearer {token}"}, body), None)
        return reply

    def work(self) -> None:
        if self.queue.messages:
            self.run_batch()

    def states(self) -> set[str]:
        return {request.state for request in self.requests.records.values()}


class _OneKey:
    def find(self, _key_id: str, _algorithm: str) -> jwt.PyJWK:
        return jwt.PyJWK(public_jwk(ec_key(), "key", alg="ES256"))


def _subject_api(service: SelfDeletionService) -> Any:
    settings = SubjectApiSettings.load({**ENVIRONMENT, "OIDC_ISSUER": ISSUER, "OIDC_AUDIENCE": AUDIENCE})
    verifier = TokenVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=["ES256"],
        user_claim="sub",
        tenant_claim="tenant_id",
        keys=_OneKey(),
    )
    return make_subject_api(service, verifier, settings, Logger(), no_plans)
