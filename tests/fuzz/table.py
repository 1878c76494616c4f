"""The results of the long runs, as lines and as the table in `docs/files.md`."""

import json
import pathlib
from typing import Any

from tests.fuzz import targets

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "files.md"
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"


def line(found: dict[str, Any]) -> str:
    """Return a result in words."""
    return (
        f"{found['name']}: {found['read']:,} read, {found['refused']:,} refused, {len(found['failures'])} failures, "
        f"{found['seconds']:.0f} s of CPU"
    )


def rows(folder: pathlib.Path) -> str:
    """Return the table of all results in a folder, in the order of the readers."""
    head = "| reader | CPU seconds | damaged files read | refused | failures | day |\n|---|--:|--:|--:|--:|---|"
    found = [json.loads(path.read_text()) for name in targets.names() if (path := folder / f"{name}.json").exists()]
    return "\n".join(
        [
            head,
            *(
                f"| {targets.title(one['name'])} | {one['seconds']:,.0f} | {one['read']:,} | {one['refused']:,} | "
                f"{len(one['failures'])} | {one['date']} |"
                for one in found
            ),
        ]
    )


def write(folder: pathlib.Path) -> None:
    """Put the table in its place in the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{rows(folder)}\n{END}{after}")
