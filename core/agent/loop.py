# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The agent's loop on its own thread: step, boundary, step, until the brain is done, the time is up or a person stops it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from smolagents import AgentGenerationError
from smolagents.memory import ActionStep, FinalAnswerStep, SystemPromptStep, TaskStep

from core import events as e
from core.agent.agent import InternAgent, RecordedModel, RunOver
from core.agent.brain import make_model, parse_brain
from core.agent.control import Control
from core.agent.desk import Desk
from core.agent.gate import Gate
from core.agent.memory import rebuild
from core.agent.prompt import steering_message, task_message
from core.errors import InternError
from core.tools import all_tools
from store.event import Event


def research(desk: Desk, control: Control, brain: str, past: Iterable[Event]) -> str:
    """Run the agent to its end. `past` are the events of this run so far; returns why it ended."""
    model = RecordedModel(make_model(parse_brain(brain), desk.settings.seed), brain, desk)
    agent = InternAgent(model, all_tools(), desk, Gate(desk))
    memory = rebuild(past, desk.blobs.get)
    model.recovered = memory.unfinished
    control.take_back(memory.pending)
    task = task_message(desk.settings.goal, desk.task.name, desk.settings.model, desk.settings.hours)

    def give(text: str) -> None:
        agent.memory.steps.append(TaskStep(task=steering_message(text)))

    def after_interrupt() -> list[Any]:
        model.delivering = control.boundary(give)
        return agent.write_memory_to_messages()

    model.after_interrupt = after_interrupt
    try:
        for item in _steps(agent, task, memory.steps):
            if isinstance(item, FinalAnswerStep):
                return str(item.output)
            if isinstance(item, ActionStep):
                desk.emit(e.StepFinished(step=desk.state.step))
                if not item.is_final_answer:
                    model.delivering = control.boundary(give)
                if desk.stopping.is_set():
                    break
    except RunOver:
        pass
    except AgentGenerationError as error:
        cause = error.__cause__
        raise cause if isinstance(cause, InternError) else InternError(f"The brain broke: {error}") from error
    return control.stop_reason or "the time for research is used"


def _steps(agent: InternAgent, task: str, remembered: list[Any]) -> Iterable[Any]:
    """smolagents' own stream. A run taken up again gets its memory back instead of a fresh task."""
    if not remembered:
        return cast(Iterable[Any], agent.run(task, stream=True))
    agent.task = task
    agent.memory.system_prompt = SystemPromptStep(system_prompt=agent.system_prompt)
    agent.memory.steps = [TaskStep(task=task), *remembered]
    agent.interrupt_switch = False
    # `run(reset=False)` would append the task once more; its stream is what run() itself returns.
    return agent._run_stream(task=task, max_steps=agent.max_steps)  # pyright: ignore[reportPrivateUsage]
