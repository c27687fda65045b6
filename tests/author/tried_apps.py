"""Apps as authors try them: copied into a folder of the author's before they are packaged."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

from pydantic import BaseModel

from slidehook import (
    App,
    AppError,
    Gallery,
    MultiArea,
    PixelPoint,
    Progress,
    Result,
    Slide,
    TaggedPolygon,
)


class SquareParams(BaseModel, frozen=True, extra="forbid"):
    part: float = 0.5
    words: str = "a square"


class Square(App):
    """Draws a square of a part of the slide, and knows its area from tiles."""

    id = "square"
    name = "Square"
    needs = ("tiles",)
    params: SquareParams = SquareParams()

    def setup(self) -> None:
        self.ready = True

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        assert self.ready
        assert slide.path is None
        pixels = 0
        for tile in slide.tiles(mpp=2.0, size=256):
            progress(50, "[bold]reading[/]")
            pixels += tile.pixels[..., 0].size
        corners = slide.frame.rectangle(0, 0, self.params.part, self.params.part)
        return Result(f"[{self.params.words}]", {"Pixels": pixels}).polygon(corners, colour="#00FF00")


class Many(Square):
    """Draws more than DPAT is sent."""

    id = "many"
    name = "Many"
    max_polygons = 3

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        result = Result("many")
        for size in range(10, 20):
            result.polygon([PixelPoint(0, 0), PixelPoint(size, 0), PixelPoint(0, size)])
        return result


class Tagged(Square):
    id = "tagged"
    input = TaggedPolygon(tags=["tumour", "stroma"])

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        (region,) = slide.regions
        gallery = Gallery(["in"]).add("in", region.points[0])
        return Result(f"{slide.tag}: {region.area_px:.0f}", gallery=gallery)


class Areas(Square):
    id = "areas"
    input = MultiArea()

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        return Result(", ".join(f"{region.area_px:.0f}" for region in slide.regions))


class OnDemo(Square):
    id = "on-demo"
    depends_on = "wholeslide"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        assert slide.dependency is not None
        return Result(f"before: {slide.dependency.text}")


class OnNothing(Square):
    id = "on-nothing"
    depends_on = "not-there"


class Faulty(Square):
    id = "faulty"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        return self.divided(0)

    def divided(self, by: int) -> Result:
        return Result(str(1 / by))


class Unready(Square):
    id = "unready"

    def setup(self) -> None:
        sys.exit("no model")


class Unable(Square):
    id = "unable"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        raise AppError("there is no tissue on it")


class Wrong(Square):
    id = "wrong"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        return "no result"  # type: ignore[return-value]


class Endless(Square):
    id = "endless"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        threading.Event().wait()
        raise AssertionError


class Slow(Endless):
    id = "slow"
    timeout = 0.3


class SlowOnDemo(Slow):
    id = "slow-on-demo"
    depends_on = "wholeslide"


class Hurried(Square):
    """Needs a little longer than it says."""

    id = "hurried"
    timeout = 0.01

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        threading.Event().wait(0.5)
        return Result("in time")


class Greedy(Square):
    """Fills memory, in a process of its own as well, until it is stopped."""

    id = "greedy"
    memory_gb = 0.5

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        fills = "held = [bytearray(2**22) for _ in range(2**10)]; import threading; threading.Event().wait()"
        with subprocess.Popen([sys.executable, "-S", "-c", fills]) as process:
            sys.stdout.write(f"{process.pid}\n")
            process.wait()
        return Result("had 4 GiB")


class Hidden(Square):
    """Fills memory in a process that is nobody's child any more, in a session of its own."""

    id = "hidden"
    memory_gb = 0.5

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        fills = "held = [bytearray(2**22) for _ in range(2**8)]; import threading; threading.Event().wait()"
        starts = (
            "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True).pid, flush=True)"
        )
        command = [sys.executable, "-S", "-c", starts, sys.executable, "-S", "-c", fills]
        subprocess.run(command, check=True)
        threading.Event().wait()
        raise AssertionError


class Stubborn(Square):
    """Takes every error for one that it can go on after."""

    id = "stubborn"
    timeout = 0.3

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        while True:
            with contextlib.suppress(Exception):
                threading.Event().wait()


class Forgiving(Square):
    """Takes an error for one that a result can be given after."""

    id = "forgiving"
    timeout = 0.3

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        with contextlib.suppress(Exception):
            threading.Event().wait()
        return Result("all the same")


class Mistaken(Square):
    """Takes an error for another one."""

    id = "mistaken"
    timeout = 0.3

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        try:
            threading.Event().wait()
        except Exception as error:
            raise AppError("there is no tissue on it") from error
        raise AssertionError


class Lacking(Square):
    """Wants to be told a word."""

    id = "lacking"

    def missing(self) -> str | None:
        return "say the words" if self.params.words == "a square" else None


NOT_AN_APP = 42
