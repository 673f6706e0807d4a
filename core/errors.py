"""Every error a user can meet.

    InternError
    ├── UsageError            the command line or a configuration value is wrong          exit 2
    ├── NotFound              a run, task, model, file or job that is not there           exit 3
    │   └── TaskInvalid       a task folder that cannot be used as it is
    ├── DamagedLog            a log that fails its checks                                 exit 3
    ├── Diverged              a sound log whose loop, run again, goes another way         exit 1
    ├── Refused               a policy, a budget or a lock said no                        exit 4
    ├── JobError              a job (training, evaluation) that broke                     exit 1
    │   ├── NoPlace           this machine had no room for an evaluation in time; says nothing of the model
    │   ├── Unreachable       a scheduler or service that does not answer now; the job is neither running nor failed for that
    │   └── EvaluationError   an evaluation without a usable score
    │       ├── EvaluationTimeout   it did not end within its time
    │       └── EvaluationAltered   what measures was changed; the record was put back
    └── ToolError             a tool call that cannot be carried out; told to the brain   exit 1

Each says what was wrong, where, and what to do next. The text is written for the reader at 2 a.m.
"""

from __future__ import annotations


class InternError(Exception):
    """Base of all. `what` is wrong, `where` it was found, and what to do `next`."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"({self.where})")
        text = " ".join(parts)
        return f"{text}. {self.next}" if self.next else text


class UsageError(InternError):
    """The command line or a configuration value is wrong."""

    exit_code = 2


class NotFound(InternError):
    """A run, task, model, file or job that is not there."""

    exit_code = 3


class TaskInvalid(NotFound):
    """A task folder that cannot be used as it is."""


class DamagedLog(InternError):
    """A log that fails its checks."""

    exit_code = 3


class Diverged(InternError):
    """A sound log whose loop, run again on what was recorded, goes another way: nothing is lost, yet it cannot be vouched for."""


class Refused(InternError):
    """A policy, a budget or a lock said no."""

    exit_code = 4


class JobError(InternError):
    """A job that broke."""


class Unreachable(JobError):
    """A scheduler or service that does not answer now. Says nothing about the job."""


class NoPlace(JobError):
    """This machine had no room for an evaluation in time. Says nothing of the model."""


class EvaluationError(JobError):
    """An evaluation without a usable score."""


class EvaluationTimeout(EvaluationError):
    """An evaluation that did not end within its time."""


class EvaluationAltered(EvaluationError):
    """The evaluation was changed before or while it ran: no score of it counts."""


class ToolError(InternError):
    """A tool call that cannot be carried out; its text goes to the brain as the observation."""
