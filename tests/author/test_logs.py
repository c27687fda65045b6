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
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    assert "what went wrong" in done.stderr
    assert "job=j-17" in done.stderr
    assert "s3cret" not in done.stderr
    assert done.stdout == ""
