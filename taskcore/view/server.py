"""Listening on this machine alone: one thread that waits for connections, and one for each of them."""

from __future__ import annotations

import contextlib
import http.server
import logging
import os
import selectors
import socket
import threading
from typing import Any, Final

from taskcore.core.logger import tell

MOST: Final = 64
"""Connections at a time; further ones are closed."""


class Server(http.server.ThreadingHTTPServer):
    """Listens in a thread of its own; each connection has one more, none of which anybody waits for."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two servers have one port
    timeout = 0
    request_queue_size = 2 * MOST

    def __init__(self, page: Any, port: int, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.page = page
        self.ended = False
        self._room = threading.BoundedSemaphore(MOST)
        super().__init__(("127.0.0.1", port), handler)
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="taskcore-page", daemon=True)

    def server_bind(self) -> None:
        """Without asking the name service what this machine is called."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, int(self.allow_reuse_address))
        try:
            self.socket.bind(self.server_address)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: port {self.server_address[1]}") from None
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # there is no thread to be had
            self._closed()
            raise

    def end(self) -> None:
        self.ended = True
        with contextlib.suppress(OSError):
            self._waker.send(b"!")
        if threading.current_thread() is not self._thread:
            self._thread.join(0.2)  # so that the port is free when this returns; it takes no time

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self.ended:
                selector.select()
                if not self.ended:
                    self.handle_request()
        self._closed()

    def _closed(self) -> None:
        for each in (self.socket, self._wake, self._waker):
            each.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; nothing is written to anybody's terminal."""
        tell(logging.DEBUG, "a request to the page at port %d broke off", self.server_port, exc_info=True)
