"""A description of an object, brought to a size that a brain is given whole: what was shortened is said, and how to see it.

`trl.GRPOConfig` has some 190 fields; with their help it is three times as long as the longest result a brain is shown,
and what it would miss are the last fields, in silence.
"""

from __future__ import annotations

from typing import Any

import msgspec

MOST = 22_000
"""Characters of the description as JSON."""
_SHORTEST_DOC = 500


def fitted(told: dict[str, Any], containing: str = "", most: int = MOST) -> dict[str, Any]:
    """The description within `most` characters. `containing` keeps fields whose name or help, and members whose name, has
    the word. Fields lose their help before any is left out; then the docstring is cut, with a mark."""
    made, word = dict(told), containing.strip().lower()
    if word:
        made["fields"] = [f for f in told.get("fields", ()) if word in f"{f['name']} {f['help']}".lower()]
        made["members"] = [m for m in told.get("members", ()) if word in m.lower()]
        made["only"] = f"fields and members with {containing!r}"
        made["doc"] = _cut(made["doc"], 2_000)
        made["signature"] = ""
    if _size(made) <= most:
        return made
    if made.get("fields"):
        made["signature"] = ""  # the fields say it again
        made["fields"] = [f"{f['name']}: {f['type']} = {f['default']}" for f in made["fields"]]
        one = told["fields"][0]["name"]
        made["shortened"] = f"one field with its help: {told['name']}.{one}; some of them: containing a word"
    if _size(made) > most and made.get("fields"):
        made["members"] = []
    made["doc"] = _cut(made["doc"], max(_SHORTEST_DOC, len(made["doc"]) - (_size(made) - most) - 200))
    for name in ("members", "fields", "signature"):  # an object of thousands of names: say how many are not here
        while _size(made) > most and len(made.get(name) or ()) > 20:
            kept = made[name][: len(made[name]) * 2 // 3]
            made[name], made["shortened"] = kept, f"{name}: the first {len(kept)} only; ask for some: containing a word"
    return made


def _cut(doc: str, most: int) -> str:
    return doc if len(doc) <= most else f"{doc[:most]} [cut: {len(doc) - most} more characters]"


def _size(made: dict[str, Any]) -> int:
    return len(msgspec.json.encode(made))
