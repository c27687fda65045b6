"""What the suite on real slides rests on."""

from __future__ import annotations

from pathlib import Path


def test_the_folder_holds_all_files_that_its_readme_lists(real_slides: Path) -> None:
    rows = (line.split("|") for line in (real_slides / "README.md").read_text().splitlines() if line.startswith("| "))
    listed = [row[1].strip() for row in rows if "/" in row[1]]

    names = [each for row in listed if not (each := row.split(",")[0]).endswith("/")]
    assert names
    assert [each for each in names if not (real_slides / each).is_file()] == []
