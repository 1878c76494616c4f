"""Write the end of `docs/differences.md`: the cases of Keras's own tests that are answered otherwise, and why.

python -m tools.differences
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "differences.md"
LIST = ROOT / "tests" / "conformance" / "differences.json"
HEAD = "## What Keras's own tests show"


def section() -> str:
    """Return the text of the section."""
    entries = json.loads(LIST.read_text())
    lines = [
        HEAD,
        "",
        "`make conformance` runs Keras's own, unmodified tests. These cases do not count against lamina, for these"
        " reasons; `*` stands for any text. `make pages` writes this list.",
    ]
    for title, outside in (("Answered otherwise, on purpose", False), ("Not about fully connected networks", True)):
        lines += ["", f"### {title}", "", "| Reason | Cases |", "|---|---|"]
        mine = [entry for entry in entries if (entry.get("kind") == "outside") == outside]
        for reason in dict.fromkeys(entry["reason"] for entry in mine):
            cases = [_case(entry) for entry in mine if entry["reason"] == reason]
            lines.append(f"| {reason} | {', '.join(dict.fromkeys(cases))} |")
    return "\n".join(lines) + "\n"


def _case(entry: dict[str, str]) -> str:
    file, case = entry["file"], entry["case"]
    return f"`{file}`" if case == "*" else f"`{file}`: `{case}`"


def page() -> str:
    """Return the page with the section anew."""
    return PAGE.read_text().partition(HEAD)[0] + section()


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit(0)
