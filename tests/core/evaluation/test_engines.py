"""Whoever draws the answers is given the same and leaves the same; memory bounds how many are drawn at once."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest
import torch

from core.errors import Refused
from core.evaluation import engines, generate
from core.evaluation.prompting import Decoding
from core.evaluation.sampler import SampleSpec, Variant, main, read_rows
from core.tasks import POCKET
from core.training.memory import cache_bytes

BASE = POCKET / "addition" / "base"
DEV = POCKET / "addition" / "evaluation_data" / "dev.jsonl"
PROMPTS = [f"<|user|>{row.prompt}<|end|><|assistant|>" for row in read_rows(str(DEV), 24)]


class _Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields of vllm.SamplingParams that we use, with its defaults."""

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    detokenize: bool = True


class _Engine:
    """vllm.LLM as far as it can be had without a GPU: its call, its results, its stopping rule, a real model underneath."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(
        self, model: str, *, dtype: str = "auto", max_model_len: int | None = None, gpu_memory_utilization: float = 0.9
    ) -> None:
        if gpu_memory_utilization < 0.05:
            raise ValueError("Free memory on device is less than desired GPU memory utilization")
        self.made.append({"max_model_len": max_model_len, "share": gpu_memory_utilization, "dtype": dtype})
        self.model, self.tokenizer = generate.load(model)
        self.room = max_model_len or 512

    def generate(self, prompts: list[dict[str, list[int]]], params: list[_Parameters], *, use_tqdm: bool) -> list[Any]:
        return [self._one(p["prompt_token_ids"], how) for p, how in zip(prompts, params, strict=True)]

    def _one(self, ids: list[int], how: _Parameters) -> Any:
        if len(ids) + how.max_tokens > self.room:
            raise ValueError(f"the prompt is longer than the maximum model length of {self.room}")
        stops = set(how.stop_token_ids) | (set() if how.ignore_eos else {self.tokenizer.eos_token_id})
        text = torch.tensor([ids])
        out: list[int] = []
        while len(out) < how.max_tokens and not (out and out[-1] in stops):
            with torch.inference_mode():
                nxt = int(self.model(input_ids=text).logits[0, -1].argmax())
            out.append(nxt)
            text = torch.cat([text, torch.tensor([[nxt]])], dim=1)
        reason = "stop" if out[-1] in stops else "length"
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(out), finish_reason=reason)])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[_Engine]:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = _Engine, _Parameters  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace(name="vllm")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(_Engine, "made", [])
    return _Engine


def test_both_engines_answer_the_same_whatever_ends_an_answer(vllm: type[_Engine]) -> None:
    ours = engines.Transformers(str(BASE), "cpu", 8)
    theirs = engines.Vllm(str(BASE), 64, 0.8)
    assert generate.declared_stop_ids(theirs, theirs.tokenizer) == generate.declared_stop_ids(ours, ours.tokenizer)
    two = ours.tokenizer.convert_tokens_to_ids("2")
    for stop in (generate.stop_ids(ours, ours.tokenizer), [two], []):
        how: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0.0, "seed": 0, "stop": stop}
        one, other = ours.generate(PROMPTS, **how), theirs.generate(PROMPTS, **how)
        assert sum(a != b for a, b in zip(one, other, strict=True)) <= 1  # padding may turn a tie
    assert {a.ended for a in one} == {False}
    assert {len(a.text) for a in one} != {0}


def test_vllm_gets_the_context_the_questions_need_and_long_ones_are_cut_on_the_left(vllm: type[_Engine]) -> None:
    engine = engines.Vllm(str(BASE), 30, 0.5)
    assert vllm.made == [{"max_model_len": 30, "share": 0.5, "dtype": "auto"}]
    long = "9" * 300 + PROMPTS[0]
    how: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0.0, "seed": 0, "stop": [4]}
    assert len(engine.generate([long], **how)) == 1
    assert engines.Vllm(str(BASE), 100_000, 0.5).context == 512  # the model's own limit


def test_a_job_uses_vllm_where_there_is_a_gpu_and_much_to_draw(
    vllm: type[_Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = [60, 80]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: tuple(free))
    monkeypatch.setattr(engines, "Transformers", lambda model, device, batch, trust: ("transformers", batch))
    how: dict[str, Any] = {"context": 64}

    def opened(device: str, questions: int, tokens: int) -> Any:
        return engines.open_engine(str(BASE), device, 256, (), questions=questions, tokens=tokens, **how)

    assert opened("cpu", 10_000, 4000) == ("transformers", 256)
    assert opened("cuda", 200, 512) == ("transformers", 256)
    assert opened("cuda", 2000, 4000).name == "vllm"
    assert vllm.made[-1]["share"] == pytest.approx(0.9 * 60 / 80)
    free[0] = 1  # another program holds the GPU
    assert opened("cuda", 2000, 4000) == ("transformers", 256)
    assert "Free memory on device" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModelForCausalLM": "own.Model"}}')
    (tmp_path / "own.py").write_text("")
    free[0] = 60
    with pytest.raises(Refused):  # a model's own code needs a person's yes with either
        engines.open_engine(str(tmp_path), "cuda", 256, (), questions=2000, tokens=4000, **how)


def test_the_context_of_a_job_holds_every_question_with_its_worked_examples(
    vllm: type[_Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        engines, "open_engine", lambda model, device, batch, trust, *, questions, context, tokens: engines.Vllm(model, context, 0.5)
    )  # fmt: skip
    variants = (
        Variant(name="greedy", decoding=Decoding(max_new_tokens=8)),
        Variant(name="shots", decoding=Decoding(max_new_tokens=8, shots=3)),
    )
    spec = SampleSpec(
        model=str(BASE), data=str(DEV), output_folder=str(tmp_path / "out"), limit=6, variants=variants,
        shots_from=str(POCKET / "addition" / "data" / "train.jsonl"),
    )  # fmt: skip
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))
    main(str(tmp_path / "spec.json"))
    result = msgspec.json.decode((tmp_path / "out" / "result.json").read_bytes())
    assert (result["engine"], result["n"], len(result["variants"])) == ("vllm", 6, 2)


def test_a_batch_is_no_larger_than_the_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = generate.load(str(BASE))
    each = 100 * cache_bytes(model.config.to_dict(), 4)
    assert each == 100 * 3 * 2 * 4 * 32 * 4  # three layers, four key-value heads of 32, float32
    monkeypatch.setattr(generate, "_free_bytes", lambda device: 20 * each)
    assert generate.affordable(model, 100) == 10
    assert generate.affordable(model, 10_000) == 1
    sizes: list[int] = []
    batch = generate._batch
    monkeypatch.setattr(generate, "_batch", lambda m, c, ids: sizes.append(len(ids)) or batch(m, c, ids))
    monkeypatch.setattr(generate, "_free_bytes", lambda device: 14 * each)
    answers = generate.generate(model, tokenizer, PROMPTS, max_new_tokens=84)
    assert (sum(sizes), len(answers)) == (24, 24)
    assert max(sizes) in (6, 7)


def test_a_batch_that_did_not_fit_is_drawn_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = generate.load(str(BASE))
    whole = generate.generate(model, tokenizer, PROMPTS, max_new_tokens=8)
    batch, room = generate._batch, [5]

    def tight(m: Any, c: Any, ids: list[list[int]]) -> list[list[int]]:
        if len(ids) > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch(m, c, ids)

    monkeypatch.setattr(generate, "_batch", tight)
    again = generate.generate(model, tokenizer, PROMPTS, max_new_tokens=8)
    assert sum(a != b for a, b in zip(whole, again, strict=True)) <= 1
    room[0] = 0
    with pytest.raises(torch.OutOfMemoryError):
        generate.generate(model, tokenizer, PROMPTS, max_new_tokens=8)
