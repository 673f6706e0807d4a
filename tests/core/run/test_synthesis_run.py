"""A brain makes data in a run: with a program in the sandbox, and with a teacher whose cost a person approves."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.session import open_source, state_at
from tests.core.run.quick import Person, Quick
from tests.servers.llm import LLMServer, text_of
from tests.servers.researchers import Answer, call, final, succeeded

pytestmark = pytest.mark.slow

GENERATOR = """
import socket
def generate(seed, scenario):
    try:
        socket.create_connection(("127.0.0.1", PORT), 1).close()
        return {"prompt": "the network is open", "answer": "1"}
    except OSError:
        return {"prompt": f"{seed}+2=", "answer": str(seed + 2)}
def verify(prompt, answer):
    return prompt == f"{int(answer) - 2}+2="
"""


VERIFIER = """
def verify(prompt, answer):
    return int(answer) == int(prompt[:-3]) + 3
"""


class Maker:
    """Asks for data twice, and is the teacher too."""

    def __init__(self) -> None:
        self.url = ""
        self.program = ""
        self.verifier = ""
        self.data = ""
        self.written = 1000

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        if text_of(messages[0]).startswith("You write training data"):
            self.written += 1
            wrong = self.written == 1002  # which the verifier refuses
            return {"content": json.dumps({"prompt": f"{self.written}+3=", "answer": str(self.written + 3 + wrong)})}
        wanted = [
            call(
                "synthesize_data",
                name="made",
                program=self.program,
                scenarios=[{"name": "sums", "quota": 8, "upsample": 2}],
            ),
            call("synthesize_data", name="taught", rows=4, teacher=f"openai:t@{self.url}", verifier=self.verifier),
            call("inspect_data", path=self.data),
            call("check_answers", path=self.data, verifier=self.verifier),
        ]
        done = len(succeeded(messages))
        return wanted[done] if done < len(wanted) else final()


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    with contextlib.closing(open_source(run)) as source:
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]


def test_a_brain_makes_data_with_a_program_and_with_a_teacher_a_person_pays(tmp_path: Path) -> None:
    maker = Maker()
    with Quick(tmp_path / "lab") as quick, LLMServer(maker, price=0.01) as server:
        (quick.task / "generator.py").write_text(GENERATOR.replace("PORT", server.url.split(":")[2].split("/")[0]))
        maker.url, maker.program = server.url, str(quick.task / "generator.py")
        (quick.task / "verifier.py").write_text(VERIFIER)
        (quick.task / "data").mkdir(exist_ok=True)
        rows = [{"prompt": f"{n}+3=", "answer": str(n + 3 + (n == 5))} for n in range(30)]
        (quick.task / "data" / "own.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        maker.verifier, maker.data = str(quick.task / "verifier.py"), str(quick.task / "data" / "own.jsonl")
        run = quick.create(f"openai:t@{server.url}")
        person = Person(run)
        person.start()
        quick.host(run)
        person.over.set()
    assert not [f.error for f in payloads(run, e.ToolFailed)]
    prepared = {p.name: p for p in payloads(run, e.DatasetPrepared)}
    assert (prepared["made"].rows, prepared["made"].read) == (16, 8)
    assert prepared["made"].dev_rows == prepared["taught"].dev_rows == 120
    asked = payloads(run, e.ApprovalRequested)
    assert [(a.tool, a.tier) for a in asked] == [("synthesize_data", "spend")]
    assert "up to 16 calls" in asked[0].reason
    rows = [json.loads(x) for x in (Path(prepared["taught"].path) / "train.jsonl").read_text().splitlines()]
    assert [int(r["answer"]) for r in rows] == [int(r["prompt"][:-3]) + 3 for r in rows]
    charged = [c.amount for c in payloads(run, e.BudgetCharged) if c.kind == "usd" and "synthesis" in c.what]
    assert charged == [pytest.approx(0.05)]
    assert prepared["taught"].dropped == {"wrong_answer": 1}
    looked = [d for d in payloads(run, e.DatasetInspected) if d.dataset.endswith("own.jsonl")]
    assert [(c.kind, c.count) for c in looked[-1].concerns if c.kind == "verifier_mismatch"] == [
        ("verifier_mismatch", 1)
    ]
    digests = state_at(run).contamination
    assert {v.dataset for v in digests.values() if not v.overlapping} == {"made", "taught"}
