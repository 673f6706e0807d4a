"""The six screens by the names the keys use; each is imported when it is first seen."""

from __future__ import annotations

from textual.screen import Screen


def make_screen(name: str) -> Screen[None]:
    """A screen by its name; imported when first used."""
    if name == "mission":
        from screens.mission import Mission

        return Mission()
    if name == "events":
        from screens.events import Events

        return Events()
    if name == "curves":
        from screens.curves import Curves

        return Curves()
    if name == "evals":
        from screens.evals import Evals

        return Evals()
    if name == "research":
        from screens.research import Research

        return Research()
    from screens.runs import Runs

    return Runs()
