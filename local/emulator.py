"""The emulator: MiniStack in an environment of its own, one process for each port."""

from __future__ import annotations

import os

from local.daemons import Daemon
from local.stack import LOCAL, Place

EMULATOR_PYTHON = LOCAL / "emulator-venv" / "bin" / "python"
"""Also the Python that the functions run on."""


def emulator(place: Place) -> Daemon:
    """MiniStack for this port. Everything in it is gone when it stops.

    It starts with a clean environment, because the functions that it runs inherit what it has.
    """
    temporary = place.folder / "tmp"
    return Daemon(
        name="emulator",
        folder=place.folder,
        command=[str(EMULATOR_PYTHON), "-m", "ministack"],
        environment={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(place.folder),
            "LANG": "C.UTF-8",
            "GATEWAY_PORT": str(place.port),
            "BIND_HOST": "127.0.0.1",
            "AUTH": "true",
            "IOT_MTLS_ENABLED": "0",
            "TMPDIR": str(temporary),
            "STATE_DIR": str(place.folder / "state"),
            "S3_DATA_DIR": str(place.folder / "s3"),
        },
        ready_url=f"{place.endpoint}/_ministack/ready",
    )
