# pyright: basic
"""What draws the answers of a `sample` job: transformers, or on a GPU vLLM where it is installed and there is much to draw.

vLLM fills the place of an answer that has ended with the next question, keeps the cache in pages (2309.06180), and so draws
long answers many times faster; but it takes most of a minute to start. Both are given the same token ids and stop tokens and
leave the same `Generation`s.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from core.evaluation.generate import Generation, answer_of, generate, load, prompt_ids
from core.training.trust import Risk, loading

WORTH_STARTING = 2000
"""Forward passes of transformers, one a token and batch: some 30 ms each on a GPU, about the minute that vLLM takes to start."""
FREE_SHARE = 0.9
"""Of the GPU's free memory, for vLLM: its own default, which it takes of the whole GPU, as if nothing else ran there."""

_CANNOT_START = (ImportError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError)
"""What vLLM raises, by version, for memory that is taken, unknown architectures and a CUDA that does not match."""


class Engine(Protocol):
    """Draws answers with one model."""

    name: str
    tokenizer: Any
    generation_config: GenerationConfig
    """The model's own: what it declares as stop tokens."""

    def generate(
        self, rendered: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int, stop: Sequence[int]
    ) -> list[Generation]:
        """Answers to `rendered` prompts, in their order; `temperature` 0 is greedy."""
        ...


class Transformers:
    """Batches of at most `batch_size`."""

    name = "transformers"

    def __init__(self, model_path: str, device: str, batch_size: int, trust: tuple[Risk, ...] = ()) -> None:
        self.model, self.tokenizer = load(model_path, device, trust)
        self.generation_config = self.model.generation_config
        self.batch_size = batch_size

    def generate(self, rendered, *, max_new_tokens, temperature, seed, stop) -> list[Generation]:
        return generate(
            self.model, self.tokenizer, rendered, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed,
            batch_size=self.batch_size, stop=stop,
        )  # fmt: skip


class Vllm:
    """vLLM in this process. `context`: tokens of the longest question and answer; the cache is laid out for it."""

    name = "vllm"

    def __init__(self, model_path: str, context: int, memory_share: float, trust: tuple[Risk, ...] = ()) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # a process of its own would outlive a killed job
        from vllm import LLM  # pyright: ignore[reportMissingImports]

        flags = loading(model_path, trust)
        self.tokenizer = AutoTokenizer.from_pretrained(model_path, **flags)
        self.generation_config = own_generation_config(model_path, flags)
        own = AutoConfig.from_pretrained(model_path, **flags).get_text_config()
        self.context = min(context, int(getattr(own, "max_position_embeddings", 0) or context))
        self._llm = LLM(
            model=model_path, dtype="auto", max_model_len=self.context, gpu_memory_utilization=memory_share, **flags
        )

    def generate(self, rendered, *, max_new_tokens, temperature, seed, stop) -> list[Generation]:
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        ids = prompt_ids(self.tokenizer, rendered, self.context - max_new_tokens)
        # Stop tokens are named, and no other stops: the engine would add those that the model declares.
        how = [
            SamplingParams(
                max_tokens=max_new_tokens, temperature=temperature, top_p=1.0, seed=seed + i, stop_token_ids=list(stop),
                ignore_eos=True, detokenize=False,
            )
            for i in range(len(ids))
        ]  # fmt: skip
        drawn = self._llm.generate([{"prompt_token_ids": row} for row in ids], how, use_tqdm=False)
        return [self._answer(one.outputs[0], stop) for one in drawn]

    def _answer(self, drawn, stop: Sequence[int]) -> Generation:
        found = answer_of(self.tokenizer, list(drawn.token_ids), stop)
        return found._replace(ended=found.ended or drawn.finish_reason == "stop")


def own_generation_config(model_path: str, flags: dict[str, Any]) -> GenerationConfig:
    """generation_config.json, or what config.json says where there is none: as transformers does when it loads the model."""
    try:
        return GenerationConfig.from_pretrained(model_path)
    except OSError:
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(model_path, **flags))


def open_engine(
    model_path: str, device: str, batch_size: int, trust: tuple[Risk, ...], *, questions: int, context: int, tokens: int
) -> Engine:
    """The engine for `questions` answers of at most `tokens` tokens each; `context` as in `Vllm`.

    vLLM that cannot start (another program holds the memory, an architecture it does not know) is said on stderr, and
    transformers takes its place.
    """
    passes = -(-questions // batch_size) * tokens
    if device == "cuda" and passes > WORTH_STARTING and importlib.util.find_spec("vllm") is not None:
        free, total = torch.cuda.mem_get_info()
        try:
            return Vllm(model_path, context, FREE_SHARE * free / total, trust)
        except _CANNOT_START as error:
            print(
                f"vLLM cannot be used ({type(error).__name__}: {error}): transformers is", file=sys.stderr, flush=True
            )
    return Transformers(model_path, device, batch_size, trust)
