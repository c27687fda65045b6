"""Images that DPAT sends: JPEG or PNG, recognised by their content, with a limited size."""

from __future__ import annotations

import io

from PIL import Image

from slidehook.dpat.errors import Malformed

FORMATS = ("JPEG", "PNG")


def read_picture(content: bytes, what: str, *, max_px: tuple[int, int]) -> Image.Image:
    """Decode an image to RGB. `max_px`: the largest width and height, checked before any pixel is decoded.

    Raises Malformed, whose message starts with `what`, if the image is larger, of another format, or damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width > max_px[0] or picture.height > max_px[1]:
                size = f"{picture.width} x {picture.height} pixels, over {max_px[0]} x {max_px[1]}"
                raise Malformed(f"{what} has {size}.")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow raises these for data that is not an image, is damaged, or claims to be huge. Its own message is not
        # repeated, because it may contain bytes of the image.
        raise Malformed(f"{what} is not a valid JPEG or PNG image.") from error
