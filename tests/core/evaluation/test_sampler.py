"""One process answers questions in several ways with a real model, and its records can be read back."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from core.errors import EvaluationError
from core.evaluation.benchmark import read_samples
from core.evaluation.prompting import Decoding, Prompting, render
from core.evaluation.sampler import SampleSpec, Variant, main, read_rows, with_shots
from core.tasks import POCKET

BASE = POCKET / "addition" / "base"
DEV = POCKET / "addition" / "evaluation_data" / "dev.jsonl"


def run(tmp_path: Path, **changes: object) -> dict[str, object]:
    spec = SampleSpec(model=str(BASE), data=str(DEV), output_folder=str(tmp_path / "out"), limit=40)
    path = tmp_path / "spec.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(spec, **changes)))
    main(str(path))
    return json.loads((tmp_path / "out" / "result.json").read_bytes())


def test_several_ways_of_asking_share_a_process(tmp_path: Path) -> None:
    greedy = Variant(name="greedy", decoding=Decoding(max_new_tokens=8))
    variants = (
        greedy,
        Variant(name="sampled", decoding=Decoding(max_new_tokens=8, temperature=1.0)),
        Variant(name="shots", decoding=Decoding(max_new_tokens=8, shots=2)),
        Variant(name="text", decoding=Decoding(max_new_tokens=8), prompting=Prompting(format="text")),
        Variant(name="short", decoding=Decoding(max_new_tokens=1)),
    )
    result = run(tmp_path, variants=variants, shots_from=str(POCKET / "addition" / "data" / "train.jsonl"))
    by_name = {o["name"]: o for o in result["variants"]}  # type: ignore[union-attr]
    assert list(by_name) == ["greedy", "sampled", "shots", "text", "short"]
    for outcome in by_name.values():
        samples = read_samples(Path(outcome["samples"]))
        assert len(samples) == outcome["n"] == 40
        assert sum(s.correct for s in samples) == outcome["correct"]
        assert all(s.correct == (s.completion.strip() == s.answer) for s in samples)
        assert outcome["interval"][0] <= outcome["score"] <= outcome["interval"][1]
    assert by_name["short"]["ended_share"] == 0
    assert by_name["greedy"]["ended_share"] > 0.9
    assert read_samples(tmp_path / "out" / "samples.jsonl") == read_samples(Path(by_name["greedy"]["samples"]))
    assert result["score"] == by_name["greedy"]["score"]


def test_equal_seeds_sample_equally_and_batches_do_not_change_greedy_answers(tmp_path: Path) -> None:
    sampled = Decoding(max_new_tokens=8, temperature=1.0)

    def texts(**changes: object) -> list[str]:
        run(tmp_path, **changes)
        return [s.completion for s in read_samples(tmp_path / "out" / "samples.jsonl")]

    assert texts(decoding=sampled, seed=3) == texts(decoding=sampled, seed=3)
    assert texts(decoding=sampled, seed=3) != texts(decoding=sampled, seed=4)
    greedy = Decoding(max_new_tokens=8)
    one, many = texts(decoding=greedy, batch_size=1), texts(decoding=greedy, batch_size=256)
    assert sum(a != b for a, b in zip(one, many, strict=True)) <= 1  # a tie may fall either way


def test_several_answers_a_prompt_follow_each_other(tmp_path: Path) -> None:
    result = run(tmp_path, decoding=Decoding(max_new_tokens=8, temperature=1.0), samples_per_prompt=4, limit=10)
    ids = [s.id for s in read_samples(tmp_path / "out" / "samples.jsonl")]
    assert ids == [i for i in ids[::4] for _ in range(4)]
    assert (result["n"], len(set(ids))) == (40, 10)
    assert result["solved_share"] >= result["score"]  # type: ignore[operator]


def test_worked_examples_are_never_the_questions_asked(tmp_path: Path) -> None:
    rows = read_rows(str(DEV), 30)
    chosen = with_shots(Variant(name="v", decoding=Decoding(shots=5)), rows[:10] + read_rows(str(DEV), 40), rows)
    assert len(chosen.shots) == 5
    assert not {p for p, _ in chosen.shots} & {r.prompt for r in rows}


def test_rows_without_an_answer_are_left_out_and_an_empty_file_is_an_error(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text('{"prompt": "p", "answer": "a"}\n{"prompt": "q", "answer": null}\n{broken\n')
    assert [r.prompt for r in read_rows(str(data), -1)] == ["p"]
    data.write_text("")
    with pytest.raises(EvaluationError, match="no row"):
        read_rows(str(data), -1)


def test_stop_tokens_come_from_the_model_the_tokenizer_and_the_end_of_turn() -> None:
    from core.evaluation.generate import declared_stop_ids, load, stop_ids, turn_end_id

    model, tokenizer = load(str(BASE))
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert declared_stop_ids(model, tokenizer) == [end]
    assert turn_end_id(tokenizer) == end
    other = "{% for m in messages %}{{ m['content'] }}<|user|>{% endfor %}"
    assert turn_end_id(tokenizer, other) == tokenizer.convert_tokens_to_ids("<|user|>")
    assert turn_end_id(tokenizer, "{% for m in messages %}{{ m['content'] }} bye{% endfor %}") is None
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = "<|user|>"
    assert stop_ids(model, tokenizer) == sorted({end, tokenizer.eos_token_id})


def test_a_template_without_a_system_role_gets_the_words_in_the_question() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(BASE))
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = strict + tokenizer.chat_template
    text = render(tokenizer, Prompting(system="Be brief."), "1+1=")
    assert text == "<|user|>Be brief.\n\n1+1=<|end|><|assistant|>"
    assert render(tokenizer, Prompting(format="text", shots=(("1", "2"),)), "3") == "1\n2\n\n3\n"
