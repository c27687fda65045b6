"""What an analysis rests on: rows that every result carries in its table, so that its reader can judge it."""

from __future__ import annotations

from collections import Counter

from slidehook.pixels.size import PixelSize

Row = str | int | float
AREA, READ, SKIPPED = "Analysed area (mm²)", "Tiles read", "Tiles skipped"
SIZE, SIZE_FROM = "Pixel size (µm)", "Pixel size from"
GEOJSON_FRAME = "GeoJSON counts from"
HOW_READ = "Pixels read"
VERSION, FINGERPRINT, SECONDS = "App version", "App fingerprint", "Seconds"
RECEIPT_ROWS = frozenset(
    {AREA, READ, SKIPPED, SIZE, SIZE_FROM, GEOJSON_FRAME, HOW_READ, VERSION, FINGERPRINT, SECONDS}
)
"""The rows' names in a result's table."""


class Receipt:
    """Filled while a slide is analysed. `analysed_mm2`: the area that was looked at, when the app says so itself."""

    def __init__(self) -> None:
        self.analysed_mm2: float | None = None
        self._read = 0
        self._skipped: Counter[str] = Counter()

    def read(self, tiles: int) -> None:
        """Count tiles as read."""
        self._read += tiles

    @property
    def tiles_read(self) -> int:
        """The number of tiles that `Slide.tiles` has laid out, whether they are already read or not."""
        return self._read

    def skip(self, why: str, tiles: int = 1) -> None:
        """Count tiles as not analysed; `why` is the reason in two or three words."""
        if tiles:
            self._skipped[why] += tiles

    def rows(
        self,
        *,
        pixel_size: PixelSize | None,
        unknown: str,
        area_px: float,
        version: str,
        fingerprint: str,
        seconds: float,
        geojson_frame: str = "",
        how_read: str = "",
    ) -> dict[str, Row]:
        """Return the rows for a result's table.

        `pixel_size`: None if it is not certain, for the reason `unknown`. `area_px`: the requested area in level-0
        pixels; it counts as analysed unless the app stated another area. `fingerprint`: see
        `slidehook.registry.fingerprint`. `seconds`: the analysis time. `geojson_frame`: the frame of the GeoJSON's
        coordinates, if the slide has more than one. `how_read`: whether pixels were read from the file directly or
        by OpenSlide.
        """
        rows: dict[str, Row] = {}
        analysed = self.analysed_mm2
        if analysed is None and pixel_size is not None:
            analysed = pixel_size.mm2(area_px)
        rows[AREA] = "unknown" if analysed is None else round(analysed, 3)
        if self._read or self._skipped:
            rows[READ] = self._read
            reasons = ", ".join(f"{count} {why}" for why, count in self._skipped.most_common())
            rows[SKIPPED] = reasons or "none"
        rows[SIZE] = f"unknown: {unknown}" if pixel_size is None else round(pixel_size.mpp, 4)
        if pixel_size is not None:
            rows[SIZE_FROM] = pixel_size.source
        if how_read:
            rows[HOW_READ] = how_read
        if geojson_frame:
            rows[GEOJSON_FRAME] = geojson_frame
        rows[VERSION] = version
        rows[FINGERPRINT] = fingerprint
        rows[SECONDS] = round(seconds, 1)
        return rows
