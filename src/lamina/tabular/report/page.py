"""The report as one HTML page that needs no network, and as PNGs beside it."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np

from lamina._types import Config
from lamina.errors import message
from lamina.files import atomic

_LESS = {"log loss", "calibration error", "RMSE", "mean absolute error"}  # the others are better the larger they are
_PERCENT = {"accuracy"}
_UNITS = {"RMSE", "mean absolute error"}  # those of the target, which may be of any size
_SHOWN = 25  # bars of the importance of columns

_STYLE = """
:root { --ink:#1f2933; --pale:#616e7c; --line:#e4e7eb; --accent:#2f6fde; --ground:#f5f7fa; --card:#fff; }
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink); line-height:1.5;
  font-family:ui-sans-serif,system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans",sans-serif; font-size:15px; }
main { max-width:1080px; margin:0 auto; padding:40px 24px 64px; }
header h1 { font-size:30px; line-height:1.2; margin:0 0 6px; letter-spacing:-.01em; }
header p { margin:0; color:var(--pale); }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(160px,1fr)); gap:16px; margin:28px 0 16px; }
.figure { background:var(--card); border:1px solid var(--line); border-radius:12px; padding:16px 18px; }
.figure b { display:block; font-size:28px; font-weight:650; letter-spacing:-.02em; font-variant-numeric:tabular-nums; }
.figure span { color:var(--pale); font-size:13px; }
section { background:var(--card); border:1px solid var(--line); border-radius:12px; padding:20px 24px; margin:16px 0;
  break-inside:avoid; }
h2 { font-size:17px; margin:0 0 4px; }
section > p { margin:0 0 12px; color:var(--pale); max-width:76ch; }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(380px,1fr)); gap:0 16px; }
.pair section { margin:8px 0; }
svg { display:block; width:100%; height:auto; max-width:820px; margin:0 auto; }
.pair svg { max-width:480px; }
.wide { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
th { text-align:left; color:var(--pale); font-weight:500; font-size:13px; }
th,td { padding:7px 12px 7px 0; border-bottom:1px solid var(--line); }
tr:last-child td { border-bottom:0; }
th.n,td.n { text-align:right; }
td.n + td, th.n + th:not(.n) { padding-left:16px; }
td.best { font-weight:650; color:var(--accent); }
tr.own td:first-child { font-weight:650; }
ul { margin:0; padding-left:20px; } li { margin:4px 0; }
footer { color:var(--pale); font-size:13px; margin-top:24px; }
details summary { cursor:pointer; font-weight:600; font-size:17px; }
@media print { body { background:#fff; } main { padding:0; } }
@media (max-width:600px) { main { padding:20px 12px; } section { padding:16px; } .pair { grid-template-columns:1fr; } }
"""


def write(found: Config, folder: Path) -> list[Path]:
    """Write `report.html`, `report.json` and a PNG for each figure; return their paths.

    Args:
        found: What `job.train` found.
        folder: Where.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(message("A report needs Matplotlib.", fix="pip install 'lamina[tabular]'")) from error
    from lamina.tabular.report import figures

    drawn = draw(found)
    paths = []
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        figures.png(figure, path)
        paths.append(path)
    text = page(found, {name: figures.svg(figure) for name, figure in drawn.items()})
    for path, content in ((folder / "report.html", text), (folder / "report.json", json.dumps(found, indent=1))):
        atomic.write(str(path), [content.encode()])
        paths.append(path)
    return paths


def draw(found: Config) -> dict[str, Any]:
    """The figures by name."""
    from lamina.tabular.report import figures

    drawn: dict[str, Any] = {}
    target = found["target"]
    if "calibration" in found:
        values = {name: np.array(column) for name, column in found["calibration"].items()}
        label = f"of {found['classes'][1]}" if len(found["classes"]) == 2 else "of the likeliest class"
        drawn["calibration"] = figures.calibration(**values, label=label)
        drawn["confusion"] = figures.confusion(np.array(found["confusion"]), found["classes"])
    if "predictions" in found:
        pair = np.array(found["predictions"]["predicted"]), np.array(found["predictions"]["true"])
        drawn["predictions"] = figures.predictions(*pair, target)
        drawn["residuals"] = figures.residuals(*pair, target)
    if found.get("importance"):
        rows = found["importance"][:_SHOWN]
        means, spreads = (np.array([row[key] for row in rows]) for key in ("mean", "spread"))
        drawn["importance"] = figures.importance([row["column"] for row in rows], means, spreads, found["metric"])
    if any(found["curves"]):
        drawn["curves"] = figures.curves([c for c in found["curves"] if c], found["kept"], found["curve metric"])
    return drawn


def number(name: str, value: float) -> str:
    """A score as people read it."""
    if value != value:
        return "–"
    if name in _PERCENT:
        return f"{value:.1%}"
    if name in _UNITS:
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.4f}"


def best(scores: dict[str, dict[str, float]], name: str) -> str:
    """Who is best at a score; a guess, of which the calibration is perfect, does not count."""
    real = {who: row[name] for who, row in scores.items() if row[name] == row[name] and who != "guess"}
    return "" if not real else (min if name in _LESS else max)(real, key=real.__getitem__)


def page(found: Config, pictures: dict[str, str]) -> str:
    """The text of the page."""
    title = f"{html.escape(found['target'])} from {found['used']} columns"
    parts = [
        f"<header><h1>{title}</h1><p>{html.escape(found['headline'])}</p></header>",
        _figures(found),
        _scores(found),
        _pair(found, pictures),
        _picture(pictures, "importance", "What it looks at", _IMPORTANCE.format(metric=found["metric"])),
        _picture(pictures, "curves", "How it learnt", _CURVES),
        _columns(found),
        _notes(found),
        f"<footer>Written by lamina {html.escape(found['version'])}. This page needs no network.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


_IMPORTANCE = (
    "Each column was shuffled in turn among rows the model has not seen; the bar is how much its {metric} grew, the "
    "line the spread over repetitions. Columns that say the same as another look less important than they are."
)
_CURVES = (
    "Measured after each epoch on the rows that a network held back. The dot is the epoch that was kept. The rate of "
    "learning rises and falls in cycles, each longer than the one before, which makes the waves."
)
_TEXTS = {
    "calibration": ("Can its probabilities be trusted?", "On the dashed line, what it says is how often it is true. "
                    "A dot is larger for more rows."),
    "confusion": ("What it takes for what", "Rows of each true class, by what was predicted."),
    "predictions": ("Predicted beside true", "On the dashed line a prediction is exact."),
    "residuals": ("How far off it is", "The outermost bars hold all that is further off."),
}  # fmt: skip


def _figures(found: Config) -> str:
    own = found.get("scores", {}).get("this model", {})
    items = [(number(name, value), name) for name, value in list(own.items())[:4]]
    items.append((f"{found['seconds']:,.0f} s", "training"))
    return '<div class="figures">' + "".join(
        f'<div class="figure"><b>{value}</b><span>{html.escape(name)}</span></div>' for value, name in items
    ) + "</div>"  # fmt: skip


_WHO = {
    "guess": {"classification": "always the commonest class", "regression": "always the mean"},
    "boosted trees": dict.fromkeys(("classification", "regression"), "boosted trees (scikit-learn, as they come)"),
}


def _scores(found: Config) -> str:
    scores = found.get("scores")
    if not scores:
        return ""
    names = list(scores["this model"])
    head = "".join(f'<th class="n">{html.escape(name)}{" ↓" if name in _LESS else " ↑"}</th>' for name in names)
    rows = []
    for who, row in scores.items():
        label = _WHO.get(who, {}).get(found["task"], who)
        cells = "".join(
            f'<td class="n{" best" if best(scores, name) == who else ""}">{number(name, row[name])}</td>'
            for name in names
        )
        rows.append(f"<tr{' class=own' if who == 'this model' else ''}><td>{html.escape(label)}</td>{cells}</tr>")
    text = f"On {found['test rows']:,} rows that none of them has seen. ↑ more is better, ↓ less is better."
    return (
        f"<section><h2>How good it is</h2><p>{text}</p><div class=wide><table><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _pair(found: Config, pictures: dict[str, str]) -> str:
    shown = [name for name in _TEXTS if name in pictures]
    if not shown:
        return ""
    if len(found["classes"] or ()) > 12:  # a large matrix wants the width of the page
        return "".join(_picture(pictures, name, *_TEXTS[name]) for name in shown)
    return '<div class="pair">' + "".join(_picture(pictures, name, *_TEXTS[name]) for name in shown) + "</div>"


def _picture(pictures: dict[str, str], name: str, title: str, text: str) -> str:
    if name not in pictures:
        return ""
    return f'<section id="{name}"><h2>{title}</h2><p>{html.escape(text)}</p>{pictures[name]}</section>'


def _columns(found: Config) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(row['column'])}</td><td>{row['kind']}</td><td class=n>{row['missing']:,}</td>"
        f"<td>{html.escape(row['holds'][:60])}</td><td>{html.escape(row['use'])}</td></tr>"
        for row in found["columns"][:500]
    )
    more = len(found["columns"]) - 500
    return (
        f"<section><details open><summary>Its {len(found['columns']):,} columns</summary><div class=wide><table><thead>"
        "<tr><th>column</th><th>type</th><th class=n>missing</th><th>holds</th><th>used as</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{f'<p>and {more:,} more</p>' if more > 0 else ''}</details></section>"
    )


def _notes(found: Config) -> str:
    facts = "".join(f"<li>{html.escape(str(note))}</li>" for note in [*found["notes"], *found["facts"]])
    return f"<section><h2>Notes</h2><ul>{facts}</ul></section>"
