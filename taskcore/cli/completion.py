"""`taskcore completion bash|zsh|fish`: how a shell asks this program, at each TAB, what may come next."""

from __future__ import annotations

import argparse
import glob
from importlib import resources
from typing import Final

from taskcore.cli.choosing import Parser
from taskcore.core import lifecycle

ASKED: Final = "--words"
"""A shell says this before the words of a command line, to hear what the last of them may become."""

SHELLS: Final = ("bash", "zsh", "fish")
"""For each there is a file of what it reads. Where nothing is proposed each of them looks for a file of the user's."""


def completion(argv: list[str], parser: Parser) -> int:
    """Print what the shell needs, or, asked by it, what may stand at the end of a line: a word and its help a line."""
    if argv[:1] == [ASKED]:
        for word, help in _proposed(parser, argv[1:] or [""]).items():
            print(f"{word}\t{help}".rstrip())
        return 0
    about = "Print what a shell has to know to complete commands; its head says how that is used."
    own = Parser(prog="taskcore completion", description=about)
    own.add_argument("shell", choices=SHELLS)
    shell = own.parse_args(argv).shell
    print(resources.files("taskcore.cli").joinpath("shells", f"completion.{shell}").read_text("utf-8").strip())
    return 0


def _proposed(parser: argparse.ArgumentParser, words: list[str]) -> dict[str, str]:
    """Word → its help, of those that may stand in place of the last word."""
    *before, word = [word for word in words[:-1] if word != "="] + [words[-1].removeprefix("=")]  # bash splits there
    option, equals, value = word.partition("=")
    if option.startswith("--") and equals:
        return {f"{option}={its}": help for its, help in _proposed(parser, [*before, option, value]).items()}
    if not before:
        known = {} if glob.glob(f"{glob.escape(word)}*") else {"completion": "what a shell has to know"}
    elif before[0] == "completion":
        known = dict.fromkeys(SHELLS, "")
    else:
        known, parser = _commands(parser, before[1:])
    action = parser._option_string_actions.get(before[-1]) if before else None
    if action is not None and action.nargs != 0:
        known = dict.fromkeys(lifecycle.PHASES if action.dest in ("phase", "status") else action.choices or (), "")
    elif word.startswith("-"):
        known = {flag: its.help or "" for flag, its in parser._option_string_actions.items() if flag.startswith("--")}
    return {its: help for its, help in known.items() if its.startswith(word)}


def _commands(parser: argparse.ArgumentParser, said: list[str]) -> tuple[dict[str, str], argparse.ArgumentParser]:
    """The commands that may follow what was said, and the parser of the last one that was."""
    found = next((each for each in parser._actions if isinstance(each, argparse._SubParsersAction)), None)
    if found is None:
        return {}, parser
    for place, word in enumerate(said):
        if word in found.choices:
            return _commands(found.choices[word], said[place + 1 :])
    return {each.dest: each.help or "" for each in found._choices_actions}, parser
