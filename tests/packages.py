"""Somebody else's package of apps, installed in a folder of its own."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, module: str, source: str, apps: dict[str, str]) -> Path:
    """Write a package with one module whose classes are registered as apps, by entry point; returns `folder` back."""
    (folder / f"{module}.py").write_text(source)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    points = "".join(f"{name} = {module}:{cls}\n" for name, cls in apps.items())
    (about / "entry_points.txt").write_text(f"[slidehook.apps]\n{points}")
    return folder
