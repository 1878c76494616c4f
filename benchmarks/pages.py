"""`python -m benchmarks.pages [BENCH.json] [SCALING.json]`: rewrites all figures in the pages from stored results.

Results are kept as `docs/performance.json`; from it come `docs/performance.md`, its pictures, and the parts of
`README.md` and `README.zh-CN.md` between the two marks. Without files, the pages are made anew from what is kept.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks import picture, record, scaling, table
from benchmarks.__main__ import caption
from benchmarks.processes import ROOT
from benchmarks.rows import SUBJECT, rows
from benchmarks.table import Line, Ratio, shown

BEGIN, END = "<!-- figures: python -m benchmarks.pages -->", "<!-- end of figures -->"
TIE = 0.05  # between separate processes on one machine, less than this is no difference
_README = ("lamina", "keras_jax", "keras_tensorflow", "torch_eager", "sklearn")
_CHINESE = {"Keras on JAX": "Keras (JAX)", "Keras on TensorFlow": "Keras (TF)", "PyTorch eager": "PyTorch"}
_LIBRARIES = {
    "jax": "JAX",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
    "scikit-learn": "scikit-learn",
}
_UNITS = {"samples/s": "样本/秒", "rows/s": "行/秒", "steps/s": "步/秒", "s": "秒", "us": "微秒", "ms": "毫秒"}
_WORDS = {
    "iris: start to first trained epoch, whole process": "iris：从启动到第一个 epoch 训练完成，整个进程",
    "layers of 64 units, a step": "层，每层 64 个单元，一步",
    "networks of": "个网络",
    "at once": "同时训练",
    "predict": "预测",
    " rows,": " 行,",
    " row,": " 行,",
    "batch": "批大小",
}
_HEADS = {
    "en": ("what", "unit", "lamina to best other"),
    "zh": ("内容", "单位", "lamina 与其余最快者之比"),
}


def readme(kept: dict[str, Any], language: str) -> str:
    """Return the part of a README: a sentence on how, the table, a sentence on where lamina does not win."""
    lines = table.summarize(kept["bench"]["measurements"])
    found = {one.row: one for one in table.ratios(lines) if one.rival == one.row}
    what, unit, ratio = _HEADS[language]
    names = [peer_title(way, language) for way in _README]
    head = [what, unit, f"**{names[0]}**", *names[1:], ratio]
    text = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for name, one in found.items():
        row = rows()[name]
        by_way = {alias(line.way): line.value for line in lines if line.row == name}
        cells = [number(by_way.get(way)) for way in _README]
        title = row_title(name, language)
        measure = _UNITS.get(row.unit, row.unit) if language == "zh" else row.unit
        cells = [title, measure, *cells, "–" if one.ratio is None else f"{one.ratio:.2f}"]
        text.append("| " + " | ".join(cells) + " |")
    more = {"en": "[All numbers](docs/performance.md).", "zh": "[全部数字](docs/performance.md)。"}[language]
    closing = f"{losses(lines, list(found.values()), language)} {more}"
    return "\n".join([introduction(kept, language), "", *text, "", closing])


def row_title(name: str, language: str) -> str:
    """Return what a row is called in a language; figures and the commas after them are the same in both."""
    title = rows()[name].title
    for word, chinese in _WORDS.items() if language == "zh" else ():
        title = title.replace(word, chinese)
    return title


def peer_title(way: str, language: str) -> str:
    """Return what a peer is called in a language."""
    title = {"sklearn": "scikit-learn", "lamina": "lamina"}.get(way) or rows()["start"].ways[way]
    return _CHINESE.get(title, title) if language == "zh" else title


def alias(way: str) -> str:
    """Return the peer behind a way: the same library has one column."""
    return {"torch": "torch_eager"}.get(way, way)


def number(value: float | None) -> str:
    """Return a number for a table."""
    return "–" if value is None else shown(value)


def introduction(kept: dict[str, Any], language: str) -> str:
    """Return where, when and how it was measured."""
    bench = kept["bench"]
    where, versions = bench["machine"], bench["versions"]
    libraries = [f"{title} {versions[name]}" for name, title in _LIBRARIES.items() if versions.get(name)]
    processor, cores, date, rounds = where["processor"], where["cores"], bench["date"][:10], bench["options"]["rounds"]
    busy = bench["load"] > record.BUSY * cores
    gpu = ", ".join(device for device in where["devices"] if not device.startswith("cpu"))
    gpu = gpu or {"en": "no GPU", "zh": "无 GPU"}[language]
    if language == "zh":
        text = (
            f"每个库在自己的进程中轮流运行，取最多 {rounds} 轮的中位数；训练通过带进度行和验证的 `model.fit`，"
            f"Adam，稳定后的 epoch。\n{cores} 个核心 ({processor})，{gpu}，{date}；{'、'.join(libraries)}。"
            "`make bench` 打印您机器上的结果。"
        )
        return text + (f"测量前机器负载为 {bench['load']:.1f}：这些数字不可靠。" if busy else "")
    text = (
        f"Medians of up to {rounds} rounds, each library in a process of its own, in turn; training through `model.fit`"
        f" with its progress lines\nand validation, Adam, steady epochs. {cores} cores of an {processor}, {gpu},"
        f" {date}; {', '.join(libraries)}. `make bench` prints yours."
    )
    return text + (
        f" Other programs were running (load {bench['load']:.1f}): do not trust these numbers." if busy else ""
    )


def losses(lines: Sequence[Line], found: Sequence[Ratio], language: str) -> str:
    """Return in words where lamina does not win, from the ratios alone."""
    known = rows()
    behind = [one for one in found if one.ratio is not None and one.ratio < 1 - TIE]
    level = [one for one in found if one.ratio is not None and 1 - TIE <= one.ratio <= 1 + TIE]

    def one_of(one: Ratio) -> str:
        best = known[one.rival].ways[one.best or ""]
        title = f"{_CHINESE.get(best, best)}" if language == "zh" else best
        name = row_title(one.row, language)
        ratio = 1 / (one.ratio or 1.0)
        return (
            f"{name}（{title} 快 {ratio:.2f} 倍）"
            if language == "zh"
            else f"{name} ({title} is {ratio:.2f} times as fast)"
        )

    if language == "zh":
        text = f"lamina 落后之处：{'；'.join(map(one_of, behind))}。" if behind else "lamina 没有落后之处。"
        names = "；".join(row_title(one.row, language) for one in level)
        return text + (f"不相上下：{names}。" if level else "")
    text = (
        f"Where lamina does not win: {'; '.join(map(one_of, behind))}." if behind else "lamina is behind nowhere here."
    )
    return text + (f" Level: {'; '.join(known[one.row].title for one in level)}." if level else "")


def page(kept: dict[str, Any]) -> str:
    """Return `docs/performance.md`."""
    bench = kept["bench"]
    lines = table.summarize(bench["measurements"])
    found = table.ratios(lines)
    versions = ", ".join(f"{name} {version}" for name, version in bench["versions"].items() if version)
    where = bench["machine"]
    parts = [
        "# Performance",
        "Every figure of this page comes from `docs/performance.json`; `python -m benchmarks.pages` writes the page."
        " `make bench` measures anew; `python -m benchmarks.pages benchmarks/results/FILE.json` takes a result over.",
        f"Machine: {where['processor']}, {where['cores']} cores, {where['system']}, {', '.join(where['devices'])};"
        f" {where['matmul_gigaflops']:g} GFLOP/s in float32 products. Date: {bench['date'][:10]}."
        f" Versions: {versions}.",
        f"Up to {bench['options']['rounds']} rounds of {bench['options']['seconds']:g} s, each measurement in a process"
        f" of its own, in turn; load of the machine before the start: {bench['load']:.1f}."
        + (f" **{record.warning(bench)}**" if record.warning(bench) else "")
        + (" **A quick run: it shows that everything runs, not how fast it is.**" if bench["options"]["quick"] else ""),
        "![speed of each library beside lamina's](performance.png)",
        "## Beside the best other library",
        _table(("what", "best other", "lamina is", "asked for", "reached"), [_ratio(one) for one in found]),
        losses(lines, [one for one in found if one.rival == one.row], "en"),
        *_short(found),
        "## All numbers",
        _table(("what", "way", "median", "worst", "best", "times"), [_line(line) for line in lines]),
        *table.notes(lines),
        "## How time grows",
        *_scaling(kept.get("scaling")),
        "## On a GPU",
        _gpu(where["devices"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def _ratio(one: Ratio) -> list[str]:
    row, rival = rows()[one.row], rows()[one.rival]
    best = rival.ways[one.best] if one.best else "–"
    best += f" on {rival.title}" if one.rival != one.row else ""
    reached = {None: "", True: "yes", False: "no"}[one.reached]
    return [row.title, best, "–" if one.ratio is None else f"{one.ratio:.2f} x", table.goal(one, row), reached]


def _line(line: Line) -> list[str]:
    row = rows()[line.row]
    name = row.ways.get(line.way, line.way)
    title = f"**{name}**" if line.way == SUBJECT else name
    if line.value is None:
        return [row.title, title, "–", "", "", "0"]
    return [row.title, title, shown(line.value, row.unit), shown(line.worst), shown(line.best), str(line.count)]


def _short(found: Sequence[Ratio]) -> list[str]:
    """Return a sentence on what is asked for and not reached."""
    missed = [one for one in found if one.reached is False]
    if not missed:
        return ["All that is asked for is reached." if any(one.reached for one in found) else ""]
    names = "; ".join(f"{rows()[one.row].title} (asked for: {table.goal(one, rows()[one.row])})" for one in missed)
    return [f"Asked for and not reached: {names}."]


def _scaling(kept: dict[str, Any] | None) -> list[str]:
    if kept is None:
        return ["Not measured yet: `make bench-scaling`, then `python -m benchmarks.pages` with its file."]
    limits = kept["limits"]
    return [
        "`make bench-scaling` holds steps and calls against `fixed + sum over layers of (each + max(products, bytes))`,"
        f" with the measured limits: {limits['gigaflops']:,.0f} GFLOP/s, {limits['gigabytes']:.1f} GB/s from memory,"
        f" {1e6 * limits['step']:.3g} us for a step and {1e6 * limits['call']:.3g} us for a `predict` that do nothing."
        + (f" **{record.warning(kept)}**" if record.warning(kept) else "")
        + (" **A quick run: half of the points, a fifth of a second each.**" if kept["options"]["quick"] else ""),
        "![time over samples, width, depth and batch](scaling.png)",
        "\n".join(f"- {line}" for line in (*kept["growth"], *map(scaling.said, kept["verdicts"]))),
    ]


def _gpu(devices: Sequence[str]) -> str:
    if any(not device.startswith("cpu") for device in devices):
        return f"The figures above were measured on {', '.join(devices)}."
    return (
        "Not measured: no GPU was available. On a machine with one, `pip install '.[cuda]'` and `python -m benchmarks`"
        " measure there: lamina and Keras on JAX take the GPU by themselves, the others where their builds do."
        " The native kernels are for the CPU alone; on a GPU every step runs through XLA."
    )


def between(text: str, part: str) -> str:
    """Return a page with what stands between the marks replaced."""
    pattern = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise click.ClickException(f"the page lacks the marks {BEGIN} and {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{part}\n{END}", text)


def made(kept: dict[str, Any], root: Path) -> dict[Path, str]:
    """Return the pages and what they should say."""
    pages = {root / "docs/performance.md": page(kept)}
    for name, language in (("README.md", "en"), ("README.zh-CN.md", "zh")):
        pages[root / name] = between((root / name).read_text(encoding="utf-8"), readme(kept, language))
    return pages


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Rewrite the pages from FILES, results of `make bench` and `make bench-scaling`, or from those that are kept."""
    store = ROOT / "docs/performance.json"
    kept: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    for file in files:
        given = json.loads(file.read_text())
        if given["options"]["kind"] not in ("bench", "scaling"):
            raise click.ClickException(f"{file} holds no result of the table or of scaling")
        kept[given["options"]["kind"]] = given
    if "bench" not in kept:
        raise click.ClickException("there is no result yet: name the file that `make bench` has written")
    store.write_text(json.dumps(kept, indent=1) + "\n")
    for path, text in made(kept, ROOT).items():
        path.write_text(text, encoding="utf-8")
        click.echo(f"Written: {path}")
    picture.draw(table.summarize(kept["bench"]["measurements"]), ROOT / "docs/performance.png", caption(kept["bench"]))
    if "scaling" in kept:
        scaling.picture(kept["scaling"]["points"], ROOT / "docs/scaling.png", caption(kept["scaling"]))


if __name__ == "__main__":
    main()
