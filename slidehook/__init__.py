"""What an app author imports; see docs/ for the rest."""

from slidehook.app import App, MultiArea, TaggedPolygon, WholeSlide
from slidehook.errors import AppError
from slidehook.folder.local_slide import local_slide
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import ImageInfo
from slidehook.pixels.size import PixelSize
from slidehook.pixels.tiles import Mask, Tile
from slidehook.regions import Region
from slidehook.result import Button, Gallery, Patch, Progress, Quality, Result
from slidehook.slide import Slide

__all__ = [
    "App", "AppError", "Button", "Frame", "Gallery", "ImageInfo", "Mask", "MultiArea", "Patch", "PixelPoint",
    "PixelSize", "Progress", "Quality", "Region", "Result", "Slide", "TaggedPolygon", "Tile", "WholeSlide",
    "local_slide",
]  # fmt: skip
