"""A user's own keys: `keys.toml` beside the runs replaces keys of `screens/keys.py` by the action's id.

[keys]
pause = "P"
"pane.zoom" = "f11"
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from core.errors import UsageError
from screens.keys import BY_ID


def load_keymap(path: Path) -> dict[str, str]:
    """Action id to Textual key names. Empty where there is no file. Raises UsageError for a file that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The key map cannot be read: {error}", where=str(path)) from error
    try:
        table = tomllib.loads(text).get("keys", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The key map is no TOML: {error}", where=str(path)) from error
    if not isinstance(table, dict):
        raise UsageError("`keys` must be a table", where=str(path), next='Write lines like pause = "P" under [keys]')
    for id, key in table.items():
        if id not in BY_ID:
            known = ", ".join(sorted(BY_ID))
            raise UsageError(f"No action is called {id!r}", where=str(path), next=f"Actions: {known}")
        if not isinstance(key, str) or not key:
            raise UsageError(f"The key of {id!r} must be a text", where=str(path))
    return dict(table)
