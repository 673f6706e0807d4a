"""Samples in other words are suspected, where a model for vectors of texts is here: nothing is refused, no sample is shown."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from core.data.inspect import inspect
from core.data.paraphrase import NAME
from core.data.schema import Concern
from core.errors import ToolError
from tests.core.data.everyday import question
from tests.core.data.rephrased import PAIRS

CONCEPTS = [
    "kidney|organ",
    "which|what",
    "body|person",
    "filters|cleans",
    "blood",
    "waste|refuse",
    "painted|decorated",
    "ceiling|roof",
    "chapel|church",
    "long|years",
    "train|railway",
    "leaves|departs",
    "station|platform",
    "arrives|comes",
    "morning|dawn",
    "apples|fruit",
    "sister|sibling",
    "gives|hands",
    "eats|devours",
    "planet|world",
    "moons|satellites",
    "most|maximal",
    "the",
    "of",
    "in",
    "a",
    "how",
    "many",
    "does",
    "has",
    "have",
    "and",
    "did",
    "is",
    "to",
    "80",
    "240",
    "12",
    "3",
]
MANY = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(300)]
"""Words for other things."""


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in which words for one thing lie close together."""
    folder = tmp_path / "static"
    folder.mkdir()
    vocabulary: dict[str, int] = {"[UNK]": 0}
    r = np.random.default_rng(0)
    rows = [np.zeros(64, np.float32)]
    for concept in [*CONCEPTS, *MANY]:
        centre = r.normal(size=64)
        for word in concept.split("|"):
            vocabulary[word] = len(vocabulary)
            rows.append((centre + 0.3 * r.normal(size=64)).astype(np.float32))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.stack(rows)
    header = json.dumps(
        {"embeddings": {"dtype": "F32", "shape": table.shape, "data_offsets": [0, table.nbytes]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + table.tobytes())
    monkeypatch.setenv("INTERN_EMBEDDER", str(folder))
    return folder


SAMPLES = [
    "which organ of the body filters the waste in the blood",
    "how long did the person painted the ceiling of the chapel",
    "the train leaves the station in the morning and does 240 of 80",
    "how many apples has the sister and 12 apples is eats 3",
]


OTHERS = [" ".join(random.Random(i).sample(MANY, 9)) for i in range(200)]
"""Texts about anything."""
FURTHER = [" ".join(random.Random(1000 + i).sample(MANY, 9)) for i in range(60)]
"""Samples about anything."""


def suspected(tmp_path: Path, prompts: list[str], samples: list[str] = SAMPLES) -> Concern | None:
    return _suspected(tmp_path, [*prompts, *OTHERS], [*samples, *FURTHER])


def _suspected(tmp_path: Path, prompts: list[str], samples: list[str]) -> Concern | None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": p, "answer": "x"}) + "\n" for p in prompts))
    return inspect(path, evaluation_texts=samples).concern(NAME)


def test_a_sample_in_other_words_is_suspected_and_its_own_words_are_shown(tmp_path: Path, embedder: Path) -> None:
    said = "what refuse does a person cleans in the blood, what organ"
    found = suspected(
        tmp_path, [said, "which planet has the most moons", "the railway departs a platform to dawn 240 80"]
    )
    assert found is not None
    assert (found.count, found.checked) == (2, 3 + len(OTHERS))
    assert said in found.examples[0].text
    assert not any(sample in example.text + example.note for example in found.examples for sample in SAMPLES)


def test_other_numbers_and_questions_about_something_else_are_none(tmp_path: Path, embedder: Path) -> None:
    assert suspected(tmp_path, ["the railway departs a platform to dawn and does 12 of 3", "which planet has the most moons"]) is None  # fmt: skip


def test_what_resembles_many_samples_alike_is_none_of_them(tmp_path: Path, embedder: Path) -> None:
    siblings = [
        f"which organ of the body filters the {word} in the blood" for word in ("waste", "apples", "moons", "train")
    ]
    assert (
        suspected(tmp_path, ["what organ of a person cleans the fruit and the satellites of blood"], siblings) is None
    )


def test_a_question_with_and_without_its_answer_is_one_sample(tmp_path: Path, embedder: Path) -> None:
    forms = [*SAMPLES, f"{SAMPLES[0]} the kidney"]
    found = suspected(tmp_path, ["what refuse does a person cleans in the blood, what organ"], forms)
    assert found is not None
    assert found.count == 1


def test_without_a_model_it_says_so_and_a_wrong_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERN_EMBEDDER", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    (tmp_path / "d.jsonl").write_text('{"prompt": "p", "answer": "a"}\n')
    told = inspect(tmp_path / "d.jsonl", evaluation_texts=SAMPLES).unchecked
    assert any("no embedding model is here" in what for what in told)
    monkeypatch.setenv("INTERN_EMBEDDER", "no/model")
    with pytest.raises(ToolError, match="not here"):
        inspect(tmp_path / "d.jsonl", evaluation_texts=SAMPLES)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("INTERN_EMBEDDER", str(tmp_path / "empty"))
    with pytest.raises(ToolError, match="no static embedding model"):
        inspect(tmp_path / "d.jsonl", evaluation_texts=SAMPLES)


@pytest.mark.skipif(not os.environ.get("INTERN_EMBEDDER"), reason="INTERN_EMBEDDER names no real embedding model")
def test_with_a_real_model_most_paraphrases_are_suspected_and_hardly_anything_else(tmp_path: Path) -> None:
    r = random.Random(1)
    others = list(dict.fromkeys(question(r) for _ in range(600)))
    samples = [sample for sample, _ in PAIRS] + others[:200]
    alarms = _suspected(tmp_path, others[200:], samples)
    both = _suspected(tmp_path, [*(said for _, said in PAIRS), *others[200:]], samples)
    print(f"suspected {both.count if both else 0} among {len(PAIRS)} paraphrases and {len(others) - 200} others, "
          f"of these alone {alarms.count if alarms else 0}")  # fmt: skip
    assert both is not None
    assert alarms is None or alarms.count < 0.01 * (len(others) - 200)
    assert both.count - (alarms.count if alarms else 0) >= 0.7 * len(PAIRS)
