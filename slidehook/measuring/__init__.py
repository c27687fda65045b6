"""Measurements in pictures for any app: glass, tissue, stains, nuclei, classes of tiles."""
