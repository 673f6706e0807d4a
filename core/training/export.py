# pyright: basic
"""Job kind `export`: from a trained model or adapter to a folder that any evaluation loads.

Full merged weights, the base's tokenizer files, a complete generation_config with the decoding that was measured, no
links; then the folder is loaded again and made to answer, because what cannot be loaded scores nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import JobError, UsageError
from core.evaluation.generate import declared_stop_ids, generate, load, stop_ids
from core.evaluation.prompting import Decoding, Prompting, render
from core.training.examples import template_text
from core.training.export_spec import ExportSpec
from core.training.model_files import pick_device, resolve_model, save_model
from core.training.promote import tree_digest
from core.training.stream import Stream
from core.training.trust import loading


def main(spec_path: str) -> None:
    """Run the job whose spec is at `spec_path`."""
    try:
        spec = msgspec.json.decode(Path(spec_path).read_bytes(), type=ExportSpec)
    except msgspec.DecodeError as error:
        raise UsageError(f"the spec does not fit: {error}", where=spec_path, next="See export_spec.py.") from error
    folder = Path(spec_path).resolve().parent
    stream = Stream(folder)
    stream.plan(2)
    output = Path(spec.output or folder / "model").resolve()
    export(spec, output)
    stream.metric(1, {"size_bytes": sum(f.stat().st_size for f in output.rglob("*") if f.is_file())})
    proof = prove(output, spec)
    stream.metric(2, {"answered": len(proof)})
    stream.result(status="finished", model=str(output), digest=tree_digest(output), proof=proof)


def export(spec: ExportSpec, output: Path) -> None:
    """Write the folder: weights in the dtype they were trained in, or the one asked for."""
    base = resolve_model(spec.model)
    flags = loading(base, spec.trust)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=spec.dtype, **flags)
    if spec.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, spec.adapter)
    tokenizer = AutoTokenizer.from_pretrained(base, **flags)
    stops = list(spec.stop_ids) or stop_ids(model, tokenizer, template_text(tokenizer, spec.prompting))
    values = decoding_values(spec.decoding, stops, tokenizer.pad_token_id)
    model.generation_config.eos_token_id = stops or None
    save_model(model, base, output, spec.prompting, **values)
    links = [str(f) for f in output.rglob("*") if f.is_symlink()]
    if links:
        raise JobError(
            f"the export holds links: {links[:3]}", where=str(output), next="Report this: it must not happen."
        )


def decoding_values(decoding: Decoding, stops: list[int], pad: int | None) -> dict[str, Any]:
    """generation_config keys. Greedy is said twice: vLLM reads only `temperature`, transformers only `do_sample`."""
    greedy = decoding.temperature == 0
    return {
        "do_sample": not greedy,
        "temperature": float(decoding.temperature),
        "max_new_tokens": decoding.max_new_tokens,
        "eos_token_id": stops if len(stops) > 1 else (stops[0] if stops else None),
        "pad_token_id": pad if pad is not None else (stops[0] if stops else None),
        # sampling filters of the base would still bite in vLLM at temperatures above 0
        "top_p": None if greedy else 1.0,
        "top_k": None,
        "min_p": None,
    }


def prove(output: Path, spec: ExportSpec) -> list[str]:
    """Load the folder afresh and answer a few prompts; the answers, or an error that says what is broken."""
    device = pick_device(spec.device)
    model, tokenizer = load(str(output), device, spec.trust)
    bad = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    if bad:
        raise JobError(f"weights are not finite: {bad[0]}", where=str(output), next="Export an earlier checkpoint.")
    if not declared_stop_ids(model, tokenizer):
        raise JobError("no stop token is declared", where=str(output), next="Set eos_token in the tokenizer.")
    prompts = spec.proof_prompts or ("1+1=",)
    rendered = [render(tokenizer, _served(spec.prompting), prompt) for prompt in prompts]
    limit = min(spec.decoding.max_new_tokens, 32)
    return [answer.text for answer in generate(model, tokenizer, rendered, max_new_tokens=limit)]


def _served(prompting: Prompting) -> Prompting:
    """As an evaluation would: with the template that was written into the folder."""
    return msgspec.structs.replace(prompting, template_path=None) if prompting.format == "chat" else prompting


if __name__ == "__main__":
    main(sys.argv[1])
