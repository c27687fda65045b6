from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import structlog
from slidehook.logs import set_up_logging

def fail(token):
    raise RuntimeError("what went wrong")

set_up_logging()
try:
    fail("s3cret")
except RuntimeError:
    structlog.get_logger().exception("attempt failed", job="j-17")
"""


def test_a_logged_traceback_shows_the_lines_but_no_values() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert "what went wrong" in done.stderr
    assert "job=j-17" in done.stderr
    assert "s3cret" not in done.stderr
    assert done.stdout == ""


HOSTILE = r"""
import structlog
from slidehook.logs import set_up_logging

WORDS = "a\x1b[31m\x9b32m\u202eb\n2026-01-01 00:00:00 [info     ] forged\r\x07\x7f\x85\u2028c"

class Strange:
    def __repr__(self):
        return WORDS

set_up_logging()
log = structlog.get_logger()
log.warning(WORDS, reason=WORDS, several=[WORDS], odd=Strange(), error=ValueError(WORDS), count=3)
structlog.contextvars.bind_contextvars(job=WORDS)
log.error("the app has a fault", exception="Traceback\n  line 1\n" + WORDS)
try:
    raise RuntimeError(WORDS)
except RuntimeError:
    log.exception("a fault")
"""


def test_no_value_of_a_line_commands_the_terminal_or_begins_a_line_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, timeout=120, check=True)
    text = done.stderr.decode()
    assert [each for each in text if not each.isprintable() and each != "\n"] == []
    assert [line for line in text.split("\n") if "forged" in line and line.startswith("2026-01-01")] == []
    begun = [line for line in text.split("\n") if line[:1].isdigit()]
    assert len(begun) == 3
    assert "count=3" in begun[0]
    assert "\n      line 1\n" in text, "a traceback keeps its line breaks"
