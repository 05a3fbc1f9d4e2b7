"""Places of their own for the tests of the local stack: a free port, and a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from local.emulator import emulator
from local.issuer import issuer
from local.stack import ISSUER_PORT_OFFSET, Place


@contextmanager
def free_place() -> Iterator[Place]:
    """A place at which nothing runs; whatever was started there is stopped in the end."""
    place = Place(_free_port())
    try:
        yield place
    finally:
        for daemon in (emulator(place), issuer(place)):
            daemon.stop()
        shutil.rmtree(place.folder, ignore_errors=True)


def _free_port() -> int:
    """A port that is free together with the one that the issuer would get."""
    for candidate in range(14_700, 14_900):
        if all(_is_free(port) for port in (candidate, candidate + ISSUER_PORT_OFFSET)):
            return candidate
    raise AssertionError("no free port")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
