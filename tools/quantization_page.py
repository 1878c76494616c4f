"""Measure what smaller weights save and cost, and write the table into `docs/quantization.md`, without the times.

python -m tools.quantization_page
"""

import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lamina.demo import job, quantization

PAGE = Path(__file__).parent.parent / "docs" / "quantization.md"
START, END = "<!-- measured -->\n", "<!-- end -->"


def table(rows: Sequence[quantization.Row], digits: int) -> str:
    """Return the rows as a table of Markdown, with what was measured and where."""
    lines = [
        f"{' - '.join(map(str, job.WIDTHS))}, {digits:,} test digits, {platform.machine()}.",
        "",
        "| weights | kB | of float32 | accuracy | answers changed |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.weight_bytes / 1000:,.0f} | {row.weight_bytes / rows[0].weight_bytes:.0%} "
            f"| {row.accuracy:.2%} | {row.changed} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the table."""
    _, _, test = job.digits("sample", 1)
    text = table(quantization.run(), len(test[1]))
    page = PAGE.read_text()
    PAGE.write_text(re.sub(f"(?<={re.escape(START)}).*?(?={END})", lambda _: text, page, flags=re.DOTALL))
    print(PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
