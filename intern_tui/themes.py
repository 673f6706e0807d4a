"""Colours: a calm dark theme (default), a light one, high contrast. ansi-dark and ansi-light use the terminal's own.

NO_COLOR means none at all: the terminal's own, and of those none is set; what is faint or chosen is dim or reversed.
"""

from __future__ import annotations

import os

from textual.theme import Theme

DARK = Theme(
    name="intern-dark",
    primary="#7aa2f7",
    secondary="#bb9af7",
    accent="#7dcfff",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    foreground="#c8d0e0",
    background="#11141a",
    surface="#181c25",
    panel="#1f2430",
    dark=True,
    variables={"pane-edge": "#3f4452"},
)
LIGHT = Theme(
    name="intern-light",
    primary="#2a5db0",
    secondary="#7a3e9d",
    accent="#0b6e8a",
    success="#2e7d32",
    warning="#9a5b00",
    error="#b3261e",
    foreground="#1d2330",
    background="#fafbfc",
    surface="#f0f2f5",
    panel="#e4e8ee",
    dark=False,
    variables={"pane-edge": "#b4bac6"},
)
CONTRAST = Theme(
    name="intern-contrast",
    primary="#00d7ff",
    secondary="#ff87ff",
    accent="#00ffff",
    success="#00ff5f",
    warning="#ffff00",
    error="#ff5f5f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    dark=True,
    text_alpha=1.0,
    variables={"pane-edge": "#8a8a8a"},
)
OURS = (DARK, LIGHT, CONTRAST)
NO_COLOURS = "ansi-dark"
"""The theme under NO_COLOR."""
DEFAULTS = {"pane-edge": "#808080"}
"""Colours of our own for themes that do not name them."""


def wanted() -> str:
    """INTERN_THEME, or dark; the sixteen colours where the terminal knows no more; none under NO_COLOR."""
    if "NO_COLOR" in os.environ:
        return NO_COLOURS
    named = os.environ.get("INTERN_THEME", "").strip()
    if named:
        return {"dark": DARK.name, "light": LIGHT.name, "contrast": CONTRAST.name, "ansi": "ansi-dark"}.get(
            named, named
        )
    return "ansi-dark" if os.environ.get("TERM") in ("linux", "vt100", "ansi") else DARK.name
