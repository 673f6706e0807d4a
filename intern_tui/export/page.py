"""A run as one web page that needs nothing else: result, plan, curves, evaluations, diagnoses, reading, events.

Every figure carries the number of its event and links to it in the list below. All text from the run is sanitised and
escaped; the page loads nothing from anywhere (its policy forbids it) and works without its few lines of script.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from core.describe import describe, percent, points, telling
from core.events import payload_of
from core.fold import Folder
from core.sanitize import clean, one_line
from core.state import Evaluation, FeedLine, RunState
from intern_tui.export.svg import curve, whisker
from screens.text import clock, number
from screens.widgets.curve import curve_jobs, metrics_of
from screens.widgets.deltas import significant
from store.source import EventSource

MOST_EVENTS = 5_000
"""Lines of the event list: enough to read, little enough for a browser. The newest are kept."""
SIGNS = {"done": "✓", "doing": "●", "failed": "✗", "skipped": "–", "todo": "○"}
ROLES = {"done": "good", "failed": "bad", "skipped": "dim", "todo": "dim"}
VERDICTS = {"better": "good", "worse": "bad", "failed": "bad"}
FILTER = """
const box = document.getElementById("find"), rows = [...document.querySelectorAll("#events tbody tr")];
box.hidden = false;
box.addEventListener("input", () => { const want = box.value.toLowerCase();
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(want); });
"""


def write_page(source: EventSource, out: Path) -> Path:
    """Fold the run and write the page. Raises StoreError or OSError."""
    folder = Folder()
    lines: list[FeedLine] = []
    left_out = 0
    for event in source.events(1, source.last[0]):
        folder.apply(event)
        payload = payload_of(event)
        if telling(event, payload):
            text, level = describe(event, payload)
            lines.append(FeedLine(event.seq, event.ts, event.type, event.actor, text, level))
            if len(lines) > 2 * MOST_EVENTS:
                left_out += len(lines) - MOST_EVENTS
                del lines[:-MOST_EVENTS]
    left_out += max(0, len(lines) - MOST_EVENTS)
    temporary = out.with_name(out.name + ".part")
    temporary.write_text(render_page(folder.state, lines[-MOST_EVENTS:], left_out, source.last[1]), encoding="utf-8")
    temporary.replace(out)
    return out


def render_page(state: RunState, lines: list[FeedLine], left_out: int = 0, last_hash: str = "") -> str:
    """The whole page. `lines` are the events listed, oldest first; `left_out` is how many earlier ones are not."""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    title = text(state.title or state.goal or state.run)
    known = {line.seq for line in lines}
    body = "".join(
        [
            _head(state, title), _plan(state), _scores(state, known), _curves(state, known), _experiments(state, known),
            _diagnoses(state, known), _reading(state, known), _data(state, known), _events(state, lines, left_out),
        ]
    )  # fmt: skip
    chain = f", chain ends in <code>{escape(last_hash[:16])}</code>" if last_hash else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{css}</style></head><body>{body}"
        f'<p class="dim">Run <code>{text(state.run)}</code>, {state.seq} events{chain}. '
        f"Replay it: <code>intern replay {text(state.run)}</code></p><script>{FILTER}</script></body></html>\n"
    )


def text(value: str) -> str:
    """Foreign text, sanitised and escaped."""
    return escape(one_line(value))


def block(value: str) -> str:
    """As `text`, with its line breaks."""
    return escape(clean(value, newlines=True)).replace("\n", "<br>")


def ref(seq: int, known: set[int]) -> str:
    """Names the event a figure comes from; a link where it is listed."""
    if not seq:
        return ""
    return f'<a class="ev" href="#e{seq}">[{seq}]</a>' if seq in known else f'<span class="dim">[{seq}]</span>'


def tag(role: str, inner: str) -> str:
    return f'<span class="{role}">{inner}</span>' if role else inner


def section(title: str, inner: str) -> str:
    return f"<section><h2>{title}</h2>{inner}</section>" if inner else ""


def _head(s: RunState, title: str) -> str:
    scores = s.scores
    tiles = [("status", text(s.status)), ("time", clock(s.elapsed_s()))]
    if scores.heldout_delta is not None and scores.heldout_interval is not None:
        low, high = scores.heldout_interval
        tiles.append(("held-out", f"{percent(scores.heldout_baseline)} → {percent(scores.heldout_best)}"))
        role = "good" if low > 0 else "bad" if high < 0 else ""
        tiles.append(
            ("points, 95 % interval", tag(role, f"{points(scores.heldout_delta)} [{points(low)}, {points(high)}]"))
        )
    elif scores.best is not None:
        tiles.append(("development", f"{percent(scores.baseline)} → {percent(scores.best)}"))
    if s.budget.usd_used:
        tiles.append(("spent", f"${s.budget.usd_used:.2f}"))
    shown = "".join(f'<div class="tile"><b>{value}</b><span class="dim">{name}</span></div>' for name, value in tiles)
    about = f"{text(s.task)} · {text(s.model)} · brain {text(s.brain)} · seed {s.seed}"
    return f'<h1>{title}</h1><p>{text(s.goal)}</p><p class="dim">{about}</p><p>{text(s.reason)}</p><div class="tiles">{shown}</div>'


def _plan(s: RunState) -> str:
    items = [
        f"<li>{tag(ROLES.get(p.status, ''), SIGNS.get(p.status, '○') + ' ' + text(p.title))} "
        f'<span class="dim">{text(p.note)}</span></li>'
        for p in s.plan
    ]
    lessons = "".join(f"<li>{text(lesson)}</li>" for lesson in s.lessons)
    learnt = f"<h3>Learnt</h3><ul>{lessons}</ul>" if lessons else ""
    return section("Plan", f'<ol class="plan">{"".join(items)}</ol>{learnt}' if items else "")


def _scores(s: RunState, known: set[int]) -> str:
    done = [e for e in s.evaluations.values() if e.done]
    if not done:
        return ""
    low = min(e.interval[0] for e in done)
    high = max(e.interval[1] for e in done)
    rows = "".join(_score(e, s, low, high, known) for e in done)
    head = "<tr><th>model</th><th>split</th><th>n</th><th>score</th><th>95 % interval</th><th>delta [95 %]</th><th></th></tr>"
    note = f'<p class="dim">Intervals from {percent(low)} to {percent(high)}; the dashed line is the base model on the development split.</p>'
    return section("Evaluations", f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>{note}")


def _score(e: Evaluation, s: RunState, low: float, high: float, known: set[int]) -> str:
    delta = ""
    if e.delta is not None and e.delta_interval is not None:
        role = ("good" if e.delta > 0 else "bad") if significant(e) else ""
        delta = tag(role, f"{points(e.delta)} [{points(e.delta_interval[0])}, {points(e.delta_interval[1])}]")
    line = whisker(e, low, high, s.scores.baseline if e.split == "dev" else None)
    return (
        f"<tr><td>{text(e.label)}</td><td>{text(e.split)}</td><td>{e.samples}</td><td>{percent(e.score)}</td>"
        f"<td>{line}</td><td>{delta}</td><td>{ref(e.seq, known)}</td></tr>"
    )


def _curves(s: RunState, known: set[int]) -> str:
    parts: list[str] = []
    for job in curve_jobs(s):
        figures = [
            f"<figure>{curve(job.series[name], name, max(job.step, 1))}"
            f"<figcaption>{text(name)}, last {number(job.series[name].last)}</figcaption></figure>"
            for name in metrics_of(job)
        ]
        parts.append(
            f"<h3>{text(job.id)}: {text(job.title)} "
            f'<span class="dim">{text(job.status)}, {job.step} train steps</span> {ref(job.seq, known)}</h3>'
            f'<div class="plots">{"".join(figures)}</div>'
        )
    return section("Curves", "".join(parts))


def _experiments(s: RunState, known: set[int]) -> str:
    parts: list[str] = []
    for x in s.experiments.values():
        verdict = text(x.verdict.replace("_", " ")) or "running"
        delta = (
            f", {points(x.delta)} [{points(x.interval[0])}, {points(x.interval[1])}]"
            if x.delta is not None and x.interval
            else ""
        )
        parts.append(
            f"<li><b>{text(x.id)}</b> {text(x.hypothesis)} {ref(x.seq, known)}<br>"
            f"{tag(VERDICTS.get(x.verdict, ''), verdict + delta)} {text(x.why)} {ref(x.concluded_seq, known)}</li>"
        )
    return section("Experiments", f"<ul>{''.join(parts)}</ul>" if parts else "")


def _diagnoses(s: RunState, known: set[int]) -> str:
    parts: list[str] = []
    for f in s.failures:
        role = "bad" if f.severity == "failing" else "waiting"
        parts.append(
            f"<h3>{tag(role, text(f'{f.job}: {f.kind} from step {f.first_step}'.replace('_', ' ')))} {ref(f.seq, known)}</h3>"
        )
        parts += [f"<p>{text(line)}</p>" for line in f.evidence]
        parts += [f'<p class="dim">likely cause: {text(f.causes[0])}</p>'] if f.causes else []
        if f.remedy:
            parts.append(
                f"<p>remedy: {text(f.remedy)} {ref(f.remedy_seq, known)} {text(f.result.replace('_', ' '))}</p>"
            )
    return section("Diagnoses", "".join(parts))


def _reading(s: RunState, known: set[int]) -> str:
    items = [
        f'<li>{text(p.title)} ({p.year or "n.d."}) <span class="dim">{text(p.id)} via {text(p.source)}</span> {ref(p.seq, known)}'
        + (f"<ul>{''.join(f'<li>{text(t)}</li>' for t in p.taken)}</ul>" if p.taken else "")
        + "</li>"
        for p in s.papers.values()
        if p.read
    ]
    return section("What was read", f"<ul>{''.join(items)}</ul>" if items else "")


def _data(s: RunState, known: set[int]) -> str:
    items: list[str] = []
    for d in s.datasets.values():
        if d.prepared:
            gone = ", ".join(f"{n} {text(why.replace('_', ' '))}" for why, n in d.dropped.items()) or "nothing"
            what = f"{d.train_rows} train and {d.dev_rows} development rows; dropped: {gone}"
        else:
            what = f"{d.rows} rows; " + (
                ", ".join(f"{c.count} {text(c.kind.replace('_', ' '))}" for c in d.concerns) or "no concerns"
            )
        items.append(f"<li><b>{text(d.name)}</b> {what} {ref(d.seq, known)}</li>")
    return section("Data", f"<ul>{''.join(items)}</ul>" if items else "")


def _events(s: RunState, lines: Iterable[FeedLine], left_out: int) -> str:
    rows = "".join(
        f'<tr id="e{line.seq}"><td class="n">{line.seq}</td><td class="n">{clock((line.ts - s.created_ts) / 1e6)}</td>'
        f'<td class="n">{text(line.type)}</td><td>{tag(line.level if line.level != "info" else "", block(line.text))}</td></tr>'
        for line in lines
    )
    more = (
        f'<p class="dim">{left_out} earlier events are not listed: intern events {text(s.run)}</p>' if left_out else ""
    )
    box = '<input id="find" placeholder="filter events" aria-label="filter events" hidden>'
    note = '<p class="dim">Metrics and device readings are left out here; the curves are made from them.</p>'
    return section("Events", f'{box}{note}{more}<table id="events"><tbody>{rows}</tbody></table>')
