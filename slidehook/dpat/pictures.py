"""Decodes pictures from DPAT: JPEG or PNG by their content, up to a size limit."""

from __future__ import annotations

import io

from PIL import Image

from slidehook.dpat.errors import Malformed

FORMATS = ("JPEG", "PNG")


def read_picture(content: bytes, what: str, *, max_px: tuple[int, int]) -> Image.Image:
    """Decode a picture to RGB; `max_px` is the largest width and height, checked before any pixel is decoded.

    Raises Malformed, with `what` in its message, on a larger picture, another format, or a broken file.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width > max_px[0] or picture.height > max_px[1]:
                size = f"{picture.width} x {picture.height} pixels, over {max_px[0]} x {max_px[1]}"
                raise Malformed(f"{what} has {size}.")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow's errors for other formats, broken files and huge sizes. Their texts are left out, because they may
        # contain bytes of the picture.
        raise Malformed(f"{what} is no picture, JPEG or PNG, or a broken one.") from error
