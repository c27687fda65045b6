"""Classifies tiles with the site's own ONNX model; a toml file describes the model's input and output.

Method: the tissue is divided into tiles of the model's size. Each tile is assigned its most probable class, or no
class if that is less probable than `least_probability`. Adjacent tiles of one class are outlined together. The model
is run by `slidehook.measuring.tilemodel`.
Limits: outlines are as coarse as the tiles, and a tile's whole area counts even if part of it is glass. Slides unlike
the training data (another scanner, stain or organ) are classified anyway. The numbers are only as reliable as the
model, which slidehook can't validate. For research use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field, model_validator
from shapely import Polygon

from slidehook import (
    MOST_TAGS,
    RECEIPT_ROWS,
    App,
    AppError,
    Frame,
    Gallery,
    PixelPoint,
    Progress,
    Result,
    Slide,
    TileBatch,
    WholeSlide,
    ordered_map,
)
from slidehook.measuring.tilemodel import ModelClass, ModelParams, Probabilities, TileModel, runtime_is_installed
from slidehook.measuring.tissue import overview, tissue_mask

OVERVIEW_MPP = 8.0
"""The resolution at which tissue is detected, in µm per pixel."""
MAGNIFICATIONS = (5, 10, 20, 40)
"""The magnifications of a gallery's patches; 10 is 1 µm per pixel."""
COARSEST = 1.5
"""The largest ratio of the slide's own pixel size to the model's."""
UNDECIDED = -1
"""The index of a tile without a class."""
UNDECIDED_ROW = "Undecided (mm²)"
"""The row in the table for tiles without a class."""


class OnnxParams(ModelParams, frozen=True, extra="forbid"):
    """The content of `apps/onnx.toml`: a description of the model, and how to use it.

    `model`: the model's file, in the folder of the toml; `mpp`: the pixel size of its tiles in µm. Tiles are
    classified if at least the fraction `least_tissue` (0…1) of them is tissue; a class less probable than
    `least_probability` is discarded. The gallery shows the `gallery_tiles` most probable tiles of each class; with 0
    there is no gallery, and the outlines have the classes' colours.
    """

    model: Path = Path("model.onnx")
    mpp: float = Field(default=0.5, gt=0, le=100)
    batch: int = Field(default=32, ge=1, le=4096)
    least_probability: float = Field(default=0.5, ge=0, le=1)
    least_tissue: float = Field(default=0.5, gt=0, le=1)
    gallery_tiles: int = Field(default=12, ge=0, le=500)

    @model_validator(mode="after")
    def _own_rows(self) -> Self:
        for each in self.classes:
            if _area_row(each) in {UNDECIDED_ROW, *RECEIPT_ROWS}:
                raise ValueError(f"no class can be named {each.name!r}: the table has {_area_row(each)!r} anyway")
        return self


@dataclass(frozen=True)
class Grid:
    """The tiles of a slide: squares with a side of `side` level-0 pixels, cut off at the slide's edge."""

    frame: Frame
    side: float

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return the column and row of the tile with this corner."""
        return round(x / self.side), round(y / self.side)

    def middle(self, column: int, row: int) -> PixelPoint:
        """Return the centre of a tile."""
        return PixelPoint((column + 0.5) * self.side, (row + 0.5) * self.side)

    def area_px(self, cells: NDArray[np.int64]) -> float:
        """Return the area of tiles, (column, row) each, in level-0 pixels."""
        end = np.minimum((cells + 1) * self.side, (self.frame.width, self.frame.height))
        return float((end - cells * self.side).prod(axis=1).sum())

    def outlines(self, cells: NDArray[np.int64]) -> list[Polygon]:
        """Return the outlines of tiles in level-0 pixels, largest first; tiles that share a side are joined."""
        # Joined in integer columns and rows, so that rounding leaves no gaps.
        columns, rows = cells.T
        joined = shapely.simplify(shapely.coverage_union_all(shapely.box(columns, rows, columns + 1, rows + 1)), 0)
        edge = (self.frame.width, self.frame.height)
        scaled = shapely.transform(joined, lambda corners: np.minimum(corners * self.side, edge))
        parts = [each for each in shapely.get_parts(scaled) if isinstance(each, Polygon)]
        return sorted(parts, key=lambda part: float(part.area), reverse=True)


@dataclass(frozen=True)
class Classified:
    """The classified tiles: the position, the class (or `UNDECIDED`) and the probability of each."""

    cells: NDArray[np.int64]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def of(self, number: int) -> NDArray[np.int64]:
        """Return the positions of a class's tiles."""
        found: NDArray[np.int64] = self.cells[self.classes == number]
        return found

    def top(self, number: int, most: int) -> list[tuple[int, int, float]]:
        """Return column, row and probability of a class's most probable tiles, in that order."""
        found = np.flatnonzero(self.classes == number)
        best = found[np.argsort(-self.probabilities[found], kind="stable")][:most]
        return [(int(self.cells[at, 0]), int(self.cells[at, 1]), float(self.probabilities[at])) for at in best]


class OnnxClassifier(App):
    """Outlines the classes that the site's model finds in the tissue, and shows the most probable tiles."""

    id = "onnx"
    name = "Tile classifier"
    input = WholeSlide()
    needs = ("files",)

    params: OnnxParams = OnnxParams()
    _model: TileModel

    def missing(self) -> str | None:
        """Return a message if no model is configured, or None; raises AppError if file or runtime are missing."""
        folder = self.settings.data_dir / "apps"
        if not self.params.classes:
            return f"no model configured: write {folder / 'onnx.toml'}"
        if not runtime_is_installed():
            raise AppError("onnxruntime is not installed: install slidehook[onnx]")
        if not self._model_path.is_file():
            raise AppError(f"there is no model {self._model_path}")
        return None

    def files(self) -> tuple[Path]:
        """Return the model's file."""
        return (self._model_path,)

    def setup(self) -> None:
        """Load the model; raises AppError if it is invalid or does not match the toml."""
        if lacks := self.missing():
            raise AppError(lacks)
        self._model = TileModel(self._model_path, self.params, said_in=f"{self.id}.toml")

    @property
    def _model_path(self) -> Path:
        return self.settings.data_dir / "apps" / self.params.model

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Classify the tissue's tiles; raises AppError if there are none, or if the slide is too coarse."""
        params = self.params
        if slide.mpp > COARSEST * params.mpp:
            raise AppError(
                f"a pixel of the slide is {slide.mpp:g} µm wide, too coarse for a model of {params.mpp:g} µm"
            )
        progress(0, "looking for tissue")
        frame = slide.frame
        tissue = tissue_mask(overview(slide, mpp=OVERVIEW_MPP), mpp=OVERVIEW_MPP)
        batches = slide.tiles(
            mpp=params.mpp, size=params.tile_px, batch=params.batch, where=tissue, least=params.least_tissue
        )
        grid = Grid(frame, params.tile_px * params.mpp / slide.mpp)
        planned = slide.receipt.tiles_read

        def classified(done: int) -> None:
            progress(5 + 90 * done / planned, f"{done} of {planned} tiles")

        found = self._classify(batches, grid, classified)
        slide.receipt.analysed_mm2 = slide.pixel_size.mm2(grid.area_px(found.cells))
        return self._result(found, grid, slide)

    def _classify(self, batches: Iterable[TileBatch], grid: Grid, progress: Callable[[int], None]) -> Classified:
        """Run the model over all tiles, a batch at a time; `progress` is called with the number of tiles done."""
        cells: list[tuple[int, int]] = []
        found: list[Probabilities] = []

        def classify(batch: TileBatch) -> tuple[list[tuple[int, int]], Probabilities]:
            return [grid.cell(*place) for place in batch.places.tolist()], self._model(batch.pixels)

        # The model computes while the next batch is read.
        for places, probabilities in ordered_map(classify, batches, threads=1, max_pending=2, name="model"):
            cells += places
            found.append(probabilities)
            progress(len(cells))
        if not found:
            raise AppError("no tissue was found that fills a tile")
        every = np.concatenate(found)
        best = every.max(axis=1)
        classes = np.where(best >= self.params.least_probability, every.argmax(axis=1), UNDECIDED)
        return Classified(np.array(cells, np.int64), classes, best)

    def _result(self, found: Classified, grid: Grid, slide: Slide) -> Result:
        params = self.params
        areas = [slide.pixel_size.mm2(grid.area_px(found.of(number))) for number in range(len(params.classes))]
        whole = slide.pixel_size.mm2(grid.area_px(found.cells))
        shown = [(number, each) for number, each in enumerate(params.classes) if each.shown]
        result = Result(", ".join(f"{each.name} {areas[number]:.2f} mm²" for number, each in shown) or "classified")
        for each, area in zip(params.classes, areas, strict=True):
            result.properties[_area_row(each)] = round(area, 3)
            result.properties[f"{each.name} (% of area)"] = round(100 * area / whole, 1)
        result.properties[UNDECIDED_ROW] = round(slide.pixel_size.mm2(grid.area_px(found.of(UNDECIDED))), 3)
        result.properties["Model"] = f"{self._model.name}, on {self._model.device}"
        for number, each in shown:
            for polygon in grid.outlines(found.of(number)):
                result.outline(polygon, colour=each.colour, name=each.name)
        if params.gallery_tiles and shown:
            result.gallery = self._gallery(found, grid, shown)
        return result

    def _gallery(self, found: Classified, grid: Grid, shown: list[tuple[int, ModelClass]]) -> Gallery:
        """Return a gallery of each class's most probable tiles; limited to the first classes in the toml."""
        magnification = min(MAGNIFICATIONS, key=lambda each: abs(each - 10 / self.params.mpp))
        tagged = shown[:MOST_TAGS]
        few = f" (the first {MOST_TAGS} classes)" if len(shown) > MOST_TAGS else ""
        gallery = Gallery(
            [each.name for _, each in tagged],
            patch_size_px=round(self.params.tile_px * self.params.mpp * magnification / 10),
            magnification=magnification,
            description=f"The tiles of each class that the model is surest of{few}",
        )
        for number, each in tagged:
            for column, row, probability in found.top(number, self.params.gallery_tiles):
                gallery.add(each.name, grid.middle(column, row), sort_key=round(1 - probability, 6))
        return gallery


def _area_row(of: ModelClass) -> str:
    return f"{of.name} (mm²)"
