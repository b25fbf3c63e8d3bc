"""The web page: a server on this machine alone, who may speak with it, and what is at which address.

Any page in the same browser, and any program of any user of this machine, can reach the port. So whoever asks for what
is in the file must show the token, in a header that no other page can set; and the Host and the Origin must be ours.
The token comes behind the `#` of the address, which browsers send to nobody, and leaves the address bar at once. It is
in no cookie: those go to every port of a machine, whoever listens there, and not to a page that another site's link
opens.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import logging
import os
import re
import secrets
import socket
import threading
import weakref
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from taskcore.api import importing
from taskcore.api.context import context_of
from taskcore.api.engine import Engine
from taskcore.core.clock import monotonic
from taskcore.core.errors import EngineClosed, TaskcoreError, TaskNotFound
from taskcore.core.logger import tell
from taskcore.core.text import printable
from taskcore.store import pages
from taskcore.store.busy import Trouble, said
from taskcore.view import colours
from taskcore.view.answers import ANSWERS, Ask, picture
from taskcore.view.live import Live
from taskcore.view.markup import asset
from taskcore.view.server import Server
from taskcore.view.verbs import VERBS

LARGEST: Final = 1 << 20
"""Bytes of a request's body."""
IDLE: Final = 10.0
"""Seconds that a connection may take for its whole request, and for taking each piece of the answer."""
BEAT: Final = 15.0
"""Seconds after which an open page hears that the server is still there."""
KEPT: Final = 32
"""Answers that are kept for other pages that ask the same before anything changed."""
FRESH: Final = 1.0
"""Seconds after which they are made anew even so: some say how long ago something was."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": POLICY,
}  # fmt: skip
PAGES: Final = frozenset({"", "tasks", "task", "jobs", "timeline", "graph", "schedules"})
"""The first part of the addresses that the one HTML page is at. Nothing of the file is in it."""
ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript"}


def serve(engine: Engine, port: int = 0, read_only: bool = False) -> Page:
    """Serve a page for this engine, until it or the page is closed. `OSError` if the port is taken."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise ValueError(f"port is a whole number from 0 to 65535, not {port!r}")
    context = context_of(engine)
    if context.asleep:
        importing.guard()
    page = Page(engine, port, bool(read_only) or context.file.read_only)
    context.pages.append(page)
    if context.closed:
        page.close()
        raise EngineClosed(engine.path)
    return page


class Page:
    """A page that is served. It does not keep its engine."""

    def __init__(self, engine: Engine, port: int, read_only: bool) -> None:
        self._engine = weakref.ref(engine)
        self._context = context_of(engine)
        self._process = os.getpid()
        self.read_only = read_only
        self.live = Live(self._context)
        self.token = secrets.token_urlsafe(24)
        self._state: object = None
        self._answers: dict[str, _Kept] = {}
        self._keeping = threading.Lock()  # over the answers that are kept, and of what state of the file they are
        self._server = Server(self, port, _Request)
        self.port = self._server.server_address[1]
        self._server.begin()

    @property
    def url(self) -> str:
        """Its address, with the token that opens it."""
        return f"http://127.0.0.1:{self.port}/#token={self.token}"

    def close(self) -> None:
        """Serve nothing more; returns at once."""
        with contextlib.suppress(ValueError):
            self._context.pages.remove(self)
        if os.getpid() != self._process:  # forked: what is open here is a copy
            self._server.socket.close()
            return
        self.live.close()
        self._server.end()

    def __repr__(self) -> str:
        state = " closed" if self.live.closed else " read-only" if self.read_only else ""
        return f"<Page http://127.0.0.1:{self.port}/{state}>"

    # -- what is asked of it, by threads of the server --------------------------------------------------------------

    def engine(self) -> Engine:
        """`EngineClosed` if there is none any more."""
        engine = self._engine()
        if engine is None or self.live.closed:
            raise EngineClosed("the file", "the engine of this page is gone")
        return engine

    def kept(self, address: str, make: Callable[[Ask], bytes]) -> bytes:
        """What is at an address: made once for all pages that ask before anything changed."""
        ask = Ask(self.engine(), parse_qs(urlsplit(address).query, max_num_fields=1000), self.read_only)
        state = self._context.look(pages.version), int(monotonic() / FRESH)
        with self._keeping:
            if self._state != state or len(self._answers) >= KEPT:
                self._state, self._answers = state, {}
            kept = self._answers.setdefault(address, _Kept())
        with kept.making:
            if kept.body is None:
                kept.body = make(ask)
            return kept.body


class _Kept:
    """An answer, once it is made."""

    def __init__(self) -> None:
        self.making = threading.Lock()  # who asks the same meanwhile waits, and does not make it too
        self.body: bytes | None = None


class _Brief(socket.SocketIO):
    """What a connection sends, all of it until a moment: one that sends a byte now and then would stay for days."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__(connection, "rb")
        self._own, self._until = connection, until

    def readinto(self, buffer: Any) -> int | None:
        self._own.settimeout(max(0.001, self._until - monotonic()))
        return super().readinto(buffer)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Request(http.server.BaseHTTPRequestHandler):
    """One request; the connection is closed behind it."""

    server: Server
    timeout = IDLE
    protocol_version = "HTTP/1.0"
    _hosts: ClassVar[tuple[str, ...]] = ("127.0.0.1", "localhost", "[::1]")

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Brief(self.connection, monotonic() + IDLE))

    def version_string(self) -> str:
        return "taskcore"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's, and addresses have names of tasks in them."""

    def do_GET(self) -> None:
        self._handle(self._get)

    def do_POST(self) -> None:
        self._handle(self._post)

    def _handle(self, work: Any) -> None:
        """Answer, or say in one sentence why not. What is no fault of the request is logged, and not told."""
        try:
            self._is_ours()
            work()
        except _Refused as refused:
            self._say(refused.status, str(refused))
        except TaskNotFound as error:
            self._say(HTTPStatus.NOT_FOUND, str(error))
        except EngineClosed as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except (TaskcoreError, ValueError, TypeError, OverflowError) as error:
            self._say(HTTPStatus.BAD_REQUEST, str(error))
        except Trouble as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"the file cannot be read or written now: {said(error)}")
        except OSError:
            self.close_connection = True  # the browser went away
        except Exception:
            text, address = "the page of port %s could not answer %s", printable(self.path, 200)
            tell(logging.ERROR, text, self.server.page.port, address, exc_info=True)
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong; the log of the program says what")

    # -- who may ask ------------------------------------------------------------------------------------------------

    def _is_ours(self) -> None:
        """`_Refused` for what another page, or another machine by way of a browser here, may have sent. Of the Host the
        name counts: another port is one that was forwarded to ours."""
        if not self.path.startswith("/"):
            raise _Refused(HTTPStatus.BAD_REQUEST, "this is no proxy")
        host = self.headers.get("Host", "").lower()
        if re.sub(r":\d+\Z", "", host) not in self._hosts:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this page is at 127.0.0.1 only")
        if self.headers.get("Origin", f"http://{host}").lower() != f"http://{host}":
            raise _Refused(HTTPStatus.FORBIDDEN, "this page answers no other pages")

    def _may_enter(self) -> None:
        if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise _Refused(HTTPStatus.FORBIDDEN, "this page answers no other pages")
        token = self.headers.get("X-Taskcore", "").encode("utf-8", "replace")
        if not secrets.compare_digest(token, self.server.page.token.encode()):
            text = "this page opens with its whole address, the one with the token in it; each start has a new one"
            raise _Refused(HTTPStatus.FORBIDDEN, text)

    # -- what is where ----------------------------------------------------------------------------------------------

    def _get(self) -> None:
        match urlsplit(self.path).path.split("/"):
            case ["", "assets", name] if name in ASSETS:
                self._send(_asset(name), ASSETS[name])
            case ["", name, *more] if name in PAGES and (not more or (name == "task" and len(more) == 1)):
                self._send(_asset("page.html"), "text/html")
            case ["", "live"]:
                self._may_enter()
                self._live()
            case ["", "data", name] if name in ANSWERS:
                self._may_enter()
                self._send(self.server.page.kept(self.path, lambda ask: _json(ANSWERS[name](ask))))
            case ["", ("graph.svg" | "timeline.svg") as name]:
                self._may_enter()
                kind = name.removesuffix(".svg")
                drawn = self.server.page.kept(self.path, lambda ask: picture(ask, kind).encode("utf-8", "replace"))
                self._send(drawn, "image/svg+xml")
            case _:
                raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _live(self) -> None:
        """Server-sent events, until the page is closed: `change` when anything changed, `end` at last."""
        live = self.server.page.live
        self._head(HTTPStatus.OK, "text/event-stream", None)
        with live.listening():
            turns = live.turns
            self.wfile.write(b"retry: 1000\n\n")
            while not live.closed:
                now = live.wait(turns, BEAT)
                self.wfile.write(b"event: change\ndata: %d\n\n" % now if now != turns else b": still here\n\n")
                turns = now
        self.wfile.write(b"event: end\ndata: 0\n\n")

    def _post(self) -> None:
        page = self.server.page
        self._may_enter()
        if "Origin" not in self.headers:
            raise _Refused(HTTPStatus.FORBIDDEN, "only the page itself may do that")
        if page.read_only:
            raise _Refused(HTTPStatus.FORBIDDEN, "this page only looks: it was started read-only")
        told, place = self._body(), urlsplit(self.path).path
        verb = VERBS.get(place.removeprefix("/do/")) if place.startswith("/do/") else None
        if verb is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        self._send(_json(verb(page.engine(), told)))

    def _body(self) -> dict[str, Any]:
        length, kind = self.headers.get("Content-Length", ""), self.headers.get_content_type()
        if kind != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "what is sent is application/json")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "how long the request is must be said")
        if len(length) > 9 or int(length) > LARGEST:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST:,} bytes are taken")
        try:
            told = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, "what was sent is no JSON") from None
        if not isinstance(told, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "what is sent is an object")
        return told

    # -- answering --------------------------------------------------------------------------------------------------

    def _head(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        self.connection.settimeout(IDLE)  # what the request left of it may be little
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes, kind: str = "application/json", status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _say(self, status: HTTPStatus, text: str) -> None:
        with contextlib.suppress(OSError):
            self._send(_json({"error": printable(text, 2000)}), status=status)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the server itself refuses: no request of HTTP, a method that there is not."""
        self._say(HTTPStatus(code), "this is no request that the page knows")


def _json(value: Any) -> bytes:
    """ASCII, and harmless even to a reader that takes it for HTML."""
    return json.dumps(value).replace("<", "\\u003c").encode("ascii")


def _asset(name: str) -> bytes:
    return f"{colours.css(':root')}\n{asset(name)}".encode() if name == "page.css" else asset(name).encode()
