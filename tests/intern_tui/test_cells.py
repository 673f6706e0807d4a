"""The terminal shows the same whether a frame is written whole or as a difference, and a difference is short."""

from __future__ import annotations

import random

import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip

from intern_tui.app import InternApp
from intern_tui.cells import Frame, placed
from tests.screens import recorded
from tests.screens.memory import replay_app
from tests.screens.test_mission import started
from tests.terminal_model import TerminalModel

SIZE = Size(40, 8)
STYLES = (
    Style(), Style(color="red"), Style(color="red", bold=True), Style(bgcolor="#102030"), Style(reverse=True),
    Style(color="#a0b0c0", bgcolor="#102030"), Style(color="color(9)", italic=True, underline=True),
    Style(link="https://example.org/a"), Style(color="blue", link="https://example.org/b"), Style(meta={"a": 1}),
)  # fmt: skip
WORDS = ("a", "loss", "0.281", "⣀⡠⠤", "    ", "──", "宽", "e\u0301", "👩", "한국")


def some_strip(dice: random.Random, width: int) -> Strip:
    segments = [Segment(dice.choice(WORDS), dice.choice((None, *STYLES))) for _ in range(8)]
    return Strip(segments).adjust_cell_length(width)


def whole(strips: list[tuple[int, int, Strip]]) -> str:
    console = Console(color_system="truecolor", force_terminal=True)
    return "".join(f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for x, y, strip in strips)


@pytest.mark.parametrize("seed", range(20))
def test_a_difference_shows_what_the_whole_shows(seed: int) -> None:
    dice = random.Random(seed)
    frame, by_parts, at_once = Frame(), TerminalModel(*SIZE), TerminalModel(*SIZE)
    panes = [(0, 15), (15, 40)]
    shown = {(x, y): some_strip(dice, end - x) for x, end in panes for y in range(SIZE.height)}
    for step in range(30):
        changed = [at for at in shown if step == 0 or dice.random() < 0.4]
        for x, y in changed:
            if dice.random() < 0.7:
                shown[x, y] = some_strip(dice, dict(panes)[x] - x)
        strips = [(x, y, shown[x, y]) for x, y in changed]
        by_parts.feed(frame.difference(strips, SIZE, ColorSystem.TRUECOLOR))
        at_once.feed(whole(strips))
        assert by_parts.rows == at_once.rows


def test_the_same_frame_again_costs_nothing_until_the_terminal_is_not_known_any_more() -> None:
    frame, strips = Frame(), [(0, y, Strip([Segment("steady", STYLES[1])])) for y in range(3)]
    first = frame.difference(strips, SIZE, ColorSystem.TRUECOLOR)
    assert first.count("steady") == 3
    assert frame.difference(strips, SIZE, ColorSystem.TRUECOLOR) == ""
    frame.forget()
    assert frame.difference(strips, SIZE, ColorSystem.TRUECOLOR) == first
    assert frame.difference(strips, Size(50, 8), ColorSystem.TRUECOLOR) == first


def test_one_digit_costs_a_move_and_a_digit() -> None:
    frame = Frame()
    frame.difference([(0, 0, Strip([Segment("step 410 of 900")]))], SIZE, ColorSystem.TRUECOLOR)
    written = frame.difference([(0, 0, Strip([Segment("step 411 of 900")]))], SIZE, ColorSystem.TRUECOLOR)
    assert written == "\x1b[1;8H1"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_screen_and_dialog_ends_as_textual_would_draw_it(size: tuple[int, int]) -> None:
    app = replay_app(to=recorded.seq_of("approval_requested"))
    model, frame = TerminalModel(*size), Frame()
    async with app.run_test(size=size) as pilot:
        listen(app, frame, model)
        await started(pilot)
        for key in (
            "2",
            "l",
            "w",
            "4",
            "up",
            "1",
            "question_mark",
            "escape",
            "exclamation_mark",
            "escape",
            "3",
            "space",
            "6",
        ):
            await pilot.press(key)
            await pilot.pause()
            fresh = TerminalModel(*size)
            fresh.feed(
                whole(
                    list(
                        placed(LayoutUpdate([[s] for s in app.screen._compositor.render_strips()], Region(0, 0, *size)))
                    )
                )
            )
            assert model.rows == fresh.rows, key


def listen(app: InternApp, frame: Frame, model: TerminalModel) -> None:
    """What would go to the terminal goes to the model."""
    displayed = app._display

    def display(screen: object, renderable: object) -> None:
        if renderable is not None and not app._batch_count:
            strips = placed(renderable)  # type: ignore[arg-type]
            model.feed(frame.difference(strips, app.size, ColorSystem.TRUECOLOR))
        displayed(screen, renderable)  # type: ignore[arg-type]

    app._display = display  # type: ignore[method-assign,assignment]
    app.screen.refresh()
