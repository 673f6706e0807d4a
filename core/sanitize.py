"""Foreign text made safe for a terminal: papers, logs, model answers, data sets, file names, error texts.

Text from outside may hold escape sequences that recolour, retitle, answer queries, move the cursor or write the
clipboard; bidirectional controls that show words in another order than they are read; and long runs of invisible or
combining characters. `clean` takes them out. It is applied once, where text is displayed or exported, never on the way
into the log: the log keeps what was said.

What stays: letters of every script, wide characters, combining marks (up to a sane number on one letter), emoji joined
by a zero-width joiner, and newlines and tabs where the caller asks for them. What goes leaves nothing behind, but a
control character in running text leaves U+FFFD so that a reader sees that something was there.
"""

from __future__ import annotations

import re

# A sequence that ends in ST or BEL (OSC, DCS, SOS, PM, APC), by ESC or by its C1 byte. Without an end it would swallow
# everything that follows, so an unterminated one is cut at the end of its line, like terminals that give up there.
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|(?=\n)|\Z)"
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
_ESCAPE = r"\x1b[ -/]*[0-~]?"
_SEQUENCES = re.compile(f"{_STRING}|{_CSI}|{_ESCAPE}")

# Bidirectional embeddings, overrides and isolates, the letter marks, deprecated format controls, the byte order mark,
# word joiner and other invisibles, tag characters, interlinear anchors, line and paragraph separators.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]+")
# A joiner counts only between two visible characters; variation selectors only once.
_JOINERS = re.compile("(?:(?<![\\w\u2190-\U0010ffff])[\u200c\u200d]+)|[\u200c\u200d]{2,}|[\u200c\u200d]+(?=\\s|$)")
_SELECTORS = re.compile("([\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
# Scripts stack a few marks on a letter (Vietnamese 2, Hebrew 3, Tibetan 4); towers are abuse.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
    "\ufe20-\ufe2f"
)
_TOWER = re.compile(f"([{_MARKS}]{{4}})[{_MARKS}]+")

_SUSPICIOUS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u065f\u115f\u1160\u17b4\u17b5\u180e\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u200b-\u200f\u2028-\u202e\u2060-\u206f\u20d0-\u20ff\u3164\ud800-\udfff\ufe00-\ufe2f\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_SPACES = re.compile(r"\s+")
REPLACEMENT = "\ufffd"


def clean(text: str, *, newlines: bool = False, tabs: bool = False) -> str:
    """`text` without anything a terminal would obey or hide.

    Args:
        newlines: keep line breaks (CR LF and a lone CR become LF); otherwise they become spaces.
        tabs: keep tabs; otherwise they become spaces.
    """
    if not _SUSPICIOUS.search(text):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b" in text or not text.isascii():
        text = _SEQUENCES.sub("", text)
        text = _INVISIBLE.sub("", text)
        text = _JOINERS.sub("", text)
        text = _SELECTORS.sub(r"\1", text)
        text = _TOWER.sub(r"\1", text)
    text = _CONTROLS.sub(REPLACEMENT, text)
    if not newlines:
        text = text.replace("\n", " ")
    if not tabs:
        text = text.replace("\t", " ")
    return text


def one_line(text: str) -> str:
    """`clean` on one line, runs of white space as one space."""
    return _SPACES.sub(" ", clean(text)).strip()


def escape_markup(text: str) -> str:
    """`clean`, with square brackets made literal for Textual's markup (where nothing else is special)."""
    return clean(text, newlines=True).replace("[", "\\[")
