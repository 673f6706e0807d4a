"""Contamination: every exact or disguised copy, nearly every edited one, hardly a false alarm; nothing silly on short
prompts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from core.data.contamination import check_rows
from core.data.evaluation_text import evaluation_strings, unreadable
from tests.benchmarks.data_quality import TEMPLATED
from tests.core.data import templated
from tests.core.data.everyday import question
from tests.core.data.figures import Count, copies_found, salad, templated_copies, vocabulary
from tests.core.data.planted import HELD_OUT, disguise, edit_words, prose


def _rate(rows: list[str], texts: list[str]) -> float:
    result, _ = check_rows([(row, "an answer") for row in rows], texts)
    return result.contaminated / len(rows)


def test_copies_are_found_and_unrelated_text_is_not() -> None:
    exact = disguised = edited = inside = unrelated = 0.0
    for seed in HELD_OUT:
        r = random.Random(seed)
        texts = [prose(r) for _ in range(150)]
        background = [prose(r) for _ in range(300)]
        exact += _rate(texts, texts)
        disguised += _rate([disguise(r, t) for t in texts], texts)
        edited += _rate([edit_words(r, t, 0.1) for t in texts], texts)
        inside += _rate([f"{prose(r, (1, 1))} {t} {prose(r, (1, 1))}" for t in texts], texts)
        unrelated += _rate(background, texts)
    n = len(HELD_OUT)
    print(f"exact {exact / n:.1%}, case/space/punctuation {disguised / n:.1%}, 10 % of words edited {edited / n:.1%}, "
          f"inside a longer text {inside / n:.1%}, false alarms {unrelated / n:.2%}")  # fmt: skip
    assert exact == n
    assert disguised == n
    assert edited >= 0.95 * n
    assert inside >= 0.95 * n
    assert unrelated < 0.01 * n


@pytest.mark.parametrize("size", [8, 10, 14, 20, 30, 60])
def test_short_samples_with_a_tenth_of_their_words_replaced_are_found_however_many_leaked(size: int) -> None:
    def texts(r: random.Random) -> list[str]:
        words = vocabulary(r)
        return [salad(r, words, size) for _ in range(450)]

    count = copies_found(HELD_OUT[:2], lambda r, text: edit_words(r, text, 0.1), texts)
    assert count.found >= 0.95 * count.planted
    assert count.alarms < 0.01 * count.clean


def test_everyday_questions_resemble_each_other_and_are_no_copies() -> None:
    """Eight frames, a few dozen fillers: most questions have siblings that differ in one place."""

    def texts(r: random.Random) -> list[str]:
        return list(dict.fromkeys(question(r) for _ in range(450)))

    for change in (disguise, lambda r, text: edit_words(r, text, 0.1)):
        count = copies_found(HELD_OUT[:2], change, texts)
        assert count.found >= (1.0 if change is disguise else 0.95) * count.planted
        assert count.alarms < 0.01 * count.clean


TOPICS = ("tidal power", "night trains", "coral reefs", "jazz harmony", "rope bridges", "solar storms", "river deltas", "olive oil", "chess openings")  # fmt: skip


def _books(topic: str, who: str = "Anna") -> str:
    return f"Dear {who}, list three good books on {topic} that a beginner could read in one winter"


def _talk(topic: str) -> str:
    return f"My uncle gave a long talk about {topic} at the town hall"


def _settled(row: str, sample: str, *others: str) -> str:
    """The kind of match of a row among texts that show the pattern; empty for none."""
    pattern = [_books(t, who) for t in TOPICS for who in ("Bela", "Carl")] + [_talk(t) for t in TOPICS] + list(others)
    _, found = check_rows([(row, "x"), *((t, "x") for t in pattern)], [sample])
    return found[0].kind if 0 in found else ""


def test_a_filler_that_others_have_there_makes_a_sibling_and_a_word_that_nobody_has_there_a_copy() -> None:
    sample = _books("kite making", "Dora")
    for sibling in (_books("tidal power", "Dora"), _books("kite making", "Carl")):
        assert _settled(sibling, sample) in ("", "template", "ngram8")
    for copy in (sample.replace("three", "wagon"), sample.replace("kite", "wagon"), sample.replace("Dora", "wagon")):
        assert _settled(copy, sample) in ("edited", "idf5", "ngram13"), copy


def test_questions_of_a_few_frames_are_told_from_edited_copies_in_any_script() -> None:
    """Every training row is a sibling of every sample: only what is each one's own tells a leak."""
    ways = {way: change for way, change in TEMPLATED.items() if way != "exact"}
    pooled = dict.fromkeys(ways, Count())
    for name, kind in templated.KINDS.items():
        for way, change in ways.items():
            count = templated_copies(templated.HELD_OUT[:1], kind, change)
            pooled[way] = pooled[way].plus(count)
            assert count.found >= (1.0 if "case" in way else 0.85) * count.planted, (name, way)
            assert count.alarms < 0.02 * count.clean, (name, way)
    for count in pooled.values():
        assert count.found >= 0.95 * count.planted
        assert count.alarms < 0.01 * count.clean


def test_a_word_between_the_same_neighbours_in_other_sentences_proves_nothing() -> None:
    sample = "Return the header if the operand is negative and leave the buffer as it was before the call"
    copy = sample.replace("the header", "the anchor")
    others = [
        "Bring the anchor if you sail tomorrow",
        "Lift the anchor if rain falls",
        "Sell the anchor if nobody wants it",
    ]
    assert _settled(copy, sample, *others) in ("edited", "ngram13")


@pytest.mark.parametrize("place", [0, -1])
def test_a_word_replaced_at_an_end_of_the_sample_leaves_a_copy(place: int) -> None:
    words = _books("kite making").replace("Anna,", "Anna").split()
    words[place] = "wagon"
    for row in (" ".join(words), f"Now answer this. {' '.join(words)}. Think about it first."):
        assert _settled(row, _books("kite making")) in ("edited", "idf5", "ngram13"), row


def test_thirteen_words_that_a_sibling_shares_are_looked_at_and_no_leak() -> None:
    topics = [f"why so many of the old {kind} in our valley had to be given up" for kind in ("mills", "farms", "barns", "inns", "shops", "wells")]  # fmt: skip
    names = ("Anna", "Bela", "Carl", "Dora", "Egon", "Fred", "Gwen", "Hugo", "Ines")

    def asked(name: str, topic: str) -> str:
        return f"My cousin {name} asked me at dinner yesterday {topic}, what should I say?"

    rare = "how one learns to whistle two notes at once"
    others = [asked(name, topic) for name in names for topic in topics]
    sample, sibling = asked("Anna", rare), asked("Hugo", rare)
    result, found = check_rows([(sibling, "x"), *((text, "x") for text in others)], [sample])
    assert found[0].kind == "ngram8"
    assert (result.contaminated, result.alerts) == (0, 1)
    _, found = check_rows([(sibling.replace("Hugo", "wagon"), "x"), *((text, "x") for text in others)], [sample])
    assert found[0].kind == "ngram13"


def test_punctuation_inside_numbers_is_no_disguise() -> None:
    text = "What changed between version 7.96.12 of the manual and order 8158-26 of last May?"
    result, _ = check_rows([("".join(c for c in text if c.isalnum() or c == " "), "x")], [text])
    assert result.contaminated == 1


def test_sentences_of_one_pattern_are_alerts_however_alike() -> None:
    cities = ["Rome", "Oslo", "Lima", "Pune", "Cork", "Kiel", "Bern", "Nice", "Graz", "Faro"]
    meals = ["a late supper", "a quick breakfast", "the Sunday lunch", "our third picnic", "some birthday cake"]

    def order(city: str, meal: str, day: int) -> str:
        return f"Reserve {meal} for the whole team in {city} on day {day} of the rainy season"

    samples = [order(city, meal, 3) for city in cities[:5] for meal in meals]
    rows = [(order(city, meal, 3), "done") for city in cities[5:] for meal in meals]
    result, _ = check_rows([*rows, (samples[0], "done")], samples)
    assert result.contaminated == 1


def test_short_prompts_match_by_equality_alone() -> None:
    texts = ["12+7=", "12-7=", "3*(4+5)=", "reverse: stone", "What is the capital of France?"]
    same = ["12 + 7 =", "12+7 =?", "3 * (4 + 5) =", "Reverse:  Stone", "what is the capital of france"]
    other = ["12+8=", "127=", "12*7=", "3*4+5=", "reverse: stones", "What is the capital of Spain?", "12", "7"]
    result, found = check_rows([(t, "1") for t in same + other], texts)
    assert set(found) == set(range(len(same)))
    assert result.samples_hit == 4


def test_a_short_answer_is_no_leak_but_a_long_one_is() -> None:
    long = (
        "The owner kept the copper lantern because the storm had already broken both of the wooden bridges near "
        "the mill."
    )
    result, found = check_rows([("a question", "42"), ("another", long), ("third", "yes")], ["42", "yes", long])
    assert set(found) == {1}
    assert result.findings[0].part == "answer"
    assert result.findings[0].span.startswith("The owner kept")


def test_word_problems_with_other_numbers_are_other_questions() -> None:
    frame = (
        "A baker sells {} loaves in the morning and {} in the afternoon, how many loaves does the baker sell on "
        "that day?"
    )
    leaked, sibling = frame.format(17, 25), frame.format(31, 48)
    result, found = check_rows([(leaked, "42"), (sibling, "79")], [leaked])
    assert (result.contaminated, result.alerts) == (1, 1)
    assert (found[0].kind, found[1].kind) == ("exact", "ngram8")


def test_the_span_points_at_the_leak_in_the_row() -> None:
    leak = "Which of the seven lighthouses along the northern coast was the last one to be lit by burning whale oil?"
    row = f"Here is a riddle for you. {leak} Take your time."
    _, found = check_rows([(row, "x")], [leak])
    assert row[found[0].start : found[0].end] == leak.rstrip("?")


def test_sample_strings_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "Q one?", "answer": "7"}) + "\n")
    (tmp_path / "b.json").write_text(json.dumps({"data": [{"prompt": "Q two?", "answer": "no"}]}))
    (tmp_path / "c.csv").write_text("question,label\nQ three?,1\n")
    (tmp_path / "d.txt").write_text("Q four?\nQ five?\n")
    (tmp_path / "evaluate.py").write_text(
        '"""A docstring."""\nimport argparse\np = argparse.ArgumentParser()\np.add_argument("--limit", help="how '
        'many")\n'
        'SAMPLES = [("Q six?", "12"), {"prompt": "Q seven?"}]\n'
    )
    (tmp_path / "broken.py").write_text("def (:\n")
    found = evaluation_strings([tmp_path])
    assert {"Q one?", "Q two?", "Q three?", "Q four?", "Q five?", "Q six?", "Q seven?"} <= set(found)
    assert not {"7", "no", "1", "12", "A docstring.", "--limit", "how many"} & set(found)
    assert [Path(line.split(":")[0]).name for line in unreadable([tmp_path])] == ["broken.py"]
