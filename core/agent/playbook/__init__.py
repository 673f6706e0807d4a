"""The playbook: a brain without an LLM. A fixed research policy that reads the same observations and calls the same tools.

    model.py       the smolagents Model: messages in, the next tool call out
    policy.py      the research itself, top to bottom
    search.py      the learning-rate ladder and other choices between numbers
    experiments.py one experiment: hypothesis, jobs, evaluation, verdict, promotion
    remedies.py    what to change after a diagnosis
    wishes.py      what a person's words mean to it
    comparators.py what it is measured against
    hand.py        a recipe that a person wrote, as one of those

It is the default where no endpoint is configured, and the baseline every LLM brain has to beat. It knows nothing about
any particular task: numbers come from the recipe library, from the task's own brief and from its own trials.
"""

from core.agent.playbook.model import PlaybookModel

__all__ = ["PlaybookModel"]
