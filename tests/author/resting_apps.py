"""Apps that rest on each other's results, in each way that works and that does not."""

from __future__ import annotations

from pydantic import BaseModel

from slidehook import App, Progress, Result, Slide, TaggedPolygon


class Ground(App):
    """Finds one square."""

    id = "ground"
    name = "Ground"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        assert slide.dependency is None
        return Result("one square").polygon(slide.frame.rectangle(0.25, 0.25, 0.5, 0.5))


class Middle(Ground):
    """Counts what the ground has found."""

    id = "middle"
    depends_on = "ground"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        assert slide.dependency is not None
        return Result("counted", {"Squares": len(slide.dependency.shapes)})


class Top(Ground):
    """Doubles what the middle has counted."""

    id = "top"
    depends_on = "middle"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        assert slide.dependency is not None
        return Result("doubled", {"Twice": 2 * int(slide.dependency.properties["Squares"])})


class OnNothing(Ground):
    id = "on-nothing"
    depends_on = "not-there"


class OnOnNothing(Ground):
    id = "on-on-nothing"
    depends_on = "on-nothing"


class Hen(Ground):
    id = "hen"
    depends_on = "egg"


class Egg(Ground):
    id = "egg"
    depends_on = "hen"


class Omelette(Ground):
    id = "omelette"
    depends_on = "egg"


class Drawn(Ground):
    id = "drawn"
    input = TaggedPolygon(tags=["a"])


class OnDrawn(Ground):
    id = "on-drawn"
    depends_on = "drawn"


class TunedParams(BaseModel, frozen=True, extra="forbid"):
    limit: int = 5


class Tuned(Ground):
    id = "tuned"
    params: TunedParams = TunedParams()


class OnTuned(Ground):
    id = "on-tuned"
    depends_on = "tuned"
