"""Pictures that DPAT sends: JPEG or PNG, by their content, and no larger than they may be."""

from __future__ import annotations

import io

from PIL import Image

from slidehook.dpat.errors import Malformed

FORMATS = ("JPEG", "PNG")


def read_picture(content: bytes, what: str, *, most_px: tuple[int, int]) -> Image.Image:
    """Read a picture, RGB; `most_px`: its width and height at most, checked before any pixel is decoded.

    Raises Malformed, with `what` in its sentence, on a larger one, another format, and on what is broken.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width > most_px[0] or picture.height > most_px[1]:
                told = f"{picture.width} x {picture.height} pixels, over {most_px[0]} x {most_px[1]}"
                raise Malformed(f"{what} has {told}.")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # What Pillow raises for a picture that is none, is broken, or says that it is huge. What it says of that may
        # hold bytes of the picture.
        raise Malformed(f"{what} is no picture, JPEG or PNG, or a broken one.") from error
