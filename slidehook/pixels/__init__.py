"""Reads a slide's pixels from its file or from DPAT's tiles, at any µm per pixel, with several threads."""
