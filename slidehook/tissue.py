"""What an author imports to find tissue; method and limits stand in `slidehook.measuring.tissue`."""

from slidehook.measuring.tissue import outlines, overview, tissue_mask

__all__ = ["outlines", "overview", "tissue_mask"]
