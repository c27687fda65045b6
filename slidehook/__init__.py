"""What an app author imports; see docs/ for the rest.

Each name is imported when it is first used, so that `import slidehook` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slidehook.app import App, MultiArea, TaggedPolygon, WholeSlide
    from slidehook.errors import AppError
    from slidehook.folder.local_slide import local_slide
    from slidehook.geometry import Frame, PixelPoint
    from slidehook.models import ImageInfo
    from slidehook.pixels.ordered_map import ordered_map
    from slidehook.pixels.size import PixelSize
    from slidehook.pixels.source import Pixels
    from slidehook.pixels.tiles import Mask, Tile, TileBatch
    from slidehook.regions import Region
    from slidehook.result import MOST_TAGS, Button, Gallery, Patch, Progress, Quality, Result
    from slidehook.results.receipt import RECEIPT_ROWS
    from slidehook.slide import Slide

__all__ = [
    "MOST_TAGS", "RECEIPT_ROWS", "App", "AppError", "Button", "Frame", "Gallery", "ImageInfo", "Mask", "MultiArea",
    "Patch", "PixelPoint", "PixelSize", "Pixels", "Progress", "Quality", "Region", "Result", "Slide",
    "TaggedPolygon", "Tile", "TileBatch", "WholeSlide", "local_slide", "ordered_map",
]  # fmt: skip

_NAMES = {
    "slidehook.app": ("App", "MultiArea", "TaggedPolygon", "WholeSlide"),
    "slidehook.errors": ("AppError",),
    "slidehook.folder.local_slide": ("local_slide",),
    "slidehook.geometry": ("Frame", "PixelPoint"),
    "slidehook.models": ("ImageInfo",),
    "slidehook.pixels.ordered_map": ("ordered_map",),
    "slidehook.pixels.size": ("PixelSize",),
    "slidehook.pixels.source": ("Pixels",),
    "slidehook.pixels.tiles": ("Mask", "Tile", "TileBatch"),
    "slidehook.regions": ("Region",),
    "slidehook.result": ("MOST_TAGS", "Button", "Gallery", "Patch", "Progress", "Quality", "Result"),
    "slidehook.results.receipt": ("RECEIPT_ROWS",),
    "slidehook.slide": ("Slide",),
}
"""Each module with the names that it gives, as imported above for type checkers."""


def __getattr__(name: str) -> object:
    for module, names in _NAMES.items():
        if name in names:
            globals()[name] = found = getattr(import_module(module), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
