"""Finds the installed apps, sets their parameters, and notices when their code changes."""
