"""What an app author imports; see docs/ for the rest."""

from slidehook.app import App, MultiArea, TaggedPolygon, WholeSlide
from slidehook.result import Progress, Result
from slidehook.slide import Slide

__all__ = ["App", "MultiArea", "Progress", "Result", "Slide", "TaggedPolygon", "WholeSlide"]
