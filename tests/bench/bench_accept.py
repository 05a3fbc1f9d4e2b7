"""Goal 3: what a call of the API costs by itself, without the AWS calls behind it.

Instructions are counted by valgrind's callgrind, as the difference between a run of N and one of 2N calls: start-up
and warm-up cancel out. The events are real ones with all their headers, the token is verified (once, then out of the
verifier's memory), the service behind is a constant. By itself: ``python -m tests.bench.bench_accept``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

GOAL = 3
CALLS = 40
WARM_UP = 5
MOST_INSTRUCTIONS = 175_000
MOST_OF_PUT_ITEM = 0.07
MODULE = "tests.bench.bench_accept"
ISSUER = "https://issuer.example"
ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events" / "subject_api"


def run(calls: int = CALLS) -> list[dict[str, Any]]:
    """Rows with ``goal``, ``what``, ``measured``, ``bound``, ``ratio`` and ``verdict`` (``pass`` or ``miss``)."""
    with tempfile.TemporaryDirectory() as folder:
        token_file = Path(folder) / "token.json"
        token_file.write_text(json.dumps(_token_and_key()))
        cost = {case: run_of(MODULE, case, calls, "--token", str(token_file)) for case in CASES}
    for case in ("confirm", "confirm_202", "request", "resolver"):
        cost[case] -= cost["parse"]
    return [
        row("instructions of a confirmation, answered 204", cost["confirm"], MOST_INSTRUCTIONS),
        row("instructions of a confirmation, answered 202", cost["confirm_202"], MOST_INSTRUCTIONS),
        row("instructions of a DELETE, answered 200", cost["request"], MOST_INSTRUCTIONS),
        row("confirmation against Powertools' resolver alone", cost["confirm"], cost["resolver"]),
        row("confirmation against 7 % of one PutItem", cost["confirm"], MOST_OF_PUT_ITEM * cost["put_item"]),
    ]


def row(what: str, measured: float, bound: float) -> dict[str, Any]:
    """A row of goal 3."""
    verdict = "pass" if measured <= bound else "miss"
    return {
        "goal": GOAL,
        "what": what,
        "measured": round(measured),
        "bound": round(bound),
        "ratio": round(measured / bound, 3),
        "verdict": verdict,
    }


def run_of(module: str, case: str, calls: int, *options: str) -> float:
    """Instructions of one call of ``case``, which ``module`` runs by ``--case`` and ``--calls``."""
    _child([], module, case, 1, options)  # compiles what is not compiled yet, which would else be part of one run only
    few, many = (_collected(module, case, count, options) for count in (calls, 2 * calls))
    return (many - few) / calls


def _collected(module: str, case: str, count: int, options: Sequence[str]) -> int:
    said = _child(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"], module, case, count, options)
    found = re.search(r"Collected : (\d+)", said)
    if found is None:
        raise RuntimeError(f"callgrind did not count: {said[-500:]}")
    return int(found[1])


def _child(wrapper: list[str], module: str, case: str, count: int, options: Sequence[str]) -> str:
    """Run a case in a process of its own; returns what it said on stderr."""
    command = [sys.executable, "-m", module, "--case", case, "--calls", str(count), *options]
    run = subprocess.run(
        [*wrapper, *command],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(ROOT / "layers" / "core" / "python"),
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"{case}: {run.stderr[-1000:]}")
    return run.stderr


def _token_and_key() -> dict[str, Any]:
    """One token and key for all runs: a key of their own would make each run cost something else."""
    from tests.client.token_issuer import make_token, public_jwk, rsa_key

    return {"token": make_token(ISSUER, rsa_key()), "jwk": public_jwk(rsa_key(), "rsa-0")}


# ---------------------------------------------------------------- what runs under valgrind


def _api_case(event_name: str, state: str) -> Callable[[str, dict[str, Any]], Callable[[], object]]:
    def prepare(token: str, jwk: dict[str, Any]) -> Callable[[], object]:
        from aws_lambda_powertools.logging import Logger

        from erasure.entry.api import Api
        from erasure.entry.h2o import H2OFamily
        from erasure.entry.signing_keys import IssuerKeys
        from erasure.entry.tokens import TokenVerifier
        from tests.client.memory_self_deletion import no_plans
        from tests.client.token_issuer import AUDIENCE

        verifier = TokenVerifier(
            issuer=ISSUER,
            audience=AUDIENCE,
            algorithms=("RS256", "ES256"),
            user_claim="sub",
            tenant_claim="tenant_id",
            keys=IssuerKeys(ISSUER, f"{ISSUER}/keys", fetch=lambda _address: json.dumps({"keys": [jwk]}).encode()),
        )
        family = H2OFamily(_Constant(state), 25, no_plans)
        api = Api([family], Logger(service="bench"), default=family, subjects=verifier)
        text = _event_text(event_name, token)
        # A new event each time, as in Lambda: its strings have no hashes yet. What parsing costs is taken off again.
        return lambda: api(json.loads(text), None)

    return prepare


def _resolver_case(token: str, _jwk: dict[str, Any]) -> Callable[[], object]:
    """Powertools' resolver as its documentation shows it, with two routes and a constant answer."""
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

    app = APIGatewayRestResolver()

    @app.post("/api/v1/users/current/confirm-delete")
    def confirm() -> Response[str]:
        return Response(204, headers={"X-Erasure-Request-Id": "er_01K7PC3T8F0000000000000000"})

    @app.delete("/api/v1/users/current")
    def request() -> dict[str, str]:
        return {"delete_id": "x"}

    text = _event_text("confirm_deletion_api_v1", token)
    return lambda: app.resolve(json.loads(text), None)  # type: ignore[arg-type]


def _parse_case(token: str, _jwk: dict[str, Any]) -> Callable[[], object]:
    text = _event_text("confirm_deletion_api_v1", token)
    return lambda: json.loads(text)


def _put_item_case(_token: str, _jwk: dict[str, Any]) -> Callable[[], object]:
    """One PutItem by botocore, its answer made up before it reaches the network."""
    import botocore.session
    from botocore.awsrequest import AWSResponse

    class Raw:
        """The body of the answer."""

        def stream(self, *_arguments: object, **_options: object) -> list[bytes]:
            return [b"{}"]

    session = botocore.session.get_session()
    session.set_credentials("test", "test")
    client: Any = session.create_client("dynamodb", region_name="us-east-1")
    headers: Any = {"x-amzn-requestid": "x", "content-length": "2"}
    client.meta.events.register("before-send.dynamodb.PutItem", lambda **_event: AWSResponse("", 200, headers, Raw()))
    item = {"pk": {"S": "0" * 64}, "subject_digest": {"S": "1" * 64}, "expires_at": {"N": "1760000000"}}
    return lambda: client.put_item(TableName="delete-ids", Item=item, ConditionExpression="attribute_not_exists(pk)")


class _Constant:
    """The service as a constant."""

    def __init__(self, state: str) -> None:
        from datetime import UTC, datetime

        from erasure.services.self_deletion import IssuedDeleteId, RequestView

        now = datetime(2026, 1, 31, tzinfo=UTC)
        self._issued = IssuedDeleteId("nCqv0tIhRpeTqN6N1dZ5m3b8w2y4x6z7A9B1C3D5E7F", now)
        self._view = RequestView("er_01K7PC3T8F0000000000000000", state, False, now, now, now, ())

    def issue_delete_id(self, *_arguments: object, **_options: object) -> Any:
        return self._issued

    def confirm(self, *_arguments: object, **_options: object) -> str:
        return self._view.request_id

    def wait(self, *_arguments: object) -> Any:
        return self._view

    def status(self, *_arguments: object) -> Any:
        return self._view


def _event_text(name: str, token: str) -> str:
    return (EVENTS / f"{name}.json").read_text().replace("TOKEN", token).replace("DELETE_ID", "n" * 43)


CASES: dict[str, Callable[[str, dict[str, Any]], Callable[[], object]]] = {
    "confirm": _api_case("confirm_deletion_api_v1", "finished"),
    "confirm_202": _api_case("confirm_deletion_api_v1", "started"),
    "request": _api_case("request_deletion_api_v1", "finished"),
    "resolver": _resolver_case,
    "parse": _parse_case,
    "put_item": _put_item_case,
}


def take(call: Callable[[], object], calls: int) -> None:
    """Make so many calls, after some that warm it up."""
    for _ in range(WARM_UP):
        call()
    # As on Lambda, where a function's start does so: else one collection of everything is part of one run only.
    gc.collect()
    gc.freeze()
    for _ in range(calls):
        call()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--token")
    options = parser.parse_args()
    if options.case:
        shared: dict[str, Any] = (
            json.loads(Path(options.token).read_text()) if options.token else {"token": "", "jwk": {}}
        )
        take(CASES[options.case](shared["token"], shared["jwk"]), options.calls)
    else:
        for row in run(options.calls):
            print(row)


if __name__ == "__main__":
    main()
