"""The webserver for DPAT: the IA-API's routes, which turn DPAT's requests into jobs."""

from webserver.application import create_app

__all__ = ["create_app"]
