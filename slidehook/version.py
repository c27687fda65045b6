"""slidehook's own version."""

from __future__ import annotations

from importlib.metadata import version

SOFTWARE_VERSION = version("slidehook")
