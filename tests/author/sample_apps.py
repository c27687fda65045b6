"""Apps to be found by entry points: good ones, and some that can't be offered."""

from __future__ import annotations

from pydantic import BaseModel

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


class BelowInfo(Good):
    id = "below-info"
    route = "/apps/good/info"


class BelowNotification(Good):
    id = "below-notification"
    route = "/apps/good/imagenotification"


class Above(Good):
    id = "above"
    route = "/apps"


class Health(Good):
    id = "health"
    route = "/healthz"


class Beside(Good):
    id = "beside"
    route = "/apps/good/beside"


class Nested(Good):
    id = "nested"
    route = "/nested/info"


class Outer(Good):
    id = "outer"
    route = "/nested"


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


class UnwritableParams(BaseModel, frozen=True, arbitrary_types_allowed=True):
    anything: object = object()


class Unwritable(Good):
    id = "unwritable"
    name = "Unwritable"
    params: UnwritableParams = UnwritableParams()
