"""The command `serve`: the web page, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from taskcore.api.engine import Engine
from taskcore.cli.choosing import Commands, whole
from taskcore.cli.showing import answer
from taskcore.core import clock


def add(commands: Commands) -> None:
    served = commands.add("serve", serve, "a web page of the file, for this machine alone, until Ctrl-C")
    port = whole(0, 65535)
    served.add_argument("--port", type=port, default=0, metavar="N", help="listen there, not at any free port")
    served.add_argument("--read-only", action="store_true", help="a page for looking: nothing can be changed")


def serve(engine: Engine, given: argparse.Namespace) -> int:
    page = engine.serve(given.port, given.read_only)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    try:
        with contextlib.suppress(KeyboardInterrupt):
            answer(given, {"url": page.url}, f"{page.url}\nopen this in a browser; Ctrl-C ends it")
            sys.stdout.flush()
            while True:
                clock.pause(3600.0)
    finally:
        signal.signal(signal.SIGTERM, before)
        page.close()
    return 0
