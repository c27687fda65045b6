"""How large a pixel is, and whether that can be believed."""

from __future__ import annotations

from dataclasses import dataclass

from slidehook.errors import PixelSizeUnknown

DISAGREEMENT = 0.05
"""By which part of the smaller one two pixel sizes may differ and still be the same."""
SMALLEST_MPP, LARGEST_MPP = 0.05, 20.0
"""What a scanner can have made, in µm per pixel."""


@dataclass(frozen=True)
class PixelSize:
    """A level-0 pixel's side in µm, and who says so: `file`, or whose word it is that stands in the image record."""

    mpp: float
    source: str

    def mm2(self, area_px: float) -> float:
        """Give an area of level-0 pixels in mm²."""
        return area_px * self.mpp * self.mpp * 1e-6


def pixel_size(in_file: tuple[float, float] | None, told: float | None, *, told_by: str = "DPAT") -> PixelSize:
    """Give the pixel size that the file states (across, down; µm), else that of the image record, by `told_by`.

    Raises PixelSizeUnknown when there is none, when they disagree by over `DISAGREEMENT`, and when one is no size
    that a scanner makes: a measuring app must rather fail than give a wrong number.
    """
    if in_file is None and told is None:
        raise PixelSizeUnknown(f"neither the slide's file nor {told_by} says how large its pixels are")
    for who, value in (
        *((("file", each)) for each in in_file or ()),
        *(((told_by, told),) if told is not None else ()),
    ):
        if not SMALLEST_MPP <= value <= LARGEST_MPP:
            raise PixelSizeUnknown(f"{_named(who)} says {value:g} µm per pixel, which no scanner makes")
    if in_file is not None and _differ(*in_file):
        raise PixelSizeUnknown(
            f"the slide's file says {in_file[0]:g} µm per pixel across but {in_file[1]:g} down: they are not square"
        )
    if in_file is None:
        return PixelSize(float(told or 0.0), told_by)
    mpp = sum(in_file) / 2
    if told is not None and _differ(mpp, told):
        raise PixelSizeUnknown(f"the slide's file says {mpp:g} µm per pixel, but {told_by} says {told:g}")
    return PixelSize(mpp, "file")


def _named(who: str) -> str:
    return "the slide's file" if who == "file" else who


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > DISAGREEMENT * min(one, other)
