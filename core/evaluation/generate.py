# pyright: basic
"""Drawing answers from a model with transformers; imported by job processes only (it needs torch).

Batches are sorted by length and padded on the left, so that a small model on a CPU does little but useful work, and are no
larger than the free memory can hold: 256 answers of 4,000 tokens of a 1.7 B model would need a cache of 120 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from core.training.memory import cache_bytes
from core.training.trust import Risk, loading

CACHE_SHARE = 0.5
"""Of the free memory, at most, for the key-value cache: `generate` copies parts of it as it grows, and logits come on top."""

_MARK = "Q7Z"
"""An answer that no chat template contains, to find out what a template writes after an answer."""


class Generation(NamedTuple):
    """One answer."""

    text: str
    """Without the stop token and what follows."""
    tokens: int
    """Generated tokens, the stop token included."""
    ended: bool
    """A stop token was produced before the limit."""


def load(model_path: str, device: str = "cpu", trust: tuple[Risk, ...] = ()):
    """(model, tokenizer) ready to generate. float32 on a CPU (bfloat16 is slow there), else the model's own type."""
    flags = loading(model_path, trust)
    tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left", **flags)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    dtype = torch.float32 if device == "cpu" else "auto"
    model: Any = AutoModelForCausalLM.from_pretrained(model_path, dtype=dtype, **flags)
    return model.to(device).eval(), tokenizer


def declared_stop_ids(model, tokenizer) -> list[int]:
    """What an evaluation stops at: the eos tokens of generation_config.json, or the tokenizer's without any."""
    declared = model.generation_config.eos_token_id
    if declared is None:
        declared = tokenizer.eos_token_id
    if declared is None:
        return []
    return sorted(declared) if isinstance(declared, (list, tuple)) else [int(declared)]


def turn_end_id(tokenizer, chat_template: str | None = None) -> int | None:
    """The special token a chat template writes right after an answer, found by rendering one; None without it."""
    template = chat_template or tokenizer.chat_template
    if not template:
        return None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, chat_template=template)
    after = text.rpartition(_MARK)[2].lstrip()
    ids = tokenizer(after, add_special_tokens=False).input_ids
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    return ids[0] if ids and ids[0] in special else None


def stop_ids(model, tokenizer, chat_template: str | None = None) -> list[int]:
    """Every token that ends an answer: generation_config, tokenizer, end of turn of the template."""
    found = {*declared_stop_ids(model, tokenizer), tokenizer.eos_token_id, turn_end_id(tokenizer, chat_template)}
    return sorted(i for i in found if i is not None)


@torch.inference_mode()
def generate(
    model,
    tokenizer,
    rendered: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 256,
    stop: Sequence[int] | None = None,
) -> list[Generation]:
    """Answers to `rendered` prompts (special tokens included), in their order. `temperature` 0 is greedy.

    `stop`: token ids that end an answer; by default all of `stop_ids`. A prompt that leaves no room in the context
    is cut on the left. At most `batch_size` at once, fewer where the memory does not hold as many.
    """
    stop = list(stop if stop is not None else stop_ids(model, tokenizer))
    ids = prompt_ids(tokenizer, rendered, _context(model) - max_new_tokens)
    size = min(batch_size, affordable(model, max(map(len, ids), default=0) + max_new_tokens))
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    config = _config(tokenizer, max_new_tokens, temperature, stop)
    torch.manual_seed(seed)
    answers: dict[int, Generation] = {}
    with _own_config(model, config):
        while len(answers) < len(order):
            chunk = order[len(answers) : len(answers) + size]
            rows = _batch_or_none(model, config, [ids[i] for i in chunk])
            if rows is None:  # the estimate was wrong, or another program has grown
                size = len(chunk) // 2
                torch.cuda.empty_cache()
                continue
            answers |= {i: answer_of(tokenizer, row, stop) for i, row in zip(chunk, rows, strict=True)}
    return [answers[i] for i in range(len(ids))]


def prompt_ids(tokenizer, rendered: Sequence[str], room: int) -> list[list[int]]:
    """Token ids of rendered prompts, each cut on the left to `room` tokens."""
    return [tokenizer(text, add_special_tokens=False).input_ids[-max(room, 1) :] for text in rendered]


def affordable(model, tokens: int) -> int:
    """How many sequences of that many tokens the free memory holds the key-value cache of; at least 1."""
    config = model.config.get_text_config().to_dict()
    each = tokens * cache_bytes(config, model.dtype.itemsize)
    if not each:  # no attention that caches: a state-space model
        return 1 << 30
    return max(1, int(CACHE_SHARE * _free_bytes(model.device) / each))


def _free_bytes(device: torch.device) -> int:
    """Memory this process may still take; of a GPU, that which torch holds without using it included."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _batch_or_none(model, config: GenerationConfig, ids: list[list[int]]) -> list[list[int]] | None:
    """None where the GPU's memory did not do for several. What failed is freed only once its traceback is gone: hence a
    function of its own."""
    try:
        return _batch(model, config, ids)
    except torch.OutOfMemoryError:
        if len(ids) == 1:
            raise
        return None


@contextmanager
def _own_config(model, config: GenerationConfig):
    """The model's own configuration would fill in what ours leaves open (top_k, penalties): put it aside."""
    saved, model.generation_config = model.generation_config, config
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.generation_config = saved
        model.train(training)


def _batch(model, config: GenerationConfig, ids: list[list[int]]) -> list[list[int]]:
    """Generated token ids, [batch][<= max_new_tokens], for prompts of [batch][length]."""
    width = max(len(row) for row in ids)
    pad = config.pad_token_id or 0
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in ids], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=model.device)
    out = model.generate(input_ids=tokens, attention_mask=mask, generation_config=config)
    return out[:, width:].tolist()


def answer_of(tokenizer, row: list[int], stop: Sequence[int]) -> Generation:
    """The answer in generated token ids: what stands before the first stop token."""
    end = next((i for i, token in enumerate(row) if token in stop), None)
    kept = row if end is None else row[:end]
    text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Generation(text, len(row) if end is None else end + 1, end is not None)


def _config(tokenizer, max_new_tokens: int, temperature: float, stop: list[int]) -> GenerationConfig:
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=stop or None,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        **({"do_sample": False} | sampling),
    )


def _context(model) -> int:
    return int(getattr(model.config, "max_position_embeddings", 1 << 20) or 1 << 20)
