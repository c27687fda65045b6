"""What a site can tune of the app `ihc`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from slidehook.stains import DAB, HAEMATOXYLIN, Colour, Deconvolution


class IhcParams(BaseModel, frozen=True, extra="forbid"):
    """What a site can tune. Densities are optical densities to base 10, along the stain's colour."""

    compartment: Literal["nucleus", "cell"] = "nucleus"
    """Where the DAB is measured: in the nucleus (Ki-67, ER, PR), or in a ring round it, for stains of the membrane
    and the cytoplasm (HER2, CD3, cytokeratin). Nuclei are found by both stains, or by haematoxylin alone."""
    ring_um: float = Field(3.0, ge=1, le=10)
    """How wide that ring is."""
    positive_from: float = Field(0.2, gt=0, le=3)
    """The mean density of DAB, in the nucleus or the ring, from which on it is positive."""
    dab_area_from: float = Field(0.2, gt=0, le=3)
    """The density of DAB from which on a pixel counts to the DAB-positive area."""
    nucleus_contrast: float = Field(0.1, gt=0, le=1)
    """By how much a nucleus is denser than its surroundings, at least; less finds paler ones, and other things."""
    smallest_um2: float = Field(10.0, gt=0)
    largest_um2: float = Field(400.0, gt=0, le=1000)
    """The smallest and the largest area of a nucleus."""
    mpp: float = Field(0.5, ge=0.25, le=0.75)
    """µm per pixel to look at. A slide whose own pixels are over 1.5 times as large is refused."""
    smallest_region_mm2: float = Field(0.001, ge=0)
    """In a smaller region nothing is counted."""
    most_patches: int = Field(500, ge=1, le=5000)
    """How many patches of each tag the gallery shows; of more nuclei, so many drawn by lot."""
    haematoxylin: Colour = HAEMATOXYLIN
    dab: Colour = DAB
    """The stains' colours: how much red, green and blue light each takes away."""

    @model_validator(mode="after")
    def _makes_sense(self) -> IhcParams:
        if self.smallest_um2 > self.largest_um2:
            raise ValueError("smallest_um2 is above largest_um2")
        Deconvolution(self.haematoxylin, self.dab)
        return self
