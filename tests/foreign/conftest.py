"""The parts that the programs of others are tried with, as real processes, and what they share with tests/e2e."""

from __future__ import annotations

from tests.e2e.conftest import quiet_site, site

__all__ = ["quiet_site", "site"]
