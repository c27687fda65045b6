"""What a picture shows: glass, tissue, stains, nuclei, classes of tiles. For any app, not for one alone."""
