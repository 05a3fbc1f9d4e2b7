"""The hands in which the service lies: two clients and the command line, with the same methods for scenarios.

What they act on comes from the environment variable ``ERASURE_SCENARIOS``, a JSON object::

    {
      "url": "https://…",
      "things": {"documents": 2, …},
      "hands": {"sync": {"api_key": "…", "people": {"watched": "usr_1", …}, "token": "…"}, "async": …, "command": …}
    }

``things``: how much of each of ``people`` there is, by target. Each of the hands has a tenant and people of its own, so
that they may be used at the same time. ``token``: of the person ``herself``, for hands that a person can have.
``command``, beside ``url``: how the command line is called; by default ``erasure``, from beside this Python.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest

from erasure_client import (
    ApiKey,
    AsyncErasureClient,
    AuditTrail,
    Batch,
    DataMap,
    Deletion,
    ErasureClient,
    ErasureClientError,
    ErasureRequest,
    Hold,
    Plan,
    SelfDeletion,
    SlaFigures,
    Subject,
    Suppression,
    UnfinishedError,
    User,
)

T = TypeVar("T")

VARIABLE = "ERASURE_SCENARIOS"
BACKEND, PERSON = "backend", "person"
HAVE: Mapping[str, frozenset[str]] = {
    "sync": frozenset({BACKEND, PERSON}),
    "async": frozenset({BACKEND, PERSON}),
    "command": frozenset({BACKEND}),
}
"""Whose side each of the hands has. Operators use the command line; nobody deletes themselves with it."""

PATIENCE = 150.0
"""Seconds for an erasure to end. It takes a few; the machine may be busy."""


@dataclass(frozen=True)
class World:
    """What one of the hands acts on."""

    url: str
    api_key: str
    people: Mapping[str, str]
    things: Mapping[str, int]
    token: str
    command: Sequence[str]

    @classmethod
    def of(cls, name: str) -> World:
        given = json.loads(os.environ[VARIABLE])
        own = given["hands"][name]
        command = given.get("command") or [str(Path(sys.executable).with_name("erasure"))]
        return cls(given["url"], own["api_key"], own["people"], given["things"], own.get("token", ""), command)

    def changed(self, api_key: str | None, url: str | None) -> World:
        return replace(self, api_key=api_key or self.api_key, url=url or self.url)


class Told(NamedTuple):
    """What a bulk tells of one id."""

    id: str | None
    status: str
    reason: str | None
    request_id: str | None


class Hands(Protocol):
    """What fails, fails in a way of the hands' own: see :meth:`refused`."""

    world: World

    def given(self, *, api_key: str | None = None, url: str | None = None) -> Hands:
        """The same with another ``api_key``, or at another ``url``."""

    def refused(self, kind: type[ErasureClientError], exit_code: int) -> Any:
        """A context in which the service must refuse, or not be reached: a client raises exactly ``kind``, a command
        ends with the exit code. What is said names nobody."""

    def request(
        self,
        *ids: str,
        subject_type: str = "user",
        not_before: datetime | None = None,
        plan_hash: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch: ...

    def wait(self, request_id: str, timeout: float = PATIENCE) -> Sequence[ErasureRequest]:
        """All that was seen on the way, the end last."""

    def get(self, request_id: str) -> ErasureRequest: ...
    def list(
        self, *, state: str | None = None, subject: str | None = None, limit: int = 25
    ) -> Sequence[ErasureRequest]: ...
    def cancel(self, request_id: str) -> ErasureRequest: ...
    def expedite(self, request_id: str) -> ErasureRequest: ...
    def audit(self, request_id: str) -> AuditTrail: ...
    def preview(self, user_id: str) -> Plan: ...
    def bulk(self, ids: Sequence[str], chunk: int) -> Sequence[Told]: ...
    def hold(self, user_id: str, reason: str, author: str) -> Hold: ...
    def held(self, user_id: str) -> Hold: ...
    def lift(self, user_id: str) -> None: ...
    def user(self, user_id: str) -> User: ...
    def delete_user(self, user_id: str) -> Deletion: ...
    def disable_user(self, user_id: str, delete_after_days: int) -> User: ...
    def enable_user(self, user_id: str) -> User: ...
    def suppressed(self, user_id: str) -> Suppression: ...
    def create_key(self, scopes: Sequence[str], name: str) -> ApiKey: ...
    def api_keys(self) -> Sequence[ApiKey]: ...
    def revoke_key(self, key_id: str) -> None: ...
    def data_map(self) -> DataMap: ...
    def sla(self) -> SlaFigures: ...


class PersonHands(Protocol):
    """Of one who deletes themselves."""

    world: World

    def refused(self, kind: type[ErasureClientError], exit_code: int) -> Any: ...
    def ask(self) -> str: ...
    def confirm(self, delete_id: str) -> SelfDeletion: ...
    def look(self, request_id: str) -> SelfDeletion: ...


class ClientHands:
    """Either client: :meth:`_done` and :meth:`_all` are what differs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._backend = self._client(api_key=world.api_key)
        self._person = self._client(token=world.token or "nobody")

    def _client(self, **options: Any) -> Any:
        raise NotImplementedError

    def _done(self, result: Any) -> Any:
        raise NotImplementedError

    def _all(self, results: Any) -> list[Any]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def given(self, *, api_key: str | None = None, url: str | None = None) -> ClientHands:
        return type(self)(self.world.changed(api_key, url))

    @contextmanager
    def refused(self, kind: type[ErasureClientError], exit_code: int) -> Iterator[None]:
        with pytest.raises(kind) as caught:
            yield
        assert type(caught.value) is kind, f"for a command it would be exit code {exit_code}"
        check_names_nobody(f"{caught.value!s} {caught.value!r}", self.world)

    def request(self, *ids: str, subject_type: str = "user", **options: Any) -> Batch:
        subjects = [Subject(subject_type, each) for each in ids]
        batch: Batch = self._done(self._backend.requests.create(subjects, **options))
        return batch

    def wait(self, request_id: str, timeout: float = PATIENCE) -> Sequence[ErasureRequest]:
        seen: list[ErasureRequest] = []
        end = self._done(self._backend.requests.wait(request_id, timeout=timeout, on_progress=seen.append))
        assert seen[-1].state == end.state
        return seen

    def get(self, request_id: str) -> ErasureRequest:
        return self._done(self._backend.requests.get(request_id))  # type: ignore[no-any-return]

    def list(
        self, *, state: str | None = None, subject: str | None = None, limit: int = 25
    ) -> Sequence[ErasureRequest]:
        return self._all(self._backend.requests.list(state=state, subject=subject, limit=limit))

    def cancel(self, request_id: str) -> ErasureRequest:
        return self._done(self._backend.requests.cancel(request_id))  # type: ignore[no-any-return]

    def expedite(self, request_id: str) -> ErasureRequest:
        return self._done(self._backend.requests.expedite(request_id))  # type: ignore[no-any-return]

    def audit(self, request_id: str) -> AuditTrail:
        return self._done(self._backend.requests.audit(request_id))  # type: ignore[no-any-return]

    def preview(self, user_id: str) -> Plan:
        (plan,) = self._done(self._backend.preview(user_id))
        return plan  # type: ignore[no-any-return]

    def bulk(self, ids: Sequence[str], chunk: int) -> Sequence[Told]:
        results = self._all(self._backend.bulk(ids, chunk_size=chunk))
        return [Told(each.subject.id, each.status, each.reason, each.request_id) for each in results]

    def hold(self, user_id: str, reason: str, author: str) -> Hold:
        return self._done(self._backend.holds.put(user_id, reason=reason, author=author))  # type: ignore[no-any-return]

    def held(self, user_id: str) -> Hold:
        return self._done(self._backend.holds.get(user_id))  # type: ignore[no-any-return]

    def lift(self, user_id: str) -> None:
        self._done(self._backend.holds.lift(user_id))

    def user(self, user_id: str) -> User:
        return self._done(self._backend.users.get(user_id))  # type: ignore[no-any-return]

    def delete_user(self, user_id: str) -> Deletion:
        return self._done(self._backend.users.delete(user_id))  # type: ignore[no-any-return]

    def disable_user(self, user_id: str, delete_after_days: int) -> User:
        options = {"revoke_sessions": True, "delete_after_days": delete_after_days}
        return self._done(self._backend.users.disable(user_id, **options))  # type: ignore[no-any-return]

    def enable_user(self, user_id: str) -> User:
        return self._done(self._backend.users.enable(user_id))  # type: ignore[no-any-return]

    def suppressed(self, user_id: str) -> Suppression:
        return self._done(self._backend.suppressions.get(user_id))  # type: ignore[no-any-return]

    def create_key(self, scopes: Sequence[str], name: str) -> ApiKey:
        return self._done(self._backend.api_keys.create(scopes, name=name))  # type: ignore[no-any-return]

    def api_keys(self) -> Sequence[ApiKey]:
        return self._done(self._backend.api_keys.list())  # type: ignore[no-any-return]

    def revoke_key(self, key_id: str) -> None:
        self._done(self._backend.api_keys.revoke(key_id))

    def data_map(self) -> DataMap:
        return self._done(self._backend.data_map.get())  # type: ignore[no-any-return]

    def sla(self) -> SlaFigures:
        return self._done(self._backend.sla())  # type: ignore[no-any-return]

    def ask(self) -> str:
        return self._done(self._person.request_current_user_deletion())  # type: ignore[no-any-return]

    def confirm(self, delete_id: str) -> SelfDeletion:
        return self._done(self._person.confirm_current_user_deletion(delete_id, PATIENCE))  # type: ignore[no-any-return]

    def look(self, request_id: str) -> SelfDeletion:
        return self._done(self._person.current_user_deletion(request_id))  # type: ignore[no-any-return]


class SyncHands(ClientHands):
    def _client(self, **options: Any) -> ErasureClient:
        return ErasureClient(self.world.url, **options)

    def _done(self, result: Any) -> Any:
        return result

    def _all(self, results: Any) -> list[Any]:
        return list(results)

    def close(self) -> None:
        self._backend.close()
        self._person.close()


class AsyncHands(ClientHands):
    def __init__(self, world: World) -> None:
        self._loop = asyncio.Runner()
        super().__init__(world)

    def _client(self, **options: Any) -> AsyncErasureClient:
        return AsyncErasureClient(self.world.url, **options)

    def _done(self, result: Any) -> Any:
        return self._loop.run(result)

    def _all(self, results: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [each async for each in results]

        return self._loop.run(collect())

    def close(self) -> None:
        self._done(self._backend.aclose())
        self._done(self._person.aclose())
        self._loop.close()


class CommandFailedError(Exception):
    """``document``: what it printed of it, on stderr; None: nothing."""

    def __init__(self, exit_code: int, document: Mapping[str, Any] | None) -> None:
        super().__init__(f"exit code {exit_code}: {document}")
        self.exit_code = exit_code
        self.document = document


class CommandHands:
    """The command line, as a process of its own for each command, with ``--json``."""

    def __init__(self, world: World) -> None:
        self.world = world

    def close(self) -> None:
        """Nothing is left of a command."""

    def given(self, *, api_key: str | None = None, url: str | None = None) -> CommandHands:
        return CommandHands(self.world.changed(api_key, url))

    def run(self, *arguments: str, fine: Iterable[int] = (0,)) -> list[Any]:
        """The JSON documents that the command prints. Raises :class:`CommandFailedError`, unless the exit code is
        ``fine``."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("ERASURE_")}
        variables |= {"ERASURE_URL": self.world.url, "ERASURE_API_KEY": self.world.api_key}
        with TemporaryDirectory() as folder:
            variables["ERASURE_CONFIG"] = str(Path(folder, "config.toml"))
            command = [*self.world.command, *arguments, "--json"]
            ran = subprocess.run(
                command,
                env=variables,
                cwd=folder,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        assert self.world.api_key not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        if ran.returncode not in fine:
            raise CommandFailedError(ran.returncode, json.loads(ran.stderr)["error"] if ran.stderr else None)
        assert not ran.stderr, "with --json, stderr is for errors"
        return documents(ran.stdout)

    def one(self, *arguments: str, fine: Iterable[int] = (0,)) -> Any:
        (document,) = self.run(*arguments, fine=fine)
        return document

    @contextmanager
    def refused(self, kind: type[ErasureClientError], exit_code: int) -> Iterator[None]:
        with pytest.raises(CommandFailedError) as caught:
            yield
        assert caught.value.exit_code == exit_code, caught.value
        document = caught.value.document
        if document is None:
            # How far it is was shown; that it is not finished is said by the code.
            assert issubclass(kind, UnfinishedError)
            return
        assert document["code"]
        assert document["message"]
        assert document["next"]
        check_names_nobody(json.dumps(document, ensure_ascii=False), self.world)

    def request(
        self,
        *ids: str,
        subject_type: str = "user",
        not_before: datetime | None = None,
        plan_hash: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        options = ["--yes", "--type", subject_type]
        options += [] if not_before is None else ["--not-before", not_before.isoformat()]
        options += [] if plan_hash is None else ["--plan-hash", plan_hash]
        options += [] if idempotency_key is None else ["--idempotency-key", idempotency_key]
        return Batch.of(self.one("request", *ids, *options, fine=(0, 3)))

    def wait(self, request_id: str, timeout: float = PATIENCE) -> Sequence[ErasureRequest]:
        seen = self.run("status", request_id, "--watch", "--timeout", str(timeout))
        return [ErasureRequest.of(each) for each in seen]

    def get(self, request_id: str) -> ErasureRequest:
        # 3: held, cancelled, or in need of attention, which is to be seen in the request as well.
        return ErasureRequest.of(self.one("status", request_id, fine=(0, 3)))

    def list(
        self, *, state: str | None = None, subject: str | None = None, limit: int = 25
    ) -> Sequence[ErasureRequest]:
        options = [] if state is None else ["--state", state]
        options += [] if subject is None else ["--subject", subject]
        found = self.one("list", "--limit", str(limit), *options)
        return [ErasureRequest.of(each) for each in found["requests"]]

    def cancel(self, request_id: str) -> ErasureRequest:
        return ErasureRequest.of(self.one("cancel", request_id))

    def expedite(self, request_id: str) -> ErasureRequest:
        return ErasureRequest.of(self.one("expedite", request_id, "--yes"))

    def audit(self, request_id: str) -> AuditTrail:
        return AuditTrail.of(self.one("audit", request_id))

    def preview(self, user_id: str) -> Plan:
        (plan,) = self.one("preview", user_id)["plans"]
        return Plan.of(plan)

    def bulk(self, ids: Sequence[str], chunk: int) -> Sequence[Told]:
        with TemporaryDirectory() as folder:
            people, results = Path(folder, "people.csv"), Path(folder, "results.jsonl")
            with people.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["user_id"], *[[each] for each in ids]])
            self.one("bulk", str(people), "--results", str(results), "--chunk", str(chunk), "--yes", fine=(0, 3))
            lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
        return [Told(line["id"], line["status"], line["reason"], line["request_id"]) for line in lines]

    def hold(self, user_id: str, reason: str, author: str) -> Hold:
        return Hold.of(self.one("hold", "put", user_id, "--reason", reason, "--author", author))

    def held(self, user_id: str) -> Hold:
        return Hold.of(self.one("hold", "show", user_id))

    def lift(self, user_id: str) -> None:
        self.run("hold", "lift", user_id, "--yes")

    def user(self, user_id: str) -> User:
        return User.of(self.one("users", "show", user_id))

    def delete_user(self, user_id: str) -> Deletion:
        return Deletion(user_id, self.one("users", "delete", user_id, "--yes")["request_id"])

    def disable_user(self, user_id: str, delete_after_days: int) -> User:
        options = ["--revoke-sessions", "--delete-after-days", str(delete_after_days), "--yes"]
        told = self.one("users", "disable", user_id, *options)
        return User.of(told, request_id=told["request_id"])

    def enable_user(self, user_id: str) -> User:
        return User.of(self.one("users", "enable", user_id))

    def suppressed(self, user_id: str) -> Suppression:
        return Suppression.of(self.one("suppress", "check", user_id))

    def create_key(self, scopes: Sequence[str], name: str) -> ApiKey:
        named = [option for scope in scopes for option in ("--scope", scope)]
        return ApiKey.of(self.one("keys", "create", *named, "--name", name))

    def api_keys(self) -> Sequence[ApiKey]:
        return [ApiKey.of(each) for each in self.one("keys", "list")["keys"]]

    def revoke_key(self, key_id: str) -> None:
        self.run("keys", "revoke", key_id, "--yes")

    def data_map(self) -> DataMap:
        return DataMap.of(self.one("data-map", "show"))

    def sla(self) -> SlaFigures:
        return SlaFigures.of(self.one("sla"))


KINDS: Mapping[str, type[ClientHands | CommandHands]] = {
    "sync": SyncHands,
    "async": AsyncHands,
    "command": CommandHands,
}


def documents(text: str) -> list[Any]:
    """JSON documents, one after the other."""
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].lstrip()
    return found


def check_names_nobody(text: str, world: World) -> None:
    assert not [name for name, user_id in world.people.items() if user_id in text]


def eventually(look: Callable[[], T], is_so: Callable[[T], bool], seconds: float = 30.0) -> T:
    """What ``look`` sees as soon as it is so: lists and figures follow with a short delay. Fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not is_so(found := look()):
        assert time.monotonic() < end, f"it is not so after {seconds} s"
        time.sleep(0.3)
    return found
