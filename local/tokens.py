"""Tokens of the sample application's people, from the real flow: register, authorize, exchange the code."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx

from local.issuer import SUBJECTS_PATH
from local.stack import LocalError, Stack, load_stack

_REDIRECT_URI = "http://127.0.0.1/signed-in"


def token(
    subject: str, tenant: str, *, stack: Stack | None = None, audience: str | None = None, **claims: object
) -> str:
    """An id token (a JWT, RS256, one hour) whose ``sub`` is ``subject`` and whose ``tenant_id`` is ``tenant``.

    ``claims`` go into the token as they are and win over the issuer's own, so ``exp=1`` makes one that has
    expired and ``iss="…"`` one of a foreign issuer, both with a good signature.
    ``stack``: default the one of ``PORT``. ``audience``: default the stack's own.
    Raises :class:`LocalError` if the issuer does not play along.
    """
    stack = stack or load_stack()
    client_id = audience if audience is not None else stack["OIDC_AUDIENCE"]
    person = {"tenant_id": tenant, "email": "person@example.com", **claims}
    try:
        with httpx.Client(base_url=stack["OIDC_ISSUER"], timeout=20) as http:
            http.put(SUBJECTS_PATH, params={"sub": subject}, json=person).raise_for_status()
            code = _authorize(http, client_id, subject)
            answer = http.post(
                "/oauth2/token",
                data={"grant_type": "authorization_code", "code": code, "redirect_uri": _REDIRECT_URI},
                auth=httpx.BasicAuth(client_id, "unused"),
            )
            answer.raise_for_status()
            return str(answer.json()["id_token"])
    except httpx.HTTPError as error:
        raise LocalError(f"the token issuer did not answer as expected ({error}); is the stack up?") from error


def _authorize(http: httpx.Client, client_id: str, subject: str) -> str:
    """What a person does in the browser: say who they are, and be sent back with a code."""
    answer = http.post(
        "/oauth2/authorize",
        params={
            "client_id": client_id,
            "redirect_uri": _REDIRECT_URI,
            "response_type": "code",
            "scope": "openid email",
        },
        data={"sub": subject},
    )
    codes = parse_qs(urlsplit(answer.headers.get("location", "")).query).get("code")
    if not codes:
        raise LocalError(f"the token issuer gave no code (status {answer.status_code})")
    return str(codes[0])
