"""Apps to be found by entry points: good ones, and some that can't be offered."""

from __future__ import annotations

from slidehook import App, Progress, Result, Slide


class Good(App):
    id = "good"
    name = "Good"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        return Result("fine")


class SameId(Good):
    name = "Another"
    route = "/elsewhere"


class SameRoute(Good):
    id = "same-route"
    route = "/apps/good"


class Other(Good):
    id = "other"


class Unfinished(App):
    id = "unfinished"
    name = "Unfinished"


class NeedsArguments(Good):
    id = "needs-arguments"

    def __init__(self, model: str) -> None:
        self.model = model


NOT_AN_APP = 42
