"""A slide on this machine; its address is the path of its file, or of a folder of DICOM files."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL.Image import Image

from slidehook.disk import Room
from slidehook.errors import Gone, NotOffered, Refused, SlideUnreadable, SystemUnavailable
from slidehook.folder.local_slide import CALLER, label_of, local_file, local_info
from slidehook.models import ImageInfo
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.overview import thumbnail_of
from slidehook.pixels.source import PixelSource
from slidehook.slide import open_slide
from slidehook.systems import Access, NoSecret, OriginTicket

_REFUSED = frozenset({errno.EACCES, errno.EPERM})


class FolderOrigin:
    """One slide on this machine. See `slidehook.systems.SlideOrigin`.

    `mpp`: the µm per pixel to state in the image record; None: the value that the file states.
    """

    title = CALLER
    is_at_hand = True

    def __init__(self, ticket: OriginTicket, access: Access | None = None, *, mpp: float | None = None) -> None:
        self._ticket = ticket
        self._access = access or Access()
        self._path = Path(ticket.address)
        self._mpp = mpp

    def info(self) -> ImageInfo:
        """Create the image record from the slide's file."""
        with self._reading():
            return local_info(self._path, mpp=self._mpp).model_copy(update={"id": self._ticket.slide_id})

    def overview(self, info: ImageInfo) -> Image | None:
        """Create an overview from the slide's file."""
        del info
        with self._reading() as file, open_slide(file) as opened:
            return thumbnail_of(opened, file)

    def label(self) -> bytes | None:
        """Return the label in the slide's file as PNG; None if it has none."""
        with self._reading() as file, open_slide(file) as opened:
            picture = label_of(opened)
        if picture is None:
            return None
        content = io.BytesIO()
        picture.save(content, "PNG")
        return content.getvalue()

    def files(
        self,
        make_folder: Callable[[], Path],
        received: Callable[[int, int | None], None],
        *,
        room: Room,
        keep_names: bool = True,
    ) -> list[Path]:
        """Return the slide's files in place, under their own names; the one that OpenSlide opens comes first."""
        del make_folder, received, room, keep_names
        with self._reading() as file:
            others = sorted(each for each in self._path.iterdir() if each != file) if self._path.is_dir() else []
            return [file, *(each for each in others if each.is_file())]

    def no_tiles(self, info: ImageInfo) -> str:
        """Return an empty string: tiles come from the slide's file."""
        del info
        return ""

    def pixels(self, info: ImageInfo) -> PixelSource:
        """Open the slide's file; it is closed with the pixels."""
        del info
        with self._reading() as file:
            return _OwnPixels(open_slide(file), file)

    def case(self) -> list[ImageInfo]:
        """Raise NotOffered: a file belongs to no case."""
        raise NotOffered("there is no DPAT here that knows the slide's case")

    def for_child(self) -> OriginTicket:
        """Return the ticket of this slide."""
        return self._ticket

    def secrets_for_child(self) -> NoSecret:
        """Return no secret: a file needs none."""
        return NoSecret()

    @contextmanager
    def _reading(self) -> Iterator[Path]:
        """Yield the file that OpenSlide opens, and translate the errors of reading it."""
        self._access.check()
        try:
            self._path.stat()
            yield local_file(self._path)
        except FileNotFoundError as error:
            raise Gone(f"there is no slide at {self._path}") from error
        except OSError as error:
            kind = Refused if error.errno in _REFUSED else SystemUnavailable
            raise kind(f"{self._path} can't be read: {error.strerror}") from error
        except SlideUnreadable as error:
            if isinstance(error.__cause__, PermissionError):
                raise Refused(f"{self._path} can't be read") from error
            raise


class _OwnPixels(FilePixels):
    """Pixels that close the slide, because they opened it."""

    def close(self) -> None:
        """Close the slide's file."""
        super().close()
        self.opened.close()
