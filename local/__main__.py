"""``python -m local COMMAND``: what the Makefile calls. Results go to stdout, everything else to stderr.

The port comes from ``PORT``, a token's person from ``SUBJECT`` and ``TENANT``, a key's tenant and what it may do from
``TENANT`` and ``SCOPES``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from local.stack import DEFAULT_PORT, LocalError, Place


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "command", choices=["up", "down", "reset", "token", "key", "seed", "seed-full", "demo", "screens", "data-map"]
    )
    parser.add_argument("file", nargs="?", default="", help="the data map, for data-map")
    options = parser.parse_args(arguments)
    try:
        place = Place(_port(os.environ.get("PORT") or str(DEFAULT_PORT)))
        if options.command == "demo":
            from local.demo import demo

            return demo(place)
        result = _run(options.command, place, options.file)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(result)
    return 0


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1024 <= int(text) <= 64_000:
        raise LocalError("PORT must be a number from 1024 to 64000")
    return int(text)


def _run(command: str, place: Place, file: str) -> object:
    """Run one command and return what it prints."""
    from local import deployment, full_seeding, seeding, tokens
    from local.stack import load_stack

    match command:
        case "up":
            deployment.up(place, _say)
            return place.env_file
        case "down":
            return "stopped" if deployment.down(place) else "nothing was running"
        case "reset":
            return _reset(place)
        case "token":
            usage = "say whose token: make token SUBJECT=… TENANT=…"
            return tokens.token(_variable("SUBJECT", usage), _variable("TENANT", usage), stack=load_stack(place.port))
        case "key":
            tenant = _variable("TENANT", "say whose key: make key TENANT=… (TENANT='*' for a platform key)")
            return deployment.make_key(load_stack(place.port), tenant, os.environ.get("SCOPES", ""))
        case "seed":
            return seeding.seed(deployment.up(place, _say))
        case "seed-full":
            return full_seeding.seed(deployment.up(place, _say))
        case "screens":
            from local.screens import make_screens

            return make_screens(place, _say)
        case _:
            if not file:
                raise LocalError("say which data map: make data-map FILE=…")
            return deployment.put_data_map(load_stack(place.port), Path(file).absolute())


def _reset(place: Place) -> object:
    """Empty state: nothing of the old stack is left, and a fresh one runs if one was running."""
    from local import deployment

    was_running = deployment.down(place)
    shutil.rmtree(place.folder, ignore_errors=True)
    if not was_running:
        return "nothing was running; its state is gone"
    deployment.up(place, _say)
    return place.env_file


def _variable(name: str, usage: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise LocalError(f"{usage} ({name} is empty)")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
