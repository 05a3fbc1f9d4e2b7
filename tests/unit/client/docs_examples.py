"""The examples of the client's pages, and a service in memory for them, with a clock of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from erasure_client._http import AsyncHTTPCarrier, HTTPCarrier
from erasure_client.testing import FakeService
from tests.unit.translated_template import ROOT

HOST = "https://erasure.example.com"
STAGE = "/prod"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)
_SAYS = re.compile(r"  # -> (.+)$", re.MULTILINE)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rewrite(name: str, code: str, renewed: str) -> None:
    """Put another console block in the place of the only one that is ``code``."""
    path, fenced = ROOT / "docs" / name, "```console\n{}```\n"
    text = path.read_text(encoding="utf-8")
    assert text.count(fenced.format(code)) == 1
    path.write_text(text.replace(fenced.format(code), fenced.format(renewed)), encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second or third level, up to the next of its own or a higher one."""
    found = re.search(rf"^(##+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found is not None, f"no heading {heading}"
    below = text[found.end() :]
    after = re.search(rf"^#{{2,{len(found[1])}}} ", below, re.MULTILINE)
    return below[: after.start()] if after else below


@dataclass(frozen=True)
class Block:
    """``said``: the ``text`` block right below, None without one. ``line``: of the page, where the code begins."""

    heading: str
    language: str
    code: str
    said: str | None
    line: int


def blocks(text: str) -> Iterator[Block]:
    """All fenced blocks of a page, each with the heading that it stands under."""
    fences = list(_FENCE.finditer(text))
    headings = [
        found for found in _HEADING.finditer(text) if not any(f.start() < found.start() < f.end() for f in fences)
    ]
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        is_said = following is not None and following[1] == "text" and not text[fence.end() : following.start()].strip()
        heading = [found[1] for found in headings if found.start() < fence.start()][-1:] or [""]
        line = text[: fence.start(2)].count("\n") + 1
        yield Block(heading[0], fence[1], fence[2], following[2] if is_said and following else None, line)


def matcher(said: str) -> re.Pattern[str]:
    """What a shown text stands for: … is anything on the same line."""
    return re.compile(re.escape(said).replace("…", r"[^\n]*"))


class _Answers(ast.NodeTransformer):
    """Holds each expression with ``# -> value`` behind it against that value."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self.promised = 0

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        found = _SAYS.search(self._lines[(node.end_lineno or node.lineno) - 1])
        if found is None:
            return node
        self.promised += 1
        held = ast.parse(f"check_answer(0, {found[1]!r})").body[0]
        assert isinstance(held, ast.Expr)
        assert isinstance(held.value, ast.Call)
        held.value.args[0] = node.value
        return ast.fix_missing_locations(ast.copy_location(held, node))


def run_block(block: Block, names: dict[str, Any]) -> None:
    """Run an example: its marked expressions have the values that it says. Its own tests pass."""

    def check_answer(value: object, said: str) -> None:
        assert matcher(said).fullmatch(repr(value)), f"line {block.line}: {value!r} is not {said}"

    answers = _Answers(block.code)
    tree = answers.visit(ast.parse(block.code))
    assert answers.promised == len(_SAYS.findall(block.code)), (
        f"line {block.line}: a value is promised of no expression"
    )
    defined = set(names)
    names["check_answer"] = check_answer
    exec(compile(tree, f"line {block.line}", "exec"), names)  # noqa: S102
    for name in set(names) - defined:
        if name.startswith("test_"):
            names[name]()


class World:
    """A service in memory where the pages say that one is, which works while its callers pause, and a clock that only
    moves then. ``moves_time``: the service's clock follows it; otherwise that is the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, moves_time: bool = True) -> None:
        self._moves_time = moves_time
        self.service = FakeService("acme", "globex")
        self._seconds = 0.0
        monkeypatch.setattr(HTTPCarrier, "pause", lambda _, seconds: self.pause(seconds))
        monkeypatch.setattr(AsyncHTTPCarrier, "pause", self._pause)
        monkeypatch.setattr(HTTPCarrier, "now", lambda _: self._seconds)
        monkeypatch.setattr(AsyncHTTPCarrier, "now", lambda _: self._seconds)
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: self._answer(request))
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", self._answer_async)
        monkeypatch.setenv("ERASURE_URL", HOST + STAGE)
        monkeypatch.setenv("ERASURE_API_KEY", self.service.api_key)
        monkeypatch.delenv("ERASURE_TENANT", raising=False)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        return _dated(self.service.handle_request(_of_service(request)))

    async def _answer_async(self, request: httpx.Request) -> httpx.Response:
        return _dated(await self.service.handle_async_request(_of_service(request)))

    async def _pause(self, seconds: float) -> None:
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """Time passes; what is open gets one step further: begun, one thing gone, finished."""
        self._seconds += seconds
        if self._moves_time:
            self.service.advance(timedelta(seconds=seconds))
        for record in list(self.service._state.requests.values()):
            if record.state == "started" and (record.sent or not record.attention):
                self.service.finish(record.request_id)
            elif record.state == "requested" and not record.waits(self.service.now()):
                self.service.start(record.request_id)
                self.service.work(record.request_id, next(iter(record.working)), 1)


def _dated(response: httpx.Response) -> httpx.Response:
    """As every server on the way does."""
    response.headers["Date"] = formatdate(usegmt=True)
    return response


def _of_service(request: httpx.Request) -> httpx.Request:
    """The call below the stage, as the function behind the gateway sees it."""
    url = httpx.URL(scheme="https", host=request.url.host, raw_path=request.url.raw_path)
    path = request.url.raw_path.decode("ascii")
    assert f"https://{request.url.host}{path}".startswith(HOST + STAGE), "a call to somebody else"
    below = httpx.URL(url, raw_path=path.removeprefix(STAGE).encode("ascii"))
    return httpx.Request(request.method, below, headers=request.headers, stream=request.stream)
