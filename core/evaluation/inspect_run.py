# pyright: basic
"""Evaluates a local model on an inspect-ai task, under the flags that every evaluate.py here has.

    python evaluate.py --model-path final_model --limit -1 --json-output-file out.json [--split dev|heldout]

The task stands in evaluation_code/inspect.json. With a GPU and vLLM the model is served by vLLM, else by transformers.
Prompts are written with the tokenizer's chat template (templates/ serves a model without one); answers are drawn as the
model's own generation_config.json says. Without --split all samples count; with it, those whose prompt's hash says so:
equal prompts are always on one side. This file is copied into the task's folder and needs inspect-ai only.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DEV_SHARE = 4
"""One prompt in so many is for development."""
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--limit", type=int, default=150, help="samples to evaluate; -1 for all")
    parser.add_argument("--json-output-file", default="")
    parser.add_argument("--samples-output-file", default="", help="jsonl, one line a sample")
    parser.add_argument("--templates-dir", default=str(HERE / "templates"))
    parser.add_argument("--split", choices=("dev", "heldout"), default=None)
    parser.add_argument("--max-tokens", type=int, default=None, help="of one answer; default: the task's")
    parser.add_argument("--max-connections", type=int, default=BATCH, help="answers drawn at once")
    args = parser.parse_args()

    asked = json.loads((HERE / "evaluation_code" / "inspect.json").read_text(encoding="utf-8"))
    check_unchanged(asked)
    task = load(asked["task"], asked.get("args") or {})
    task.dataset = chosen(task.dataset, args.split)
    log = evaluate(task, open_model(Path(args.model_path).resolve(), args.templates_dir), args)
    rows = [row(sample) for sample in log.samples or []]
    result = outcome(log, rows)
    print(json.dumps(result))
    if args.json_output_file:
        Path(args.json_output_file).write_text(json.dumps(result), encoding="utf-8")
    if args.samples_output_file:
        text = "".join(json.dumps(r) + "\n" for r in rows)
        Path(args.samples_output_file).write_text(text, encoding="utf-8")


def check_unchanged(asked: dict[str, Any]) -> None:
    """A task's file counts as part of the evaluation: scores of two versions of it do not compare."""
    path = asked.get("file")
    if path and hashlib.sha256(Path(path).read_bytes()).hexdigest() != asked["sha256"]:
        sys.exit(
            f"{path} was changed since this task was made; name it again (--task inspect/...) for a task of its own"
        )


def load(name: str, args: dict[str, Any]) -> Any:
    """The inspect-ai Task of `path/to/file.py@function` or of a name that an installed package registers."""
    from inspect_ai.util import registry_create

    path, _, function = name.partition("@")
    if not path.endswith(".py"):
        return registry_create("task", name, **args)
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).parent))  # a task's own helpers lie beside it
    os.chdir(Path(path).parent)  # and so do its data
    spec.loader.exec_module(module)
    return getattr(module, function)(**args)


def chosen(dataset: Any, split: str | None) -> Any:
    """The samples of a split."""
    return dataset if split is None else dataset.filter(lambda sample: is_dev(sample) == (split == "dev"))


def is_dev(sample: Any) -> bool:
    """By the hash of what is asked, so that no question stands on both sides."""
    digest = hashlib.sha256(asked_text(sample.input).encode()).digest()
    return int.from_bytes(digest[:8], "big") % DEV_SHARE == 0


def asked_text(given: Any) -> str:
    """The words of a sample's input: a string, or a conversation."""
    return given if isinstance(given, str) else "\n".join(message.text for message in given)


def open_model(path: Path, templates: str) -> Any:
    from inspect_ai.model import get_model
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(path).chat_template
    given = sorted(Path(templates).glob("*.jinja")) if not own else []
    template: dict[str, Any] = {"chat_template": given[0].read_text(encoding="utf-8")} if given else {}
    if on_gpu() and importlib.util.find_spec("vllm"):
        return known(get_model(f"vllm/{path}", **template), path)
    # The template has written the start token already; a second one would be a prompt the model never saw.
    once: dict[str, Any] = {"tokenizer_call_args": {"add_special_tokens": False}} if own or given else {}
    device = "cuda" if on_gpu() else "cpu"
    return known(get_model(f"hf/{path}", device=device, do_sample=samples(path), **template, **once), path)


def known(model: Any, path: Path) -> Any:
    """Tell inspect-ai of the model: about one it does not know it asks the Hub, and loads the weights a second time."""
    from inspect_ai.model import ModelInfo, set_model_info

    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    info = ModelInfo(context_length=config.get("max_position_embeddings"))
    for name in {str(model), model.name, model.canonical_name()}:
        set_model_info(name, info)
    return model


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def samples(path: Path) -> bool:
    """Whether the model's generation_config.json asks for sampling; inspect-ai would sample by itself."""
    file = path / "generation_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return bool(config.get("do_sample")) and config.get("temperature") != 0


def evaluate(task: Any, model: Any, args: argparse.Namespace) -> Any:
    """The log of the evaluation. Ends the process, saying why, where inspect-ai says that it failed."""
    import inspect_ai

    more = {"max_tokens": args.max_tokens} if args.max_tokens else {}
    limit = None if args.limit < 0 else args.limit
    try:
        with tempfile.TemporaryDirectory() as folder:
            (log,) = inspect_ai.eval(
                task, model=model, limit=limit, display="none", log_dir=folder, log_format="json", seed=0,
                max_connections=args.max_connections, max_samples=args.max_connections, **more,
            )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - else inspect-ai ends the process without a word where display is none
        sys.exit(f"inspect-ai: {type(error).__name__}: {error}")
    if log.status != "success":
        sys.exit(f"inspect-ai: {log.error.message if log.error else log.status}")
    return log


def row(sample: Any) -> dict[str, Any]:
    """One answered question, as samples.jsonl holds it."""
    from inspect_ai.scorer import value_to_float

    found = next(iter((sample.scores or {}).values()), None)
    value = float(value_to_float()(found.value)) if found is not None else 0.0
    target = sample.target if isinstance(sample.target, str) else " | ".join(sample.target)
    usage = sample.output.usage
    return {
        "id": str(sample.id), "prompt": asked_text(sample.input), "answer": target,
        "completion": sample.output.completion, "correct": value >= 1.0, "score": value,
        "tokens": usage.output_tokens if usage else 0,
        "ended": sample.output.stop_reason not in ("max_tokens", "model_length"),
    }  # fmt: skip


def outcome(log: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The task's own first metric, its standard error where it has one, and how many samples."""
    metrics = log.results.scores[0].metrics if log.results and log.results.scores else {}
    first = next((name for name in metrics if not name.startswith(("stderr", "std", "var", "bootstrap"))), None)
    if first is None:
        sys.exit("the inspect-ai task has no score")
    found = {"accuracy": metrics[first].value, "n": len(rows), "metric": first}
    return found | ({"stderr": metrics["stderr"].value} if "stderr" in metrics else {})


if __name__ == "__main__":
    main()
