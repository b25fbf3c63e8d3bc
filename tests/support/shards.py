"""Runs a long test session in one process more than there are processors, for some always wait, a file at a time each.

The processes fork off once all tests are collected, run what they are given, and hand the reports back, which are shown
as if the tests had run here. A short session or one with `--shards 1` runs as ever.
"""

import json
import os
import selectors
import socket
import sys
import traceback

import pytest

WORTH_IT = 200
"""Tests below which a session is not shared out."""
LONG = ("storms", "test_examples", "test_processes", "test_faults", "test_exit", "test_walks", "test_command")
"""What takes longest begins first."""


def pytest_addoption(parser):
    parser.addoption("--shards", type=int, default=(os.cpu_count() or 1) + 1, help="processes that share the tests")


class Shard:
    """One of the processes, as the first one sees it."""

    def __init__(self, session, files):
        self.socket, other = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self.socket.close()
            code = 1
            try:
                serve(session, files, other)
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        other.close()
        self.heard = b""

    def give(self, number):
        """The file with this number is to be run next; −1: there is none."""
        self.socket.sendall(f"{number}\n".encode())

    def ended(self):
        """It ends, or has. Its socket need not say so: what a test forked off, and left behind, may hold the other end.
        → False"""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if code:
            raise pytest.UsageError(f"a process that ran tests ended with {code}")
        return False


def serve(session, files, channel):
    """In one of the processes: run each file that is asked for, and tell how each test went."""
    capture = session.config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # its files are shared with the other processes
    capture.start_global_capturing()
    hook, orders = session.config.hook, channel.makefile("r", encoding="utf-8")

    def tell(what):
        channel.sendall(json.dumps(what).encode() + b"\n")

    class Teller:
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_logreport(self, report):
            tell(hook.pytest_report_to_serializable(config=session.config, report=report))
            return (yield)

    session.config.pluginmanager.unregister(session.config.pluginmanager.getplugin("terminalreporter"))
    session.config.pluginmanager.register(Teller())
    tell(None)
    for line in orders:
        if int(line) < 0:
            return
        items = files[int(line)]
        for item, following in zip(items, [*items[1:], None], strict=True):
            hook.pytest_runtest_protocol(item=item, nextitem=following)
        tell(None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    shards = session.config.getoption("--shards") or 1
    if session.config.option.collectonly or not hasattr(os, "fork") or shards < 2 or len(session.items) < WORTH_IT:
        return None
    by_file = {}
    for item in session.items:
        by_file.setdefault(item.path, []).append(item)
    files = list(by_file.values())
    order = sorted(range(len(files)), key=lambda n: not any(word in str(files[n][0].path) for word in LONG))
    running, selector = [Shard(session, files) for _ in range(shards)], selectors.DefaultSelector()
    for shard in running:
        selector.register(shard.socket, selectors.EVENT_READ, shard)
    try:
        while running:
            for key, _ in selector.select():
                if not hear(session, key.data, order):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    running.remove(key.data)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
    finally:
        selector.close()
        for shard in running:
            shard.socket.close()
            os.kill(shard.pid, 15)
            os.waitpid(shard.pid, 0)
    return True


def hear(session, shard, order):
    """Take what a shard says, line by line. → whether it goes on."""
    piece = shard.socket.recv(1 << 16)
    if not piece:
        return shard.ended()
    *lines, shard.heard = (shard.heard + piece).split(b"\n")
    hook = session.config.hook
    for line in lines:
        said = json.loads(line)
        if said is None:
            if not order:
                shard.give(-1)
                return shard.ended()
            shard.give(order.pop(0))
        else:
            report = hook.pytest_report_from_serializable(config=session.config, data=said)
            hook.pytest_runtest_logreport(report=report)
    return True
