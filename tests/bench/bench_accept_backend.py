"""Goal 3 for backends: what a call of each family costs by itself, without the AWS calls behind it.

As :mod:`tests.bench.bench_accept` counts it: instructions of a run of 2N calls less those of N, events with all their
headers, parsing taken off. *The API*: the key checked and counted, the body checked, the command made, the answer
written, with services that are constants. *All*: the real services and stores as well, above a DynamoDB and an SQS that
answer at once. By itself: ``python -m tests.bench.bench_accept_backend``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bench.bench_accept import MOST_INSTRUCTIONS, MOST_OF_PUT_ITEM, ROOT, row, run_of, take

CALLS = 20
SPEED_CALLS, SPEED_ROUNDS = 300, 5
EVENTS = ROOT / "events" / "backend_api"
SECRET = "s" * 43
KEY_ID = "k" * 16
KEY = f"sk_live_{KEY_ID}_{SECRET}"
REQUEST_ID = "er_01K7PC3T8F0000000000000000"
MODULE = "tests.bench.bench_accept_backend"

NAMES = {
    "june": "June's POST for a user",
    "native": "a native POST for one subject",
    "velt": "Velt's delete for two users",
    "delete": "HelloJohn's DELETE",
    "show": "HelloJohn's GET",
}


def run(calls: int = CALLS) -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict``."""
    cases = [(MODULE, case) for case in CASES] + [("tests.bench.bench_accept", "put_item")]
    with ThreadPoolExecutor(2) as pool:  # counts do not depend on what else runs
        counted = pool.map(lambda case: run_of(case[0], case[1], calls), cases)
        cost = dict(zip((case for _, case in cases), counted, strict=True))
    parsing, put_item = cost["parse"], cost["put_item"]
    validated = cost["validated"] - parsing
    rows = []
    for case, name in NAMES.items():
        alone = cost[case] - parsing
        rows.append(row(f"instructions of {name}, the API", alone, MOST_INSTRUCTIONS))
    june = cost["june"] - parsing
    return [
        *rows,
        row("June's POST, the API, against 7 % of one PutItem", june, MOST_OF_PUT_ITEM * put_item),
        row("June's POST, the API, against Powertools' resolver that validates, alone", june, validated),
        {
            **row(f"instructions of {NAMES['june']}, all but AWS calls", cost["june_all"] - parsing, put_item),
            "goal": "-",
            "verdict": "info",
        },
        *_speed(),
    ]


def _speed() -> list[dict[str, Any]]:
    """Requests a second of June's POST in this process, beside those of a resolver that validates and does nothing
    else. In turns, the best of each: the ratio is what counts, the machine may be busy."""
    calls = {case: CASES[case]() for case in ("june", "june_all", "validated")}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(SPEED_ROUNDS):
        for case, call in calls.items():
            began = time.perf_counter()
            for _ in range(SPEED_CALLS):
                call()
            best[case] = min(best[case], time.perf_counter() - began)
    per_second = {case: SPEED_CALLS / seconds for case, seconds in best.items()}
    return [
        {
            **row(f"requests a second of June's POST, {what}, against validation alone", ours, per_second["validated"]),
            "goal": "-",
            "verdict": "info",
        }
        for what, ours in (("the API", per_second["june"]), ("all but AWS calls", per_second["june_all"]))
    ]


# ---------------------------------------------------------------- what runs under valgrind


def _event_text(name: str) -> str:
    text = (EVENTS / f"{name}.json").read_text()
    return (
        text.replace("KEY_ID", KEY_ID)
        .replace("Bearer KEY", f"Bearer {KEY}")
        .replace("Basic KEY", f"Basic {KEY}")
        .replace('"KEY"', f'"{KEY}"')
    )


def _event_case(event_name: str, replacing: tuple[str, str] = ("", "")) -> Callable[[], Callable[[], object]]:
    def prepare() -> Callable[[], object]:
        handle, text = _constant_api(), _event_text(event_name)
        if replacing[0]:
            text = text.replace(*replacing)
        return _checked(handle, text)

    return prepare


def _checked(handle: Callable[[Any, Any], Any], text: str) -> Callable[[], object]:
    reply = handle(json.loads(text), None)
    if reply["statusCode"] >= 300:
        raise RuntimeError(f"not taken: {reply['statusCode']} {reply['body']}")
    # A new event each time, as in Lambda: its strings have no hashes yet. What parsing costs is taken off again.
    return lambda: handle(json.loads(text), None)


def _constant_api() -> Callable[[Any, Any], Any]:
    from datetime import UTC, datetime

    from aws_lambda_powertools.logging import Logger

    from erasure.domain.api_key import SCOPES, ApiKey, secret_digest
    from erasure.entry.backend_api import make_backend_api
    from erasure.entry.backend_auth import KeyVerifier
    from erasure.entry.holds import HoldsFamily
    from erasure.entry.retention import RetentionFamily
    from erasure.entry.sla import SlaFamily

    services: Any = _Services()
    key = ApiKey(
        KEY_ID, "live", secret_digest(SECRET), "acme", frozenset(SCOPES), "", datetime(2026, 1, 31, tzinfo=UTC)
    )
    keys: Any = _Keys(key)
    return make_backend_api(
        verifier=KeyVerifier(keys, keys, mode="live", calls_per_minute=600, now=lambda: datetime.now(UTC)),
        erasures=services,
        plans=lambda: services,
        accounts=services,
        keys=services,
        suppressions=services,
        data_maps=services,
        sla=SlaFamily(services, services),
        holds=HoldsFamily(services, services),
        retention=RetentionFamily(services, services, services),
        idempotency=services,
        digest_key=lambda: b"k",
        now=lambda: datetime.now(UTC),
        logger=Logger(service="bench"),
    )


class _Keys:
    """The stores of one key and of its calls, as constants."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def get(self, *_arguments: object) -> Any:
        return self._key

    def touch(self, *_arguments: object) -> None:
        pass

    def count(self, *_arguments: object) -> int:
        return 1


class _Services:
    """The services, as constants."""

    def __init__(self) -> None:
        from datetime import UTC, datetime

        from erasure.domain.request import ErasureRequest
        from erasure.domain.subject import Subject
        from erasure.services.accounts import Account
        from erasure.services.commands import ACCEPTED, Accepted, Disposition

        now, subject = datetime(2026, 1, 31, tzinfo=UTC), Subject("acme", "ann")
        request = ErasureRequest(REQUEST_ID, subject, "0" * 64, "native", now, now, now)
        self._accepted = Accepted("eb_01K7PC3T8F0000000000000000", (Disposition(subject, ACCEPTED, request),), 8)
        self._account = Account("ann", "active")

    def create(self, *_arguments: object) -> Any:
        return self._accepted

    def delete(self, *_arguments: object, **_options: object) -> str:
        return REQUEST_ID

    def show(self, *_arguments: object) -> Any:
        return self._account


def _all_case(event_name: str, replacing: tuple[str, str] = ("", "")) -> Callable[[], Callable[[], object]]:
    """The handler as on Lambda, its clients' answers made up before botocore does anything."""

    def prepare() -> Callable[[], object]:
        from erasure.adapters.aws import Clients
        from erasure.entry.wiring import BUILDERS

        tables = _Tables()
        environment = {
            **{f"{name}_TABLE": name for name in ("REQUESTS", "REGISTRY", "AUDIT")},
            **{f"{name}_QUEUE_URL": name for name in ("INTERACTIVE", "BATCH")},
            **{f"{name}_FUNCTION": name for name in ("ERASE_DYNAMODB", "ERASE_S3", "VERIFY_TARGET")},
            "DIGEST_KEY_SECRET_ARN": "arn",
        }
        clients = Clients(overrides={"dynamodb": tables, "sqs": tables, "secretsmanager": tables})
        text = _event_text(event_name)
        return _checked(
            BUILDERS["backend_api"](environment, clients), text.replace(*replacing) if replacing[0] else text
        )

    return prepare


class _Tables:
    """Clients that answer at once: a key, a data map of eight targets, and everything written."""

    def __init__(self) -> None:
        from datetime import UTC, datetime

        from erasure.adapters.attributes import to_item
        from erasure.adapters.key_store import _key_to_item
        from erasure.domain.api_key import SCOPES, ApiKey, secret_digest
        from erasure.domain.data_map import parse_data_map
        from tests.bench.moto_stack import EIGHT_TARGETS

        now = datetime(2026, 1, 31, tzinfo=UTC)
        targets = [json.loads(target.to_json()) for target in parse_data_map(EIGHT_TARGETS).targets]
        today = datetime.now(UTC).date().isoformat()
        key = ApiKey(KEY_ID, "live", secret_digest(SECRET), "acme", frozenset(SCOPES), "", now, last_used_on=today)
        self._items = {
            "DATA_MAP": to_item({"version": 1, "digest": "0" * 64, "targets": json.dumps(targets)}),
            f"KEY#{KEY_ID}": _key_to_item(key),
        }

    def get_item(self, **call: Any) -> dict[str, Any]:
        return {"Item": self._items[call["Key"]["pk"]["S"]]}

    def update_item(self, **_call: Any) -> dict[str, Any]:
        return {"Attributes": {"calls": {"N": "1"}}}

    def transact_write_items(self, **_call: Any) -> dict[str, Any]:
        return {}

    def send_message(self, **_call: Any) -> dict[str, Any]:
        return {}

    def get_secret_value(self, **_call: Any) -> dict[str, Any]:
        return {"SecretString": "k" * 32}


def _parse_case() -> Callable[[], object]:
    text = _event_text("user_deletion_request")
    return lambda: json.loads(text)


def _validated_case() -> Callable[[], object]:
    """Powertools' resolver that validates, as its documentation shows it: one route, the document's own models."""
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver

    from erasure.entry import openapi_models

    app = APIGatewayRestResolver(enable_validation=True)
    shown = dict.fromkeys(("requested_at", "due_at", "purged_by"), "2026-01-31T00:00:00.000Z")

    def create(body: Any) -> Any:
        return {"id": REQUEST_ID, "user_id": body.user_id, "state": "requested", **shown}

    create.__annotations__ = {"body": openapi_models.DeleteJuneUser, "return": openapi_models.UserDeletionRequest}
    app.post("/api/platform/data_management/user_deletion_request")(create)
    context: Any = None
    return _checked(lambda event, _context: app.resolve(event, context), _event_text("user_deletion_request"))


_ONE_SUBJECT = (', \\"scope\\": {\\"organization_ids\\": [\\"north\\"]}', "")

CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "june": _event_case("user_deletion_request"),
    "native": _event_case("create_erasure_requests", _ONE_SUBJECT),
    "velt": _event_case("delete_user_data"),
    "delete": _event_case("delete_user"),
    "show": _event_case("delete_user", ('"DELETE"', '"GET"')),
    "june_all": _all_case("user_deletion_request"),
    "validated": _validated_case,
    "parse": _parse_case,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args()
    if options.case:
        take(CASES[options.case](), options.calls)
    else:
        for told in run(options.calls):
            print(told)


if __name__ == "__main__":
    main()
