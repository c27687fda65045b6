"""Finds the installed apps, tunes them as the site says, and runs them."""
