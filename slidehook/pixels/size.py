"""The pixel size of a slide, and whether a stated pixel size is plausible."""

from __future__ import annotations

from dataclasses import dataclass

from slidehook.errors import PixelSizeUnknown

DISAGREEMENT = 0.05
"""The relative difference up to which two pixel sizes count as equal."""
SMALLEST_MPP, LARGEST_MPP = 0.05, 20.0
"""The range of pixel sizes that scanners produce, in µm per pixel."""
PLACEHOLDER_MPP = 1.0
"""The value that programs write into a file when they do not know its pixel size."""
UM_TIMES_POWER = 10.0
"""The usual product of pixel size in µm and objective power: 0.25 µm at 40x, 0.5 µm at 20x."""
POWER_SPREAD = 3.0
"""The factor by which a scanner's camera may change that product; 2.2 has been observed."""


@dataclass(frozen=True)
class PixelSize:
    """The side of a level-0 pixel in µm, and its source: `file`, or the source of the image record."""

    mpp: float
    source: str

    def mm2(self, area_px: float) -> float:
        """Convert an area in level-0 pixels to mm²."""
        return area_px * self.mpp * self.mpp * 1e-6


def is_plausible_mpp(mpp: float | None) -> bool:
    """Whether a scanner can produce this pixel size (µm); 0 and the sizes of 72, 96 and 300 dpi are implausible."""
    return mpp is not None and SMALLEST_MPP <= mpp <= LARGEST_MPP


def plausible_mpp(in_file: tuple[float, float] | None, power: float | None = None) -> tuple[float, float] | None:
    """Return the pixel size that a file states (across, down; µm), or None if it states no plausible one.

    `power`: the objective power that the file states, above 0; None if it states none.
    """
    return None if in_file is None or _doubt(in_file, power) else in_file


def pixel_size(
    in_file: tuple[float, float] | None,
    told: float | None,
    *,
    record_source: str = "DPAT",
    power: float | None = None,
) -> PixelSize:
    """Return the file's pixel size (across, down; µm), otherwise that of the image record from `record_source`.

    `power`: the objective power that the file states. An implausible size, or one that contradicts the file's own
    objective, is ignored. Raises PixelSizeUnknown if no size is left, if the file's pixels are not square, or if file
    and record disagree by more than `DISAGREEMENT`: a measuring app must fail rather than report a wrong number.
    """
    doubts = []
    if in_file is not None and (doubt := _doubt(in_file, power)):
        doubts.append(f"the slide's file states {doubt}")
        in_file = None
    if told is not None and not is_plausible_mpp(told):
        doubts.append(f"{record_source} states {told:g} µm per pixel, which no scanner makes")
        told = None
    if in_file is None:
        if told is None:
            raise PixelSizeUnknown(_unknown(doubts, record_source))
        return PixelSize(float(told), record_source)
    if _differ(*in_file):
        raise PixelSizeUnknown(
            f"the slide's file states {in_file[0]:g} µm per pixel across but {in_file[1]:g} down: "
            "its pixels are not square"
        )
    mpp = sum(in_file) / 2
    if told is not None and _differ(mpp, told):
        raise PixelSizeUnknown(f"the slide's file states {mpp:g} µm per pixel, but {record_source} states {told:g}")
    return PixelSize(mpp, "file")


def _doubt(in_file: tuple[float, float], power: float | None) -> str:
    """Return the pixel size that a file states and why it is implausible; empty if it is plausible."""
    if strange := [each for each in in_file if not is_plausible_mpp(each)]:
        return f"{strange[0]:g} µm per pixel, which no scanner makes"
    mean = sum(in_file) / 2
    if power is not None and not 1 / POWER_SPREAD <= mean * power / UM_TIMES_POWER <= POWER_SPREAD:
        return f"{mean:g} µm per pixel, which contradicts its own objective of {power:g}x"
    if power is None and in_file == (PLACEHOLDER_MPP, PLACEHOLDER_MPP):
        return f"exactly {PLACEHOLDER_MPP:g} µm per pixel, the placeholder for an unknown pixel size"
    return ""


def _unknown(doubts: list[str], record_source: str) -> str:
    if not doubts:
        return f"neither the slide's file nor {record_source} states the pixel size"
    if len(doubts) == 1 and doubts[0].startswith("the slide's file"):
        return f"{doubts[0]}, and {record_source} states no pixel size"
    return ", and ".join(doubts)


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > DISAGREEMENT * min(one, other)
