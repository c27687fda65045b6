from __future__ import annotations

import numpy as np

from slidehook.measuring.calls import ReservoirSample


def test_the_kept_patches_do_not_grow_with_the_nuclei_and_each_has_its_chance() -> None:
    rows = np.arange(3000.0).reshape(1000, 3)
    hits = np.zeros(1000)
    lot = ReservoirSample(100)
    for part in np.array_split(rows, 7):
        lot.add(part)
        assert len(lot.rows) <= 100
    assert len(np.unique(lot.rows[:, 0])) == 100
    np.add.at(hits, (lot.rows[:, 0] / 3).astype(int), 1)
    assert all(5 < part.sum() < 40 for part in np.array_split(hits, 5))
