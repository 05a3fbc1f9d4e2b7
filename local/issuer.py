"""The token issuer: a real OpenID Connect provider in a process of its own.

``python -m local.issuer PORT`` serves it. It is PyPI ``oidc-provider-mock`` with two additions: tokens name their
key (``kid``), as those of real providers do, and there is a ``PUT /subjects?sub=…``, since its own
``PUT /users/<sub>`` cannot take a ``/`` in a subject.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from local.daemons import Daemon
from local.stack import ROOT, Place

if TYPE_CHECKING:
    import flask
    import flask.typing

SUBJECTS_PATH = "/subjects"


def issuer(place: Place) -> Daemon:
    """The issuer of this port's stack. Its keys are new at each start."""
    return Daemon(
        name="issuer",
        folder=place.folder,
        command=[sys.executable, "-m", "local.issuer", str(place.issuer_port)],
        environment={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(place.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "AUTHLIB_INSECURE_TRANSPORT": "1",  # plain http, on the loopback interface only
            "TMPDIR": str(place.folder / "issuer-tmp"),
        },
        ready_url=f"{place.issuer}/.well-known/openid-configuration",
    )


def application() -> flask.Flask:
    """The provider with the two additions."""
    import flask
    import oidc_provider_mock
    from oidc_provider_mock import _app as provider

    jwt_config = provider.OpenIDCode.get_jwt_config

    def jwt_config_with_key_id(*arguments: Any, **options: Any) -> dict[str, Any]:
        config: dict[str, Any] = jwt_config(*arguments, **options)
        return {**config, "kid": provider.storage.jwk.thumbprint()}

    provider.OpenIDCode.get_jwt_config = jwt_config_with_key_id
    app: flask.Flask = oidc_provider_mock.app()
    set_user = cast(
        "Callable[..., flask.typing.ResponseReturnValue]", app.view_functions["oidc-provider-mock.set_user"]
    )

    def set_subject() -> flask.typing.ResponseReturnValue:
        return set_user(sub=flask.request.args["sub"])

    app.add_url_rule(SUBJECTS_PATH, view_func=set_subject, methods=["PUT"])
    return app


def serve(port: int) -> None:
    import uvicorn

    uvicorn.run(application(), interface="wsgi", host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
