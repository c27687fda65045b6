"""Draws the paper label of a sample slide."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont


def draw_label(lines: tuple[str, ...]) -> Image.Image:
    """Return the image of a label: a frame, a fake bar code, and the lines of text."""
    picture = Image.new("RGB", (400, 360), "#f7f4ea")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((6, 6, 393, 353), outline="#4a4a4a", width=2)
    for number, line in enumerate(lines):
        font = ImageFont.load_default(size=44 if number == 0 else 32)
        pen.text((28, 28 + 58 * number), line, fill="#1c1c1c", font=font)
    x = 28
    for letter in "".join(lines):
        bar = 2 + ord(letter) % 5
        pen.rectangle((x, 240, x + bar, 328), fill="#1c1c1c")
        x += bar + 4
        if x > 360:
            break
    return picture
