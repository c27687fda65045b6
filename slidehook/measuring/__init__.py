"""Image measurements for all apps: glass, tissue, stains, nuclei, classes of tiles."""
