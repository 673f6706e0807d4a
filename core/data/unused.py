"""What a file has and a training would not see, or not as meant: columns that belong to the question, files of another kind,
lists and objects in the place of text.

Nothing is guessed here. The columns are named, with what happens to them and how to ask for something else.
"""

from __future__ import annotations

from core.data.files import Data
from core.data.flags import build
from core.data.schema import Concern
from core.data.taking import OTHER_KIND

_BELONGS = {
    "choices": "the choices are not part of the prompt",
    "options": "the options are not part of the prompt",
    "history": "earlier turns are left out",
    "tools": "the tools' declarations are left out; calls are written as <tool_call> JSON",
    "functions": "the functions' declarations are left out",
    "image": "pictures are left out",
    "images": "pictures are left out",
    "audio": "sound is left out",
    "video": "films are left out",
}
_JUDGED = ("true", "false", "0", "1", "0.0", "1.0")


def columns(data: Data) -> Concern | None:
    """Columns without a part whose name says that rows are not whole without them."""
    r = data.roles
    used = {*r.prompt, r.answer, r.messages, r.chosen, r.rejected, r.text, r.system}
    said: list[str] = []
    lost = 0
    for column in data.columns:
        present = data.held.get(column.name, 0)
        name = column.name.strip().lower()
        if column.name in used or not present:
            continue
        if name in _BELONGS:
            said.append(f"'{column.name}': {_BELONGS[name]}")
        elif name == "label" and r.answer and set(data.values.get(column.name, ())) <= set(_JUDGED):
            said.append(f"'{column.name}': marks wanted and unwanted answers (KTO); all are taken alike")
        else:
            continue
        lost = max(lost, present)
    if not said:
        return None
    text = f"{{n}} rows ({{share}}) have more than is used: {'; '.join(said)}. Name the parts (roles) or write a script for it"
    return build("unused_columns", text, lost, data.rows)


def nested(data: Data) -> Concern | None:
    """Columns taken for questions or running text that hold lists or objects: their JSON would be trained on.

    An answer that its name says is one may be an object (a tool call).
    """
    taken = {*data.roles.prompt, data.roles.text, None if data.roles.sure else data.roles.answer}
    found = [c for c in data.columns if c.name in taken and c.type in ("list", "object") and data.held.get(c.name, 0)]
    if not found:
        return None
    listed = ", ".join(f"'{c.name}' ({c.type})" for c in found)
    text = (
        f"{{n}} rows ({{share}}) have a list or an object where text is expected: {listed}. Its JSON would be trained on: write one "
        "row for each record in it, with a column for the question and one for the answer"
    )
    return build("nested", text, max(data.held.get(c.name, 0) for c in found), data.rows)


def kinds(data: Data) -> Concern | None:
    """Files whose columns make another kind of rows than the first file's."""
    other = [f for f in data.files if any(OTHER_KIND in note for note in f.notes)]
    if not other:
        return None
    listed = ", ".join(sorted({note.rpartition(": ")[2] for f in other for note in f.notes if OTHER_KIND in note}))
    text = f"{{n}} rows ({{share}}) in {len(other)} files are {listed}, the others {data.roles.kind}. Prepare them one by one"
    return build("mixed_kinds", text, sum(f.rows for f in other), data.rows)
