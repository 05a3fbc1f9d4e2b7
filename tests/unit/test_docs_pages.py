"""The pages that describe the API: open to everybody, whole in themselves, wherever the API is mounted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

from erasure.entry import openapi
from tests.functional.backend_calls import BackendApi, make_event
from tests.unit.openapi_document import check_answer
from tests.unit.test_build import build

PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Of what a function may answer, in bytes."""


def page() -> tuple[str, dict[str, list[str]]]:
    reply = BackendApi().handle(make_event("GET", "/docs", {}, None), None)
    assert reply["statusCode"] == 200
    return reply["body"], reply["multiValueHeaders"]


def test_document_is_served_as_it_is() -> None:
    """``GET /openapi.json`` needs no key and answers the committed file."""
    reply = BackendApi().handle(make_event("GET", "/openapi.json", {}, None), None)
    assert reply["body"] == openapi.DOCUMENT.read_text(encoding="utf-8")
    assert reply["multiValueHeaders"]["Content-Type"] == ["application/json"]
    check_answer(("GET", "/openapi.json"), reply)


class Parts(HTMLParser):
    """What a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the base class's
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            (self.scripts if self._within == "script" else self.styles).append(data)


def test_page_loads_nothing_from_elsewhere() -> None:
    """All that the page needs is in it: no address of another host is loaded by a tag or a style."""
    text, headers = page()
    parts = Parts()
    parts.feed(text)
    assert headers["Content-Type"] == ["text/html; charset=utf-8"]
    assert [link for link in parts.links if not link.startswith("data:")] == []
    assert len(parts.scripts) == 2
    (style,) = parts.styles
    assert "@import" not in style
    assert [url for url in re.findall(r"url\(\s*[\"']?([^\"')]*)", style) if not url.startswith("data:")] == []
    # A comment that a script leaves open would hide the end of the script from a browser.
    assert "<!--" not in re.sub(r"<!--.*?-->", "", parts.scripts[0], flags=re.DOTALL)
    check_answer(("GET", "/docs"), {"statusCode": 200, "body": text, "multiValueHeaders": headers})


def test_page_is_held_to_its_own_scripts() -> None:
    """The policy lets exactly the page's scripts run, and lets them talk to their own host only."""
    text, headers = page()
    parts = Parts()
    parts.feed(text)
    (policy,) = headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in parts.scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "http" not in policy
    assert "*" not in policy


def test_page_finds_the_document_beside_itself() -> None:
    """Below a stage, below a custom domain's base path and at the top, with a slash at the end or without."""
    text, _ = page()
    rewritten = re.search(r"pathname\.replace\(/(.+?)/, \"\"\) \+ \"(.+?)\"", text)
    assert rewritten is not None
    pattern, tail = rewritten.group(1).replace("\\/", "/"), rewritten.group(2)
    for base in ("", "/prod", "/erasure/docs"):
        for end in ("/docs", "/docs/"):
            assert re.sub(pattern, "", base + end, count=1) + tail == f"{base}/openapi.json"
    assert "validatorUrl: null" in text


def test_pages_fit_into_an_answer() -> None:
    """Page and document are smaller than what a function may answer."""
    text, _ = page()
    assert len(json.dumps(text)) < PAYLOAD_LIMIT
    assert len(json.dumps(openapi.DOCUMENT.read_text(encoding="utf-8"))) < PAYLOAD_LIMIT


def test_pages_need_no_pydantic() -> None:
    """Showing the document or the page loads neither pydantic nor what makes the document."""
    code = (
        "import sys\n"
        "from erasure.entry.docs_pages import DocsFamily\n"
        "for route in DocsFamily().routes():\n"
        "    assert len(route.handler(None).body) > 1000\n"
        "print(*sorted(name for name in sys.modules if name == 'pydantic' or 'entry.openapi' in name))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_layers_hold_what_the_pages_need(tmp_path: Path) -> None:
    """What the build removes from the dependencies are not the page's parts, and the core layer has the document."""
    package = tmp_path / "deps" / "aws_lambda_powertools"
    shutil.copytree(str(files("aws_lambda_powertools")), package, ignore=shutil.ignore_patterns("*.pyc"))
    build.remove_unused(tmp_path / "deps")
    assert len(list(package.rglob("swagger-ui*.min.*"))) == 2
    build.build_core(tmp_path / "core")
    assert (tmp_path / "core" / "python" / "erasure" / "openapi.json").read_bytes() == openapi.DOCUMENT.read_bytes()
