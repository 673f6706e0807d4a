"""What the model is shown: the evaluation's prompt, byte for byte, the answer, and an end it can learn to write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import UsageError
from core.evaluation.prompting import Prompting, render
from core.training.examples import Row, encode_sft, read_rows
from tests.core.training.conftest import TEMPLATE, make_model, make_tokenizer

ROWS = [Row("1+2=", "3"), Row("10+2=", "12")]
CHAT, TEXT = Prompting(), Prompting(format="text")


def decoded(tokenizer, ids: list[int], labels: list[int]) -> tuple[str, str]:
    """(what carries no loss, what does)."""
    cut = sum(label == -100 for label in labels)
    assert ids[cut:] == labels[cut:]
    return tokenizer.decode(ids[:cut]), tokenizer.decode(ids[cut:])


def test_the_prompt_is_the_evaluations_and_only_answer_and_end_carry_loss() -> None:
    tokenizer = make_tokenizer()
    encoded = encode_sft(tokenizer, CHAT, ROWS, 64)
    for row, ids, labels in zip(ROWS, encoded.input_ids, encoded.labels, strict=True):
        assert decoded(tokenizer, ids, labels) == (render(tokenizer, CHAT, row.prompt), f"{row.answer}<end>")


def test_where_eos_is_not_the_end_of_turn_both_are_taught() -> None:
    tokenizer = make_tokenizer(eos="<eos>")
    encoded = encode_sft(tokenizer, CHAT, ROWS[:1], 64)
    assert decoded(tokenizer, encoded.input_ids[0], encoded.labels[0])[1] == "3<end><eos>"
    assert "<end> <eos>" in encoded.note


def test_a_template_without_an_end_token_is_taught_eos() -> None:
    tokenizer = make_tokenizer(eos="<eos>")
    tokenizer.chat_template = TEMPLATE.replace("<end>", "")
    encoded = encode_sft(tokenizer, CHAT, ROWS[:1], 64)
    assert decoded(tokenizer, encoded.input_ids[0], encoded.labels[0])[1] == "3<eos>"


def test_without_any_end_token_it_is_refused() -> None:
    tokenizer = make_tokenizer(eos=None)
    tokenizer.chat_template = TEMPLATE.replace("<end>", "")
    with pytest.raises(UsageError, match="end token"):
        encode_sft(tokenizer, CHAT, ROWS, 64)


def test_plain_text_is_prompt_answer_eos() -> None:
    tokenizer = make_tokenizer()
    encoded = encode_sft(tokenizer, TEXT, ROWS[:1], 64)
    assert decoded(tokenizer, encoded.input_ids[0], encoded.labels[0]) == ("1+2=", "3<end>")


def test_the_tasks_own_template_is_used(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    (tmp_path / "own.jinja").write_text(TEMPLATE.replace("<a>", "<a>=").replace("<u>", "<u>+"))
    prompting = Prompting(template_path=str(tmp_path / "own.jinja"))
    encoded = encode_sft(tokenizer, prompting, ROWS[:1], 64)
    assert decoded(tokenizer, encoded.input_ids[0], encoded.labels[0])[0] == "<u>+1+2=<a>="


def test_a_row_that_would_lose_its_end_is_left_out_and_counted() -> None:
    encoded = encode_sft(make_tokenizer(), CHAT, ROWS, 8)
    assert (len(encoded.input_ids), encoded.too_long) == (1, 1)
    with pytest.raises(UsageError, match="none of 2 rows fits"):
        encode_sft(make_tokenizer(), CHAT, ROWS, 3)


def test_a_damaged_row_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt":"a","answer":"b","more":1}\n\n{"prompt":"a"}\n')
    with pytest.raises(UsageError, match="line 3"):
        list(read_rows(tmp_path / "train.jsonl"))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_other_architectures_without_a_pad_token_train_too(tmp_path: Path, architecture: str) -> None:
    from core.training import sft
    from core.training.spec import TrainSpec, write_spec

    base = make_model(tmp_path / "base", make_tokenizer(pad=None), architecture)
    (tmp_path / "data").mkdir()
    rows = "".join(json.dumps({"id": str(i), "prompt": f"{i}=", "answer": str(i)}) + "\n" for i in range(40))
    (tmp_path / "data" / "train.jsonl").write_text(rows)
    (tmp_path / "data" / "dev.jsonl").write_text(rows)
    spec = TrainSpec(
        kind="sft", model=str(base), data=str(tmp_path / "data"), prompting=TEXT, max_steps=2, batch_size=8,
        eval_samples=8, max_completion_length=4, threads=1,
    )  # fmt: skip
    sft.main(str(write_spec(tmp_path / "job", spec)))
    saved = json.loads((tmp_path / "job" / "model" / "generation_config.json").read_text())
    assert saved["eos_token_id"] == 3
