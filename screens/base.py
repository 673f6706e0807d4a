"""What all screens of a run share: the bars around, the keys, and how a view reaches the panes."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget

from screens.keys import bindings
from screens.pane import Pane
from screens.view import Desk, View
from screens.widgets.footer import Footer, Line
from screens.widgets.header import Header
from screens.widgets.prompt import Prompt
from screens.widgets.timeline import Timeline


class RunScreen(Screen[None]):
    """A header, a body, the timeline, the command line, the footer. Decides nothing: asks the desk."""

    NAME: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = list(bindings())
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (28, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    RunScreen { layout: vertical; }
    RunScreen .body { height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        yield Header(id="header")
        yield from self.body()
        yield Timeline(id="timeline")
        yield Line(id="line")
        yield Prompt()
        yield Footer(self.NAME)

    def body(self) -> ComposeResult:
        """The widgets between header and timeline."""
        raise NotImplementedError

    @property
    def desk(self) -> Desk:
        return cast(Desk, self.app)

    # ------------------------------------------------------------------------------------------------------ drawing

    _before_prompt: Widget | None = None
    """What had the focus when the prompt opened."""

    ready = False
    """True once the widgets are there to be drawn on."""

    def on_mount(self) -> None:
        self.ready = True
        self.focus_first()
        self.refresh_view()

    def on_screen_resume(self) -> None:
        self.refresh_view()

    def refresh_view(self) -> None:
        view = self.desk.view
        if view is not None and self.ready:
            self.show(view)

    def show(self, view: View) -> None:
        """Hand the view to every pane that is visible."""
        for footer in self.query(Footer):
            footer.zooms, footer.panes, footer.keymap = self.zooms, len(self.panes()), self.desk.keymap
        for pane in self.query(Pane):
            pane.show(view)

    # ------------------------------------------------------------------------------------------------------- looking

    def panes(self) -> list[Pane]:
        """Panes that can be focused, in order."""
        return [p for p in self.query(Pane) if p.can_focus]

    @property
    def zooms(self) -> bool:
        """Whether `z` changes the picture."""
        return False

    def focus_first(self) -> None:
        panes = self.panes()
        if panes:
            panes[0].focus()

    @property
    def current_pane(self) -> Pane | None:
        focused = self.focused
        return focused if isinstance(focused, Pane) else None

    def action_pane(self, by: int) -> None:
        panes = [p for p in self.panes() if p.display]
        if not panes:
            return
        current = self.current_pane
        at = panes.index(current) if current in panes else -by
        panes[(at + by) % len(panes)].focus()

    def action_cursor(self, by: int) -> None:
        if self.current_pane is not None:
            self.current_pane.move(by)

    def action_page(self, direction: int) -> None:
        if self.current_pane is not None:
            self.current_pane.page(direction)

    def action_zoom(self) -> None:
        self.desk.notice("this screen has one pane: nothing to zoom", "dim")

    def action_jump(self) -> None:
        from screens.jump import Jump

        panes = self.panes()
        self.app.push_screen(Jump(panes), self._jumped)

    def _jumped(self, at: int | None) -> None:
        if at is not None:
            self.go_to_pane(at)

    def go_to_pane(self, at: int) -> None:
        self.panes()[at].focus()

    def action_metric(self, by: int) -> None:
        self.desk.notice("curves are on Mission (1) and Curves (2)", "dim")

    def action_job(self, by: int) -> None:
        self.desk.notice("curves are on Mission (1) and Curves (2)", "dim")

    async def action_find(self) -> None:
        await self.run_action("app.screen('events')")
        self.desk.notice("/ filters here", "dim")

    def action_match(self, by: int) -> None:
        self.desk.notice("filter first: / on Events (4)", "dim")

    def action_source_event(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self.show_event(pane.source_seq())

    def on_pane_selected(self, message: Pane.Selected) -> None:
        self.show_event(message.seq)

    def show_event(self, seq: int) -> None:
        if not seq:
            self.desk.notice("nothing here comes from an event yet", "dim")
            return
        self.desk.look_up(seq, lambda event: self._found(seq, event))

    def _found(self, seq: int, event: Any) -> None:
        from screens.detail import Detail

        if event is None:
            self.desk.notice(f"event {seq} cannot be read now", "bad")
        else:
            self.app.push_screen(Detail(event))

    def action_copy(self) -> None:
        pane = self.current_pane
        if pane is None or pane.selected_row is None:
            self.desk.notice("select a row first (↑ ↓), then y copies it", "dim")
            return
        text = "".join(span.text for span in pane.selected_row.spans).strip()
        self.desk.copy(text, text)

    # -------------------------------------------------------------------------------------------------------- acting

    def _may_act(self) -> bool:
        """Whether the run can be asked for something now; says why where not."""
        view = self.desk.view
        reason = view.refusal if view is not None else "the run is still being opened"
        if reason:
            self.desk.notice(f"not now: {reason}")
        return not reason

    def action_steer(self) -> None:
        if self._may_act():
            prompt = self.query_one(Prompt)
            self._before_prompt = self.focused
            self.query_one(Line).display = False
            prompt.display = True
            prompt.focus()

    def on_prompt_left(self) -> None:
        self._close_prompt()

    def on_prompt_sent(self, message: Prompt.Sent) -> None:
        self._close_prompt()
        self.desk.command("queue" if message.queue else "steer", message.text)

    def _close_prompt(self) -> None:
        self.query_one(Prompt).display = False
        self.query_one(Line).display = True
        if self._before_prompt is not None and self._before_prompt.is_attached:
            self._before_prompt.focus()
        else:
            self.focus_first()

    def action_pause(self) -> None:
        from screens.confirm import pause_words

        view = self.desk.view
        if view is None or not self._may_act():
            return
        if view.state.status == "paused":
            self.desk.command("resume")
        else:
            self._after_asking("Pause the agent?", pause_words(view), "pause")

    def action_interrupt(self) -> None:
        from screens.confirm import interrupt_words

        view = self.desk.view
        if view is not None and self._may_act():
            self._after_asking("Interrupt the agent?", interrupt_words(view), "interrupt")

    def action_undo(self) -> None:
        from screens.confirm import Confirm, undo_words

        view = self.desk.view
        if view is not None and self._may_act():
            ask = Confirm("Undo the last change?", undo_words(view), "undo", "n leave it")
            self.app.push_screen(ask, lambda yes: self.desk.command("undo") if yes else None)

    def _after_asking(self, question: str, words: str, command: str) -> None:
        """Ask where jobs run, whose fate and cost a person should know first; otherwise just do it."""
        from screens.confirm import Confirm

        view = self.desk.view
        if view is None or not view.state.running_jobs():
            self.desk.command(command)
            return
        ask = Confirm(question, words, command, "n leave it")
        self.app.push_screen(ask, lambda yes: self.desk.command(command) if yes else None)

    def action_pause_job(self) -> None:
        """Pause the newest running training, or let the newest paused one go on."""
        view = self.desk.view
        if view is None or not self._may_act():
            return
        jobs = list(view.state.jobs.values())
        running = [job.id for job in jobs if job.status == "running" and job.kind == "training"]
        paused = [job.id for job in jobs if job.status == "paused"]
        if running:
            self.desk.command("pause-job", running[-1])
        elif paused:
            self.desk.command("resume-job", paused[-1])
        else:
            self.desk.notice("no training is running or paused", "dim")

    def action_approvals(self) -> None:
        from screens.approvals import Approvals

        self.app.push_screen(Approvals())

    def on_timeline_went(self, message: Timeline.Went) -> None:
        self.desk.move("share", message.share)

    def action_bookmark(self) -> None:
        self.desk.bookmark()

    def action_fork(self) -> None:
        from screens.fork import Fork

        view = self.desk.view
        if view is None or not view.state.seq:
            self.desk.notice("there is nothing to fork yet", "dim")
            return
        seq = view.state.seq
        self.app.push_screen(Fork(view), lambda words: self.desk.fork(seq, words) if words is not None else None)

    def action_stop(self) -> None:
        from screens.confirm import Confirm, stop_words

        view = self.desk.view
        if view is not None and self._may_act():
            self.app.push_screen(Confirm("Stop the run?", stop_words(view), "stop"), self._stop_decided)

    def _stop_decided(self, yes: bool | None) -> None:
        if yes:
            self.desk.command("stop")

    # -------------------------------------------------------------------------------------------------------- replay

    def action_play(self) -> None:
        self.desk.move("play")

    def action_skip(self, seconds: float) -> None:
        self.desk.move("skip", seconds)

    def action_event(self, by: int) -> None:
        self.desk.move("event", by)

    def action_mark(self, by: int) -> None:
        self.desk.move("mark", by)

    def action_plan_step(self, by: int) -> None:
        self.desk.move("plan_step", by)

    def action_speed(self, by: int) -> None:
        self.desk.move("speed", by)

    def action_start(self) -> None:
        self.desk.move("start")

    def action_end(self) -> None:
        self.desk.move("end")

    def action_live(self) -> None:
        self.desk.move("live")

    def action_goto(self) -> None:
        from screens.goto import Goto

        view = self.desk.view
        if view is None or view.player is None:
            self.desk.notice("go to works in replay", "dim")
        else:
            self.app.push_screen(Goto(view.player), lambda seq: self.desk.move("seq", seq) if seq else None)

    # ------------------------------------------------------------------------------------------------------- program

    def action_help(self) -> None:
        from screens.help import Help

        self.app.push_screen(Help(self.NAME))
