"""What inspection and contamination find on planted data, on held-out seeds: a table by fault, with false alarms.

    python -m tests.benchmarks.data_quality

Targets: at least 95 % of each planted fault with under 5 % false alarms; contamination: every exact or disguised copy, 95 %
of copies with a tenth of their words replaced, under 1 % of unrelated texts.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.core.data import templated
from tests.core.data.everyday import question
from tests.core.data.figures import MAKERS, Count, copies_found, measure, salad, templated_copies, vocabulary
from tests.core.data.planted import HELD_OUT, disguise, edit_words, prose

TEXTS: dict[str, Callable[[random.Random], list[str]]] = {
    "stories, 45 to 100 words": lambda r: [prose(r) for _ in range(450)],
    "questions, 8 to 40 words": lambda r: list(dict.fromkeys(question(r) for _ in range(450))),
    "10 random words": lambda r: [salad(r, words, 10) for words in [vocabulary(r)] for _ in range(450)],
    "25 random words": lambda r: [salad(r, words, 25) for words in [vocabulary(r)] for _ in range(450)],
}
CHANGES: dict[str, Callable[[random.Random, str], str]] = {
    "exact": lambda _, text: text,
    "case, space, punctuation": disguise,
    "a tenth of the words": lambda r, text: edit_words(r, text, 0.1),
}
TEMPLATED: dict[str, templated.Change] = {
    "exact": lambda r, pieces, kind: templated.joined(pieces, kind),
    "case, space, punctuation": lambda r, pieces, kind: disguise(r, templated.joined(pieces, kind)),
    "a tenth of the words": lambda r, pieces, kind: templated.joined(templated.edit(r, pieces, kind), kind),
    "some left out or put in": lambda r, pieces, kind: templated.joined(templated.edit(r, pieces, kind, "mixed"), kind),
}


def main() -> None:
    print(f"{'inspection':10} {'fault':20} {'found':>16} {'false alarms':>18}")
    with tempfile.TemporaryDirectory() as folder:
        for name, maker in MAKERS.items():
            for fault, count in sorted(measure(maker, HELD_OUT, Path(folder)).items()):
                print(
                    f"{name:10} {fault:20} {_share(count.found, count.planted)} {_share(count.alarms, count.clean, 2)}"
                )
    print(f"\n{'contamination':25} {'copies':26} {'found':>16} {'false alarms':>18}")
    for text, make in TEXTS.items():
        for change, how in CHANGES.items():
            count: Count = copies_found(HELD_OUT, how, make)
            print(f"{text:25} {change:26} {_share(count.found, count.planted)} {_share(count.alarms, count.clean, 2)}")
    for name, kind in templated.KINDS.items():
        for change, how in TEMPLATED.items():
            count = templated_copies(templated.HELD_OUT, kind, how)
            print(
                f"{'templates, ' + name:25} {change:26} {_share(count.found, count.planted)} {_share(count.alarms, count.clean, 2)}"
            )


def _share(part: int, whole: int, digits: int = 1) -> str:
    return f"{part}/{whole} {part / whole:7.{digits}%}".rjust(17) if whole else "none planted".rjust(17)


if __name__ == "__main__":
    main()
