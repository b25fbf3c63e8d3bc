"""`taskcore completion bash|zsh|fish`: what a shell has to know to complete commands, options and phases."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from taskcore.cli.choosing import Parser
from taskcore.core import lifecycle

_OF_PHASES: Final = ("--phase", "--status")
"""Options that take a phase."""


class Option(NamedTuple):
    help: str
    takes: bool
    """Whether it takes a value, and which ones, if that is known."""
    values: tuple[str, ...]
    file: bool
    """Whether that is the name of a file."""


class Command(NamedTuple):
    name: str
    help: str
    options: dict[str, Option]
    words: dict[str, str]
    """Its own commands → what they do."""
    file: bool
    """Whether it takes the name of a file."""


def completion(argv: list[str], parser: Parser) -> int:
    """Print what the shell needs, made of the commands that the parser knows."""
    about = "Print what a shell has to know to complete commands; its head says how that is used."
    own = Parser(prog="taskcore completion", description=about)
    own.add_argument("shell", choices=list(SHELLS))
    print(SHELLS[own.parse_args(argv).shell](list(_commands(parser))))
    return 0


def _commands(parser: Parser) -> Iterator[Command]:
    for name, (help, its) in _below(parser).items():
        options = {}
        for action in its._actions:
            for flag in (text for text in action.option_strings if text.startswith("--")):
                values = lifecycle.PHASES if flag in _OF_PHASES else tuple(action.choices or ())
                options[flag] = Option(action.help or "", action.nargs != 0, values, _is_file(action))
        words = {word: help for word, (help, _) in _below(its).items()}
        file = any(not action.option_strings and _is_file(action) for action in its._actions)
        yield Command(name, help, options, words, file)


def _is_file(action: argparse.Action) -> bool:
    return str(action.metavar).startswith(("NEW", "PATH", "FILE"))


def _valued(commands: list[Command]) -> dict[str, str]:
    """Options whose values are known → these, of all commands; one is the same wherever it is."""
    its = (item for command in commands for item in command.options.items())
    return {flag: " ".join(option.values) for flag, option in its if option.values}


def _below(parser: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """The commands of a parser: what each does, and its own parser."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                found[choice.dest] = (choice.help or "", action.choices[choice.dest])
    return found


def _bash(commands: list[Command]) -> str:
    cases = [f'            *:{flag}:*) words="{values}" ;;' for flag, values in _valued(commands).items()]
    for command in commands:
        cases.append(f'            {command.name}:*:-*) words="{" ".join(command.options)}" ;;')
        if command.words:
            cases.append(f'            {command.name}:*) ((COMP_CWORD == 3)) && words="{" ".join(command.words)}" ;;')
    return f"""\
# taskcore in bash: `source <(taskcore completion bash)` in ~/.bashrc
_taskcore() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    [[ $cur == "=" ]] && cur=
    [[ $prev == "=" ]] && prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    if ((COMP_CWORD == 1)); then
        [[ $cur == -* ]] && words="--help --version"
        [[ $cur == co* && ! -e $cur ]] && words=completion
    elif [[ ${{COMP_WORDS[1]}} == completion ]]; then
        words="{" ".join(SHELLS)}"
    elif ((COMP_CWORD == 2)); then
        words="{" ".join(command.name for command in commands)}"
    else
        case ${{COMP_WORDS[2]}}:$prev:$cur in
{chr(10).join(cases)}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _taskcore taskcore"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _described(words: Mapping[str, str]) -> str:
    return " ".join(_quoted(f"{word}:{help}") for word, help in words.items())


def _zsh(commands: list[Command]) -> str:
    files = {flag for command in commands for flag, option in command.options.items() if option.file}
    cases = [f"            *:{flag}) compadd {values} ;;" for flag, values in _valued(commands).items()]
    cases += [f"            *:{flag}) _files ;;" for flag in sorted(files)]
    for command in commands:
        options = _described({flag: option.help for flag, option in command.options.items()})
        below = f"found=({_described(command.words)}); ((CURRENT == 4)) && _describe command found"
        other = below if command.words else "_files" if command.file else "true"
        cases.append(
            f"            {command.name}:*)\n"
            f"                if [[ $PREFIX == -* ]]; then found=({options}); _describe -o option found\n"
            f"                else {other}; fi ;;"
        )
    return f"""\
#compdef taskcore
# taskcore in zsh: save this as _taskcore in a folder of $fpath, or `source <(taskcore completion zsh)` after compinit
compdef _taskcore taskcore
_taskcore() {{
    local -a found
    if ((CURRENT == 2)); then
        _files
        [[ $PREFIX == co* ]] && compadd completion
    elif [[ $words[2] == completion ]]; then
        compadd {" ".join(SHELLS)}
    elif ((CURRENT == 3)); then
        found=({_described({command.name: command.help for command in commands})})
        _describe command found
    else
        case $words[3]:$words[CURRENT-1] in
{chr(10).join(cases)}
        esac
    fi
}}
[[ $funcstack[1] == _taskcore ]] && _taskcore"""


def _fish(commands: list[Command]) -> str:
    lines = [
        "# taskcore in fish: save this as ~/.config/fish/completions/taskcore.fish",
        "function __taskcore_at; test (count (commandline -opc)) -eq $argv[1]; end",
        'function __taskcore_says; set -l said (commandline -opc); test "$said[$argv[1]]" = $argv[2]; end',
        "complete -c taskcore -f",
        "complete -c taskcore -n '__taskcore_at 1' -F",
        "complete -c taskcore -n '__taskcore_at 1' -a completion -d 'what a shell has to know'",
        f"complete -c taskcore -n '__taskcore_says 2 completion; and __taskcore_at 2' -a '{' '.join(SHELLS)}'",
    ]
    for command in commands:
        at, said = "__taskcore_at 2; and not __taskcore_says 2 completion", f"__taskcore_says 3 {command.name}"
        lines.append(f"complete -c taskcore -n '{at}' -a {command.name} -d {_fish_quoted(command.help)}")
        for flag, option in command.options.items():
            values = f" -x -a '{' '.join(option.values)}'" if option.values else " -x" if option.takes else ""
            values = " -r -F" if option.file else values
            lines.append(f"complete -c taskcore -n '{said}' -l {flag[2:]}{values} -d {_fish_quoted(option.help)}")
        for word, help in command.words.items():
            lines.append(f"complete -c taskcore -n '{said}; and __taskcore_at 3' -a {word} -d {_fish_quoted(help)}")
        if command.file:
            lines.append(f"complete -c taskcore -n '{said}' -F")
    return "\n".join(lines)


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Final[dict[str, Callable[[list[Command]], str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
