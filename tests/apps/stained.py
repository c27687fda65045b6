"""Pictures of nuclei whose number, places and stains are known: composed by Beer and Lambert's law.

The colours of the stains are typed in here anew, so that an error in slidehook's shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from slidehook.pixels.source import Pixels

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
DAB = np.array([0.27, 0.57, 0.78])
EOSIN = np.array([0.07, 0.99, 0.11])
MPP = 0.25
"""µm per pixel of the pictures."""
GLASS = (245.0, 244.0, 246.0)

Field = NDArray[np.float64]


@dataclass(frozen=True)
class Nucleus:
    """An ellipse, in µm: its middle, its half axes, and by how far it is turned, in radians."""

    x: float
    y: float
    a: float
    b: float
    turn: float
    positive: bool

    def radius(self, direction: float) -> float:
        """Return the distance from its middle to its edge."""
        angle = direction - self.turn
        return self.a * self.b / math.hypot(self.b * math.cos(angle), self.a * math.sin(angle))


def scatter(
    count: int,
    *,
    side_um: float,
    seed: int,
    positive: float = 0.4,
    half_axes_um: tuple[float, float] = (3.0, 5.0),
    touching: float = 0.35,
    edge_um: float = 10.0,
) -> list[Nucleus]:
    """Scatter nuclei over a square; each touches a neighbour with the chance `touching`, in groups of 3 at most."""
    rng = np.random.default_rng(seed)
    found: list[Nucleus] = []

    def is_free(new: Nucleus, group: Sequence[Nucleus]) -> bool:
        if not (edge_um < new.x < side_um - edge_um and edge_um < new.y < side_um - edge_um):
            return False
        gap = {id(each): -0.05 * (each.a + new.a) for each in group[:-1]} | {
            id(each): -math.inf for each in group[-1:]
        }
        return all(
            math.hypot(new.x - each.x, new.y - each.y) > each.a + new.a + gap.get(id(each), 1.5) for each in found
        )

    def one(x: float, y: float) -> Nucleus:
        a = rng.uniform(*half_axes_um)
        return Nucleus(x, y, a, a * rng.uniform(0.7, 1), rng.uniform(0, math.pi), bool(rng.random() < positive))

    while len(found) < count:
        new = one(*rng.uniform(0, side_um, 2))
        if not is_free(new, []):
            continue
        group = [new]
        found.append(new)
        while len(group) < 3 and len(found) < count and rng.random() < touching:
            for _ in range(20):
                new, direction = one(0, 0), rng.uniform(0, 2 * math.pi)
                last = group[-1]
                far = 0.97 * (last.radius(direction) + new.radius(direction))
                new = replace(new, x=last.x + far * math.cos(direction), y=last.y + far * math.sin(direction))
                if is_free(new, group):
                    group.append(new)
                    found.append(new)
                    break
    return found


def compose(
    nuclei: Sequence[Nucleus],
    *,
    side_um: float,
    seed: int,
    membranes: bool = False,
    haematoxylin: float = 0.35,
    dab: float = 0.6,
    noise: float = 3.0,
    glass: tuple[float, float, float] = GLASS,
) -> Pixels:
    """Compose a picture of `MPP`; the DAB of positive nuclei lies in them, or in a membrane of 2 µm round them.

    `haematoxylin`, `dab`: the mean density of a nucleus's stains, which vary from one to the next and within each.
    The ground is pale and cloudy. `noise`: its standard deviation, of 255.
    """
    rng = np.random.default_rng(seed)
    side = round(side_um / MPP)
    distance, nearest = _distances(nuclei, side)
    inside, positive = distance <= 0, np.array([False, *(each.positive for each in nuclei)])[nearest]
    blues, browns = (
        np.array([0, *rng.normal(mean, 0.17 * mean, len(nuclei)).clip(0.6 * mean, 1.8 * mean)])
        for mean in (haematoxylin, dab)
    )
    grain, cloud = _waves(seed, side, 3.0), _waves(seed, side, 20.0)
    texture = 1 + 0.15 * grain
    blue, brown = 0.04 + 0.012 * cloud + 0.01 * grain, 0.02 + 0.005 * cloud
    if membranes:
        blue = np.where(inside, blues[nearest] * texture, blue)
        brown = np.where(positive & (distance > 0.3) & (distance < 2.3), browns[nearest], brown)
    else:
        blue = np.where(inside, np.where(positive, 0.6, 1.0) * blues[nearest] * texture, blue)
        brown = np.where(inside & positive, browns[nearest] * texture, brown)
    blue, brown = (ndimage.gaussian_filter(each, 0.3 / MPP) for each in (blue, brown))
    return absorbed(
        (blue[..., None] * HAEMATOXYLIN + brown[..., None] * DAB).clip(0), noise=noise, seed=seed, glass=glass
    )


def absorbed(
    density: Field, *, noise: float = 0.0, seed: int = 0, glass: tuple[float, float, float] = GLASS
) -> Pixels:
    """Return what is left of the glass's light by optical densities (rows, columns, 3), with noise."""
    light = np.array(glass) * 10**-density
    light += np.random.default_rng(seed).normal(0, noise, light.shape) if noise else 0
    pixels: Pixels = light.round().clip(0, 255).astype(np.uint8)
    return pixels


def _distances(nuclei: Sequence[Nucleus], side: int) -> tuple[Field, NDArray[np.int32]]:
    """Return each pixel's distance to the nearest nucleus's edge in µm, below 0 inside, and the nucleus's number."""
    distance = np.full((side, side), np.inf)
    nearest = np.zeros((side, side), np.int32)
    for number, each in enumerate(nuclei, 1):
        reach = each.a + 5
        top, left = (max(0, int((at - reach) / MPP)) for at in (each.y, each.x))
        bottom, right = (int((at + reach) / MPP) for at in (each.y, each.x))
        place = (slice(top, bottom), slice(left, right))
        rows, columns = np.mgrid[place][:, : side - top, : side - left]
        x, y = (columns + 0.5) * MPP - each.x, (rows + 0.5) * MPP - each.y
        along = x * math.cos(each.turn) + y * math.sin(each.turn)
        across = y * math.cos(each.turn) - x * math.sin(each.turn)
        part = np.hypot(along / each.a, across / each.b).clip(1e-6)
        away = (part - 1) * np.hypot(along, across) / part
        nearer = away < distance[place]
        distance[place][nearer], nearest[place][nearer] = away[nearer], number
    return distance, nearest


@cache
def _waves(seed: int, side: int, sigma_px: float) -> Field:
    random = np.random.default_rng((seed, round(sigma_px))).standard_normal((side, side))
    waves: Field = ndimage.gaussian_filter(random, sigma_px)
    waves /= waves.std()
    waves = waves.clip(-3, 3)
    waves.flags.writeable = False
    return waves
