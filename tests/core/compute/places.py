"""The places under the contract: each with a way to connect anew, as a new process would, and to be cut off."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.compute.protocol import Compute
from core.compute.spec import JobSpec


@dataclass
class Place:
    """One backend with an empty jobs folder."""

    name: str
    folder: Path
    connect: Callable[[], Compute]
    cut_off: Callable[[], contextlib.AbstractContextManager[None]] | None = None
    """Makes its scheduler unreachable for a while; None where there is no scheduler to lose."""
    slow: float = 1.0
    """How much longer than on a plain machine things may take."""
    env: dict[str, str] = field(default_factory=dict)

    def spec(self, code: str, job: str = "job-1", **more: object) -> JobSpec:
        """A job that runs `code` in its folder, with `say(step)`, `asked()` and `save(step)` at hand."""
        values = {"effect_id": f"{self.name}-{self.folder.parent.name}:{job}", "slots": 1} | more
        argv = (sys.executable, "-c", textwrap.dedent(PRELUDE) + textwrap.dedent(code))
        return JobSpec(job=job, kind="script", folder=str(self.folder / job), argv=argv, env=self.env, **values)  # type: ignore[arg-type]


PRELUDE = """
import json, os, pathlib, time
here = pathlib.Path('.')
stream = (here / 'metrics.jsonl').open('a')
def say(step):
    stream.write(json.dumps({'kind': 'metric', 'step': step, 'values': {'loss': 1 / step}}) + '\\n')
    stream.flush()
    print('step', step, flush=True)
def asked():
    return (here / 'control').exists() and (here / 'control').read_text().strip() == 'stop'
def save(step):
    (here / 'checkpoint').mkdir(exist_ok=True)
    (here / 'checkpoint' / 'step.txt').write_text(str(step))
print('started', flush=True)
"""


@contextmanager
def nothing() -> Generator[None]:
    yield
