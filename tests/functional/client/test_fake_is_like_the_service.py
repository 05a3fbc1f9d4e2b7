"""The fake that users of the client take in their tests answers as the service's own handlers do.

The same calls are sent to both, with the same things happening in between. Statuses, codes, headers and whole bodies
must be equal, texts and times too; only what is drawn by lot (ids, digests, keys) is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.functional.backend_world import OTHER_TENANT, TENANT
from tests.functional.client.calls_alike import HOLD, HOLDS, READS, REFUSALS, REQUESTS, One, for_users
from tests.functional.client.two_services import Both, Caller, Fake, Real


def prepare(caller: Caller) -> dict[str, str]:
    """A request in every state, one of another tenant, a hold and a suppression; ids by what they are."""
    side = caller.side
    for user_id in ("ann", "finn", "abe", "hana", "cleo"):
        side.put_user(user_id, 2)
    ids = {}

    def create(name: str, body: Mapping[str, Any], **more: Any) -> None:
        ids[name] = caller.send("POST", REQUESTS, body, **more)["requests"][0]["request"]["id"]

    create("finished", for_users("finn"))
    side.run()
    side.fail("memberships")
    create("attention", for_users("abe"))
    side.run()
    side.mend("memberships")
    caller.send("PUT", f"{HOLDS}/hana", HOLD)
    create("held", for_users("hana"))
    side.run()
    create("cancelled", for_users("cleo"))
    caller.send("POST", f"{REQUESTS}/{ids['cancelled']}/cancel")
    create("request", for_users("ann"))
    create("waiting", for_users("walt", not_before="2026-04-01T12:00:00Z"))
    create("theirs", for_users("ann"), key=side.make_key(OTHER_TENANT, ["erasure:write"]))
    side.suppress("sue")
    side.advance(timedelta(hours=1))
    assert len(ids) == 7
    return ids


@pytest.fixture(scope="module")
def prepared() -> Both:
    both = Both(Fake(), Real())
    both.ids = (prepare(both.callers[0]), prepare(both.callers[1]))
    return both


def case_id(case: One) -> str:
    body = "" if case.body is None else (case.body if isinstance(case.body, str) else json.dumps(case.body))
    return f"{case.method} {case.path} {body}{json.dumps(case.headers) if case.headers else ''}{case.key or ''}"[:90]


@pytest.mark.parametrize("case", [*READS, *REFUSALS], ids=case_id)
def test_one_call(prepared: Both, case: One) -> None:
    """A call by itself, good or bad, is answered alike."""
    for caller, ids in zip(prepared.callers, prepared.ids, strict=True):
        side = caller.side
        keys = {"platform": side.platform_key}
        if case.key in ("reader", "maker"):
            scopes = {"reader": ["erasure:read"], "maker": ["keys:write", "erasure:read"]}[case.key]
            keys[case.key] = side.make_key(TENANT, scopes)
        key = side.token(case.person) if case.person is not None else keys.get(case.key or "", case.key)
        caller.send(case.method, case.path.format(**ids), case.body, key=key, headers=case.headers)
    assert prepared.callers[0].seen[-1] == prepared.callers[1].seen[-1]


def test_refusals_are_refusals(prepared: Both) -> None:
    """What stands above as refused is: the table compares nothing by accident."""
    assert len({case_id(case) for case in REFUSALS}) >= 100
    test_one_call(prepared, One("GET", "/health"))
    for case in REFUSALS[::7]:
        test_one_call(prepared, case)
        assert prepared.callers[1].seen[-1].status >= 400, case_id(case)


def test_the_preparation_itself(prepared: Both) -> None:
    """Creating, holding and cancelling, with jobs between, look alike."""
    fake, real = (caller.seen[:10] for caller in prepared.callers)
    assert fake == real
