"""The command ``erasure``: erase people's data from a terminal, look how far it is, see to the service."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("click", "rich", "yaml")


def main() -> int:
    """Run the command line with the process's arguments. Does not return but by :class:`SystemExit`, unless the
    extra ``cli`` is not installed: then it says so and returns 2."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"error: the command line needs {', '.join(missing)}, which is not installed\n")
        sys.stderr.write("next: from a clone of the project, pip install './layers/client[cli]'\n")
        return 2
    from erasure_client.cli._app import app

    app.main(prog_name="erasure")
    return 0  # pragma: no cover
