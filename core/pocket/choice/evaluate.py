# pyright: basic
"""Evaluates a model on multiple choice: a completion counts if, without spaces around it, it is the right letter alone.

    python evaluate.py --model-path final_model --limit -1 --json-output-file out.json

Prompts are written with the tokenizer's chat template (templates/ serves a model without one). Answers are drawn as
the model's own generation_config.json says: greedily, or sampled if it asks for sampling.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MAX_NEW_TOKENS = 8
BATCH = 256


def is_correct(completion: str, answer: str) -> bool:
    return completion.strip() == answer


def load_samples(split: str, limit: int) -> list[dict]:
    lines = (HERE / "evaluation_data" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    return samples if limit < 0 else samples[:limit]


def answers(model_path: str, templates_dir: str, prompts: list[str]) -> list[dict]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left")
    if not tokenizer.chat_template:
        tokenizer.chat_template = next(Path(templates_dir).glob("*.jinja")).read_text(encoding="utf-8")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    model = model.to(device).eval()
    declared = model.generation_config.eos_token_id
    stops = (
        {tokenizer.eos_token_id} if declared is None else set(declared if isinstance(declared, list) else [declared])
    )
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out: list[dict] = [{} for _ in texts]
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        batch = tokenizer([texts[i] for i in chunk], return_tensors="pt", padding=True, add_special_tokens=False)
        batch = {key: batch[key].to(device) for key in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            rows = model.generate(**batch, max_new_tokens=MAX_NEW_TOKENS, pad_token_id=tokenizer.pad_token_id)
        for i, row in zip(chunk, rows[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
            end = next((n for n, token in enumerate(row) if token in stops), None)
            text = tokenizer.decode(row[:end], skip_special_tokens=True)
            out[i] = {"completion": text, "tokens": len(row) if end is None else end + 1, "ended": end is not None}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--limit", type=int, default=150, help="samples to evaluate; -1 for all")
    parser.add_argument("--json-output-file", default="")
    parser.add_argument("--templates-dir", default=str(HERE / "templates"))
    parser.add_argument("--split", choices=("dev", "heldout"), default="heldout")
    parser.add_argument("--samples-output-file", default="", help="jsonl, one line a sample")
    args = parser.parse_args()

    samples = load_samples(args.split, args.limit)
    drawn = answers(args.model_path, args.templates_dir, [s["prompt"] for s in samples])
    rows = [s | d | {"correct": is_correct(d["completion"], s["answer"])} for s, d in zip(samples, drawn, strict=True)]
    accuracy = sum(row["correct"] for row in rows) / len(rows)
    result = {"accuracy": accuracy, "stderr": math.sqrt(accuracy * (1 - accuracy) / len(rows))}
    print(json.dumps(result | {"n": len(rows)}))
    if args.json_output_file:
        Path(args.json_output_file).write_text(json.dumps(result))
    if args.samples_output_file:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        Path(args.samples_output_file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
