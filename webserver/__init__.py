"""The front door: the IA-API's routes, which make jobs of what DPAT asks for."""

from webserver.application import create_app

__all__ = ["create_app"]
