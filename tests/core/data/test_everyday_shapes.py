"""Faults in shapes of data people have, and what looks like a fault there and is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.data.cleanliness import personal_kind
from core.data.files import open_data
from core.data.inspect import flagged, inspect_data

SAID = [
    f"The {thing} in the {place} was {done} by the people who had waited there since the {day}, and nobody asked for more."
    for thing in ("lantern", "kettle", "violin", "wagon", "mirror")
    for place in ("harbour", "market", "orchard")
    for done, day in (("repaired", "morning"), ("painted", "evening"), ("sold", "storm"))
]


def _flags(tmp_path: Path, rows: list[dict[str, Any]]) -> dict[str, set[int]]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    with open_data(path) as data:
        inspect_data(data)
        return flagged(data)


def _chat(text: str) -> dict[str, Any]:
    turns = [("system", "You are a careful assistant who answers in plain words and never invents sources."), ("user", text), ("assistant", "It was as you say, and that is all there is to tell.")]  # fmt: skip
    return {"messages": [{"role": r, "content": c} for r, c in turns]}


def test_under_a_system_prompt_a_question_may_be_missing_or_in_another_language(tmp_path: Path) -> None:
    rows = [_chat(text) for text in SAID]
    rows[7] = _chat(" ")
    rows[9] = _chat("Der Ausschuss hat beschlossen, dass die Bibliothek im Sommer nicht mehr für die Leser da ist.")
    found = _flags(tmp_path, rows)
    assert found["empty"] == {7}
    assert found["mixed_languages"] == {9}


def test_single_letters_of_code_and_formulas_are_no_polish(tmp_path: Path) -> None:
    rows = [{"question": text, "answer": f"yes {i}"} for i, text in enumerate(SAID)]
    rows[3]["question"] = "Write a cache via a temp file so readers never see a partial file in a folder."
    rows[4]["question"] = "Let w z i z w be points, do i map z o w: show z i w lie on a line."
    assert not _flags(tmp_path, rows).get("mixed_languages", set()) & {3, 4}


def test_what_code_writes_with_an_at_sign_is_no_address() -> None:
    for text in ("git clone git@github.com:ana/code.git", "npm i react@18.2.0-beta.rc lodash@4.17.21", "q@k.transpose(-2, -1)", "x@self.weight + b", "@pytest.fixture(scope='module')", "scp me@host.example.net:~/a b", "noreply@github.com"):  # fmt: skip
        assert personal_kind(text) is None, text
    for text in ("write to ana.b@posteo.org.", "<carl@kolabnow.com>", "mailto:x_y@web.de?s=1", "e: jo@uni-ulm.technology"):  # fmt: skip
        assert personal_kind(text) == "email", text


def test_a_word_problem_with_the_same_numbers_is_a_near_duplicate_and_with_others_a_sibling(tmp_path: Path) -> None:
    def problem(a: int, b: int, c: int) -> str:
        return f"Otto buys {a} stamps at the fair for {b} dollars each and sells {c} of them. How much money is left in stamps?"  # fmt: skip

    rows = [{"question": problem(i + 20, i * 7 % 31 + 2, i % 9 + 3), "answer": f"#### {i}"} for i in range(60)]
    rows[41] = {"question": rows[12]["question"].replace("buys", "gets").replace("each", "apiece"), "answer": "#### 5"}
    assert _flags(tmp_path, rows).get("near_duplicates", set()) == {41}
