"""One colour and one sign a phase, for everything that people look at.

The colours are apart for normal sight and for the three kinds of colour blindness: in OKLab, as each kind sees them,
any two are at least a tenth of the way from black to white apart. Each has a contrast of 3:1 or more against the
page, and so has the paper-coloured sign that is drawn on it. Still no colour stands alone: its sign is there too.
"""

from __future__ import annotations

from typing import Final

_LOOKS: Final = {
    "succeeded": ("✓", "#008862", "#20d77b"),
    "failed": ("✗", "#c94200", "#e67910"),
    "cancelled": ("⊘", "#2d2720", "#b06b57"),
    "skipped": ("»", "#5e535f", "#ccc7d2"),
    "running": ("►", "#0743ca", "#2881ff"),
    "suspended": ("◐", "#995ca9", "#bd9cb6"),
    "ready": ("○", "#3492ef", "#a6fefe"),
    "scheduled": ("◷", "#402c8c", "#99a2ff"),
    "waiting": ("◌", "#9091a5", "#7f819c"),
    "paused": ("‖", "#c28b00", "#f6f151"),
}
"""In the order in which a bar has them: what has ended first."""

COLOURS: Final = {phase: (light, dark) for phase, (_, light, dark) in _LOOKS.items()}
"""Phase → its colour on a light page, and on a dark one."""

SIGNS: Final = {phase: sign for phase, (sign, *_) in _LOOKS.items()}
"""Phase → one character, one column wide, that no platform draws as an emoji."""

PAGE: Final[dict[str, tuple[str, str]]] = {
    "paper": ("#ffffff", "#16191d"),
    "panel": ("#f4f5f7", "#20252b"),
    "line": ("#c5cad1", "#454d57"),
    "faint": ("#5c6570", "#a3adb8"),
    "ink": ("#1b1f24", "#e6e9ed"),
    "accent": ("#b0006d", "#ff8ad0"),
}
"""What is no phase: the page, what stands out from it, rules and edges, lesser text, text, and what is marked."""


def css(scope: str) -> str:
    """The colours as CSS variables, `--tc-failed` or `--tc-paper`, for what `scope` selects: light or dark as the
    reader has it, by the system or by the theme of the notebook that it is shown in."""
    light, dark = (
        "".join(f"--tc-{name}:{pair[which]};" for name, pair in (COLOURS | PAGE).items()) for which in (0, 1)
    )
    return (
        f"{scope}{{{light}}}"
        f"@media (prefers-color-scheme:dark){{{scope}{{{dark}}}}}"
        f"[data-jp-theme-light=true] {scope},.vscode-light {scope}{{{light}}}"
        f"[data-jp-theme-light=false] {scope},.vscode-dark {scope}{{{dark}}}"
    )
