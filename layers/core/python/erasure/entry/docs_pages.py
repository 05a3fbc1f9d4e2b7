"""What describes the API, open to everybody.

=====================  ==========================================================================
``GET /openapi.json``  200, the committed document, as :mod:`erasure.entry.openapi` has made it
``GET /docs``          200, a page that shows it: Swagger UI, with all that it needs in itself
=====================  ==========================================================================
"""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler.api_gateway import Response

from erasure.entry.exchange import OPEN, Call, Refusal, Route, answer

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

# The stage, or the base path of a custom domain, stands before /docs: the document is looked for beside the page.
_START = """
SwaggerUIBundle({
  url: window.location.pathname.replace(/\\/docs\\/*$/, "") + "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  docExpansion: "list",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null
});
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Erasure service</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<div id="page"></div>
<script>{bundle}</script>
<script>{start}</script>
</body>
</html>
"""


class DocsFamily:
    """Each text is read once, when it is asked for first."""

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/openapi.json", OPEN, self.show_document),
            Route("GET", "/docs", OPEN, self.show_page),
        ]

    def show_document(self, _call: Call) -> Response[str]:
        return Response(200, body=self._document)

    def show_page(self, _call: Call) -> Response[str]:
        page, policy = self._page
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return Response(200, body=page, headers=headers)

    def refuse(self, call: Call, error: Exception, refusal: Refusal) -> Response[str]:  # noqa: ARG002 - the protocol's
        return answer(refusal.status, {"code": refusal.status, "message": refusal.message}, refusal.headers)

    @cached_property
    def _document(self) -> str:
        return (_files("erasure") / "openapi.json").read_text(encoding="utf-8")

    @cached_property
    def _page(self) -> tuple[str, str]:
        """The page and its content security policy."""
        # Not by the name of their package, which imports pydantic.
        assets = _files("aws_lambda_powertools") / "event_handler" / "openapi" / "swagger_ui"
        bundle = (assets / "swagger-ui-bundle.min.js").read_text(encoding="utf-8")
        css = (assets / "swagger-ui.min.css").read_text(encoding="utf-8")
        return _PAGE.format(css=css, bundle=bundle, start=_START), _policy(bundle, _START)


def _policy(*scripts: str) -> str:
    """Only these scripts run, and the page talks to nobody but the API that it came from."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join([f"'sha256-{digest}'" for digest in digests])
    # Swagger UI writes styles into its elements; they can load nothing either.
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _files(package: str) -> Traversable:
    from importlib.resources import files  # no other call needs it

    return files(package)
