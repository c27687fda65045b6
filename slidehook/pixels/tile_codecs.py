"""Decodes the compressed tiles of a slide's file, each into the pixels that OpenSlide would give, or not at all."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from slidehook.pixels.source import Pixels
from slidehook.pixels.stored_level import Codec, Colour, StoredLevel

_SOI, _EOI, _CODESTREAM = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f\xff\x51"
_ADOBE: Final = {
    Colour.RGB: b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00",
    Colour.YCBCR: b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01",
}
"""The marker that says which colours a JPEG has: of a tile, only TIFF's tag says so."""


_Decoder = Callable[[StoredLevel, bytes, int, bytearray | None], Pixels]


class Undecodable(ValueError):
    """A tile is damaged, or not what the file announces."""


def decode(level: StoredLevel, content: bytes, *, shrink: int = 1, scratch: bytearray | None = None) -> Pixels:
    """Return a tile's pixels, `shrink` (1, 2, 4 or 8; JPEG only) times smaller. Raises Undecodable.

    `scratch`: as many bytes as the pixels need; the result may lie in it.
    """
    try:
        pixels = _DECODERS[level.codec](level, content, shrink, scratch)
    except (ValueError, RuntimeError, zlib.error, struct.error) as error:
        raise Undecodable(str(error)) from error
    width, height = (each // shrink for each in level.tile)
    if pixels.shape != (height, width, 3) or pixels.dtype != np.uint8:
        raise Undecodable(f"a tile has {pixels.shape} samples of {pixels.dtype}")
    return pixels


def _jpeg(level: StoredLevel, content: bytes, shrink: int, scratch: bytearray | None) -> Pixels:
    if content[:2] != _SOI:
        raise Undecodable("a tile is no JPEG")
    tables = level.tables[2:-2] if level.tables[:2] == _SOI and level.tables[-2:] == _EOI else b""
    whole = b"".join((_SOI, _ADOBE[level.colour], tables, content[2:]))
    height, width, colours, _ = simplejpeg.decode_jpeg_header(whole)
    if (width, height) != level.tile or colours == "Gray":
        raise Undecodable(f"a tile has {width} x {height} pixels in {colours}")
    least = (0, 0) if shrink == 1 else (level.tile[1] // shrink, level.tile[0] // shrink)
    pixels: Pixels = simplejpeg.decode_jpeg(
        whole, "RGB", fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1], buffer=scratch
    )
    return pixels


def _jpeg_2000(level: StoredLevel, content: bytes, *_: object) -> Pixels:
    if content[:4] != _CODESTREAM:
        raise Undecodable("a tile is no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack(">4I", content[8:24])
    if (right - left, bottom - top) != level.tile:
        raise Undecodable(f"a tile has {right - left} x {bottom - top} pixels")
    samples: Pixels = imagecodecs.jpeg2k_decode(content, numthreads=1)
    return _rgb(samples) if level.codec is Codec.JPEG_2000_YCBCR else samples


def _rgb(samples: NDArray[np.uint8]) -> Pixels:
    """Convert YCbCr to RGB in whole numbers, as libjpeg and OpenSlide do."""
    y, blue, red = (samples[..., each].astype(np.int32) for each in range(3))
    blue, red = blue - 128, red - 128
    half = 1 << 15
    converted = np.stack(
        [
            y + ((91_881 * red + half) >> 16),
            y + ((-22_554 * blue - 46_802 * red + half) >> 16),
            y + ((116_130 * blue + half) >> 16),
        ],
        axis=-1,
    )
    return converted.clip(0, 255).astype(np.uint8)


def _plain(unpack: Callable[[bytes, int], bytes]) -> _Decoder:
    def decode_plain(level: StoredLevel, content: bytes, *_: object) -> Pixels:
        width, height = level.tile
        samples = np.frombuffer(unpack(content, 3 * width * height), np.uint8).reshape(height, width, 3)
        # The sums of differences run over at 256, as the differences did.
        return np.add.accumulate(samples, axis=1, dtype=np.uint8) if level.is_differenced else samples

    return decode_plain


def _inflate(content: bytes, length: int) -> bytes:
    return zlib.decompressobj().decompress(content, length)


def _unpack_lzw(content: bytes, length: int) -> bytes:
    return bytes(imagecodecs.lzw_decode(content, out=length))


def _unpack_zstd(content: bytes, length: int) -> bytes:
    return bytes(imagecodecs.zstd_decode(content, out=length))


_DECODERS: Final[dict[Codec, _Decoder]] = {
    Codec.NONE: _plain(lambda content, length: content[:length]),
    Codec.LZW: _plain(_unpack_lzw),
    Codec.JPEG: _jpeg,
    Codec.ADOBE_DEFLATE: _plain(_inflate),
    Codec.DEFLATE: _plain(_inflate),
    Codec.JPEG_2000_YCBCR: _jpeg_2000,
    Codec.JPEG_2000_RGB: _jpeg_2000,
    Codec.JPEG_2000: _jpeg_2000,
    Codec.ZSTD: _plain(_unpack_zstd),
}
