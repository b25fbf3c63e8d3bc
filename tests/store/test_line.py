"""Who wants to write waits for one commit of the thread that turns, and not for the next as well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskcore.core import clock
from taskcore.store.connection import File
from taskcore.store.submit import Births
from taskcore.store.transaction import Transaction


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with closing(File(str(tmp_path / "a.db"), full=False, statuses={})) as file:
        yield file


def came(file: File, others: int) -> None:
    """Return when so many threads stand in line."""
    deadline = clock.monotonic() + 30
    while len(file.line.tickets) < others and clock.monotonic() < deadline:
        clock.pause(0.0001)


def two_turns(file: File) -> list[str]:
    """What was written in which order, where three came while the first turn was written."""
    order: list[str] = []
    others = [threading.Thread(target=file.write, args=(lambda tx: order.append("submit"),)) for _ in range(3)]

    def turn(tx: Transaction) -> None:
        for thread in others:
            thread.start()
        came(file, len(others))
        order.append("turn")

    file.write(turn)
    file.line.give_way()
    file.write(lambda tx: order.append("turn"))
    for thread in others:
        thread.join(30)
    return order


def test_those_who_came_while_a_turn_was_written_write_before_the_next_turn(file: File) -> None:
    for _ in range(50):
        assert two_turns(file) == ["turn", "submit", "submit", "submit", "turn"]


def a_turn_between_two_submits(file: File, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written in which order, where a turn came while the first submit was written."""
    order: list[str] = []
    inside = threading.Event()

    def turn(tx: Transaction) -> None:
        order.append("turn")
        inside.set()

    def come() -> None:
        file.line.come_first()
        file.write(turn)

    def submit(tx: Transaction) -> None:
        thread.start()
        came(file, 1)
        order.append("submit")

    thread = threading.Thread(target=come)
    file.write(submit)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "pause", lambda seconds: inside.wait(30))
        file.write(lambda tx: order.append("submit"))
    thread.join(30)
    return order


def test_a_turn_that_waits_for_the_file_comes_before_who_writes_again_and_again(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        assert a_turn_between_two_submits(file, monkeypatch) == ["submit", "turn", "submit"]


def test_nobody_is_left_in_the_line_by_whoever_has_written(file: File) -> None:
    file.write(lambda tx: file.write(lambda tx: None) if file.current else None)
    file.once("DELETE FROM taskcore_log WHERE task = ?", (1,))
    tx = file.enter()
    tx.births = Births(tx, 0.0)
    file.write(lambda inner: None)
    file.leave(True)
    assert tx.committed and not file.line.tickets


class Time:
    """A clock by which nothing passes but what is waited, and each look of a thread takes so many seconds."""

    def __init__(self, look: float) -> None:
        self.now, self.look, self.looks = 0.0, look, 0

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += max(seconds, self.look)
        self.looks += 1


@pytest.mark.parametrize("look", [0.0002, 0.005])
def test_who_was_taken_away_by_a_ctrl_c_is_waited_for_once_and_briefly(
    file: File, monkeypatch: pytest.MonkeyPatch, look: float
) -> None:
    time = Time(look)  # where many threads want the interpreter's lock, each look takes a while
    monkeypatch.setattr(clock, "pause", time.pause)
    monkeypatch.setattr(clock, "monotonic", time.monotonic)
    file.line.join()
    file.line.give_way()
    assert 0.1 <= time.now < 0.1 + 2 * look
    looks = time.looks
    file.line.give_way()
    assert time.looks == looks


def test_who_was_taken_away_is_waited_for_once_also_by_who_is_taken_away_meanwhile(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "pause", interrupted)
    file.line.join()
    with pytest.raises(KeyboardInterrupt):
        file.line.give_way()
    file.line.give_way()


def test_who_comes_again_meanwhile_is_not_let_in_twice(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = [file.line.join() for _ in range(4)]
    naps: list[float] = []

    def pause(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) > 10:
            raise AssertionError("those who came are waited for although each of them was let in")
        if tickets:
            file.line.leave(tickets.pop())
            file.line.join()  # the same thread, with what it writes next

    monkeypatch.setattr(clock, "pause", pause)
    file.line.give_way()
    assert len(naps) == 4
