"""Trying an app on a slide of this machine, without any server."""
