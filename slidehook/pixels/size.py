"""How large a pixel is, and whether that can be believed."""

from __future__ import annotations

from dataclasses import dataclass

from slidehook.errors import PixelSizeUnknown

DISAGREEMENT = 0.05
"""By which part of the smaller one two pixel sizes may differ and still be the same."""
SMALLEST_MPP, LARGEST_MPP = 0.05, 20.0
"""What a scanner can have made, in µm per pixel."""
PLACEHOLDER_MPP = 1.0
"""What programs write into a file when they do not know its pixel size: exactly one unit per pixel."""
UM_TIMES_POWER = 10.0
"""About the pixel size in µm times the objective's power: 0.25 µm at 40x, 0.5 µm at 20x."""
POWER_SPREAD = 3.0
"""By which factor a scanner's own camera may change that; 2.2 has been seen."""


@dataclass(frozen=True)
class PixelSize:
    """A level-0 pixel's side in µm, and who says so: `file`, or whose word it is that stands in the image record."""

    mpp: float
    source: str

    def mm2(self, area_px: float) -> float:
        """Give an area of level-0 pixels in mm²."""
        return area_px * self.mpp * self.mpp * 1e-6


def can_be_scanned(mpp: float | None) -> bool:
    """Say whether a scanner can have made a pixel size (µm): not one of 72, 96 or 300 dpi, of 0, or of no number."""
    return mpp is not None and SMALLEST_MPP <= mpp <= LARGEST_MPP


def believable(in_file: tuple[float, float] | None, power: float | None = None) -> tuple[float, float] | None:
    """Give the pixel size that a file states (across, down; µm); None when it states none that can be believed.

    `power`: that of the objective, above 0, as the file states it; None when it does not.
    """
    return None if in_file is None or _doubt(in_file, power) else in_file


def pixel_size(
    in_file: tuple[float, float] | None,
    told: float | None,
    *,
    told_by: str = "DPAT",
    power: float | None = None,
) -> PixelSize:
    """Give the pixel size that the file states (across, down; µm), else that of the image record, by `told_by`.

    `power`: that of the objective, as the file states it. What no scanner makes, or what the file's own objective
    contradicts, counts as not said. Raises PixelSizeUnknown when nothing is left, when the file's pixels are not
    square, and when file and record disagree by over `DISAGREEMENT`: a measuring app must rather fail than give a
    wrong number.
    """
    doubts = []
    if in_file is not None and (doubt := _doubt(in_file, power)):
        doubts.append(f"the slide's file says {doubt}")
        in_file = None
    if told is not None and not can_be_scanned(told):
        doubts.append(f"{told_by} says {told:g} µm per pixel, which no scanner makes")
        told = None
    if in_file is None:
        if told is None:
            raise PixelSizeUnknown(_unknown(doubts, told_by))
        return PixelSize(float(told), told_by)
    if _differ(*in_file):
        raise PixelSizeUnknown(
            f"the slide's file says {in_file[0]:g} µm per pixel across but {in_file[1]:g} down: they are not square"
        )
    mpp = sum(in_file) / 2
    if told is not None and _differ(mpp, told):
        raise PixelSizeUnknown(f"the slide's file says {mpp:g} µm per pixel, but {told_by} says {told:g}")
    return PixelSize(mpp, "file")


def _doubt(in_file: tuple[float, float], power: float | None) -> str:
    """Say what a file states of its pixels' size and why that can't be believed; empty when it can."""
    if strange := [each for each in in_file if not can_be_scanned(each)]:
        return f"{strange[0]:g} µm per pixel, which no scanner makes"
    mean = sum(in_file) / 2
    if power is not None and not 1 / POWER_SPREAD <= mean * power / UM_TIMES_POWER <= POWER_SPREAD:
        return f"{mean:g} µm per pixel, which its own objective of {power:g}x can't have made"
    if power is None and in_file == (PLACEHOLDER_MPP, PLACEHOLDER_MPP):
        return f"exactly {PLACEHOLDER_MPP:g} µm per pixel, as files do that do not know it"
    return ""


def _unknown(doubts: list[str], told_by: str) -> str:
    if not doubts:
        return f"neither the slide's file nor {told_by} says how large its pixels are"
    if len(doubts) == 1 and doubts[0].startswith("the slide's file"):
        return f"{doubts[0]}, and {told_by} does not say how large its pixels are"
    return ", and ".join(doubts)


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > DISAGREEMENT * min(one, other)
