import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the benchmarks are no part of the package

from benchmarks import __main__ as command
from benchmarks import measure, peers, picture, processes, run, start, table
from benchmarks import record as records
from benchmarks.rows import Row, chosen, rows
from benchmarks.workloads import WORKLOADS


class Clock:
    """Time that passes where a peer works: `once` for a fit, `compiling` in the first, `epoch` for each epoch."""

    def __init__(self, *, once=0.5, compiling=2.0, epoch=0.25, noise=()):
        self.now, self.once, self.compiling, self.epoch, self.noise = 100.0, once, compiling, epoch, list(noise)
        self.fits = []

    def __call__(self):
        return self.now

    def train(self, epochs=1):
        first = not self.fits
        self.fits.append(epochs)
        self.now += self.once + epochs * self.epoch + (self.compiling if first else 0.0)
        self.now += self.noise.pop(0) if self.noise else 0.0


def measurement(way, value=None, *, row="tiny", number=0, **more):
    result = {"value": value, "epoch": 1.0, "compiling": 2.0, "epochs": 3} if value else {}
    return {"round": number, "row": row, "way": way, **result, **more}


# Timing


def test_what_a_fit_does_once_and_compiling_do_not_count_as_an_epoch():
    clock = Clock()
    timing = measure.training(clock.train, 3.0, clock)
    assert timing.epoch == pytest.approx(0.25)
    assert timing.compiling == pytest.approx(2.0)
    assert timing.epochs >= 2


def test_one_disturbed_fit_does_not_move_the_median():
    clock = Clock()
    measure.training(clock.train, 3.0, clock)
    longest = clock.fits.index(max(clock.fits[4:]), 4)
    disturbed = Clock(noise=[0.0] * longest + [60.0])
    assert measure.training(disturbed.train, 3.0, disturbed).epoch == pytest.approx(0.25)


def test_a_slow_peer_is_measured_once_and_a_fast_one_over_many_epochs():
    slow, fast = Clock(epoch=20.0), Clock(epoch=1e-3, once=1e-4)
    assert measure.training(slow.train, 3.0, slow).epochs == 2
    assert sum(slow.fits) <= 8
    assert measure.training(fast.train, 3.0, fast).epochs > 500


def test_an_epoch_that_seems_to_take_no_time_is_an_error():
    clock = Clock(epoch=0.0)
    with pytest.raises(RuntimeError, match="no time"):
        measure.training(clock.train, 3.0, clock)


def test_a_pass_of_predict_is_the_median_of_several():
    clock = Clock(once=0.0)
    timing = measure.inference(clock.train, 2.0, clock)
    assert timing.epoch == pytest.approx(0.25)
    assert timing.compiling == pytest.approx(2.0)
    assert timing.epochs == 8


# Workloads


@pytest.mark.parametrize("name", WORKLOADS)
def test_rows_are_whole_batches_with_every_class(name):
    workload = WORKLOADS[name].quick()
    assert workload.rows % workload.batch == 0
    assert WORKLOADS[name].rows % WORKLOADS[name].batch == 0
    (x, y), (x_validation, y_validation) = WORKLOADS[name].data()
    assert (x.shape, x.dtype) == ((WORKLOADS[name].rows, workload.widths[0]), np.float32)
    assert y.dtype == np.int32
    assert set(y) == set(range(workload.widths[-1]))
    assert len(x_validation) == len(y_validation) == WORKLOADS[name].validation_rows


def test_data_is_the_same_each_time_and_its_labels_can_be_learned():
    (x, y), (x_validation, y_validation) = WORKLOADS["small"].data()
    np.testing.assert_array_equal(x, WORKLOADS["small"].data()[0][0])
    assert not np.array_equal(x, WORKLOADS["small"].data(seed=1)[0][0])
    centres = np.stack([x[y == label].mean(axis=0) for label in range(10)])
    distances = ((x_validation[:, None] - centres) ** 2).sum(axis=-1)
    assert (distances.argmin(axis=1) == y_validation).mean() > 0.95


def test_the_workloads_are_those_agreed_on():
    assert {name: (one.widths, one.batch, one.policy) for name, one in WORKLOADS.items()} == {
        "tiny": ((4, 16, 3), 32, "float32"),
        "small": ((64, 128, 64, 10), 32, "float32"),
        "mnist": ((784, 512, 256, 10), 128, "float32"),
        "wide": ((1024, 4096, 4096, 1000), 512, "float32"),
        "wide_bf16": ((1024, 4096, 4096, 1000), 512, "mixed_bfloat16"),
    }


def test_every_row_of_the_table_is_there_with_lamina_and_with_peers():
    found = rows()
    assert list(found) == [
        *WORKLOADS, "predict_1", "predict_32", "predict_256", "predict_1M", "start", "depth", "many_tiny", "many_small",
    ]  # fmt: skip
    for row in found.values():
        assert "lamina" in row.ways
        assert set(row.ways) - set(row.own)
        assert row.goal or row.bound or row.name == "many_small"
        assert not row.rival or row.rival in found


def test_rows_are_chosen_by_name_and_by_family():
    assert [row.name for row in chosen(["predict", "start"])] == [
        "predict_1", "predict_32", "predict_256", "predict_1M", "start",
    ]  # fmt: skip
    assert [row.name for row in chosen(["wide_bf16"])] == ["wide_bf16"]


# Peers


@pytest.mark.parametrize("name", peers.PEERS)
def test_every_peer_has_the_same_entries_and_imports_its_library_late(name):
    before = set(sys.modules)
    peer = peers.load(name)
    assert {type(peer.NAME), type(peer.REQUIRES)} == {str, tuple}
    assert callable(peer.fit)
    assert callable(peer.predict)
    assert not {"torch", "tensorflow", "keras", "sklearn"} & (set(sys.modules) - before)


def row(name="x", ways=("lamina", "b", "c"), **more):
    return Row(name, name, "samples/s", True, {way: way for way in ways}, lambda *_: {"value": 1.0}, **more)


def test_ways_take_turns_and_begin_with_another_one_each_round():
    order = list(run.schedule([row("x", "abc"), row("y", "abc")], 2))
    assert [way for _, one, way in order if one.name == "x"] == ["a", "b", "c", "b", "c", "a"]
    assert [number for number, *_ in order] == [0] * 6 + [1] * 6


def test_a_peer_that_is_not_installed_is_reported_as_absent(monkeypatch):
    monkeypatch.setattr(peers, "missing", lambda _: ["no_such_package"])
    assert rows()["tiny"].measure("sklearn", 1.0, True) == {"absent": "no_such_package is not installed"}


def test_scikit_learn_is_measured_in_a_process_of_its_own():
    result = rows()["tiny"].measure("sklearn", 0.05, True)
    assert result["value"] > 0
    assert result["epochs"] >= 2


def test_a_process_that_breaks_is_reported_with_its_error():
    result = processes.answer(["-m", "benchmarks.child", "no such workload", "sklearn", "0.05", "quick"])
    assert result == {"failed": "KeyError: 'no such workload'"}


def test_what_is_absent_or_clearly_behind_is_not_measured_again():
    asked = []
    speeds = {"lamina": 1.0, "best": 100.0, "near": 90.0, "far": 10.0}

    def answer(way, *_):
        asked.append(way)
        return {"value": speeds[way]} if way in speeds else {"absent": "not here"}

    one = row("x", ("lamina", "best", "near", "far", "nobody"))._replace(measure=answer)
    found = run.collect([one], rounds=3, seconds=1)
    assert {way: asked.count(way) for way in one.ways} == {"lamina": 3, "best": 3, "near": 3, "far": 1, "nobody": 1}
    assert len(found) == len(asked)


def test_where_less_is_better_the_slow_are_those_that_are_behind():
    found = [measurement(way, value, row="x") for way, value in (("lamina", 9.0), ("b", 1.0), ("c", 2.0))]
    assert run.behind(row()._replace(more=False), found) == {"c"}


@pytest.mark.parametrize("way", ["lamina", "torch_eager"])
def test_the_start_of_a_process_is_timed_as_a_whole(way):
    result = start.measured(way, 0.1, quick=True)
    assert result["value"] > 0.1
    assert result["processor"] > 0.1


# Tables


def test_medians_and_ratios_come_from_all_rounds():
    lines = table.summarize(
        [measurement("lamina", speed) for speed in (300.0, 330.0, 900.0)]
        + [measurement("keras_jax", speed) for speed in (90.0, 110.0, 10.0)]
        + [measurement("sklearn", 30.0, compiling=0.0)]
    )
    assert [(line.way, line.value, line.worst, line.best, line.count) for line in lines] == [
        ("lamina", 330.0, 300.0, 900.0, 3),
        ("keras_jax", 90.0, 10.0, 110.0, 3),
        ("sklearn", 30.0, 30.0, 30.0, 1),
    ]
    (ratio,) = table.ratios(lines)
    assert (ratio.best, ratio.reached) == ("keras_jax", False)
    assert ratio.ratio == pytest.approx(330 / 90)


@pytest.mark.parametrize(
    ("own", "other", "goal", "bound", "reached"),
    [(30.0, 60.0, 2.0, None, True), (31.0, 60.0, 2.0, None, False), (30.0, 20.0, None, 35.0, True),
     (36.0, 90.0, None, 35.0, False), (30.0, 20.0, None, None, None)],
)  # fmt: skip
def test_where_less_is_better_the_ratio_says_how_many_times_as_fast(own, other, goal, bound, reached):
    known = {"x": row(goal=goal, bound=bound)._replace(more=False)}
    lines = [table.Line("x", way, v, v, v, None, 1, "") for way, v in (("lamina", own), ("b", other))]
    (found,) = table.ratios(lines, known)
    assert found.ratio == pytest.approx(other / own)
    assert found.reached is reached


def test_half_precision_is_asked_to_beat_the_others_in_single_precision_and_shown_beside_its_own_kind():
    lines = table.summarize([
        measurement("torch_eager", 100.0, row="wide"), measurement("lamina", 180.0, row="wide_bf16"),
        measurement("torch_eager", 200.0, row="wide_bf16"),
    ])  # fmt: skip
    found = [one for one in table.ratios(lines) if one.row == "wide_bf16"]
    assert [(one.rival, round(one.ratio, 3), one.reached) for one in found] == [
        ("wide_bf16", 0.9, None),
        ("wide", 1.8, True),
    ]


@pytest.mark.parametrize("only", ["lamina", "keras_jax"])
def test_there_is_no_ratio_where_one_side_is_absent(only):
    other = "keras_jax" if only == "lamina" else "lamina"
    lines = table.summarize([measurement(only, 10.0), measurement(other, absent="not installed")])
    (ratio,) = table.ratios(lines)
    assert ratio.ratio is None


def record(**changed):
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"processor": "Abacus 9", "cores": 2, "devices": ["cpu:0 (cpu)"], "system": "Linux",
                    "matmul_gigaflops": 100.0},
        "versions": {"jax": "0.10", "keras": None},
        "load": 0.1,
        "options": {"rounds": 3, "seconds": 3.0, "kind": "bench", "quick": False},
        "measurements": [
            measurement("lamina", 9_000_000.0),
            measurement("keras_jax", 150_000.0),
            measurement("torch_compiled", absent="torch is not installed"),
            measurement("lamina", 2_000.0, row="wide"),
            measurement("keras_jax", 2_500.0, row="wide"),
            measurement("torch_compiled", row="wide", absent="torch is not installed"),
        ],
    } | changed  # fmt: skip


def test_a_stored_result_is_printed_as_a_table(tmp_path):
    path = records.write(record(), tmp_path / "results")
    assert path.name == "2026-01-02T030405-bench.json"
    result = CliRunner().invoke(command.main, ["--show", str(path)])
    assert result.exit_code == 0, result.output
    found = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in result.output.splitlines() if "│" in line
    ]
    assert ["tiny", "lamina", "9,000,000 samples/s", "9,000,000", "9,000,000", "1", "2.0 s"] in found
    assert ["", "PyTorch compiled", "-", "", "", "", ""] in found
    assert ["tiny", "Keras on JAX", "60.00 x", "60 x"] in found
    assert ["wide", "Keras on JAX", "0.80 x", "1.05 x"] in found
    assert "PyTorch compiled (tiny, wide): absent: torch is not installed" in result.output
    assert "Abacus 9, 2 cores, cpu:0 (cpu), 2026-01-02" in result.output
    assert "do not trust" not in result.output


def test_a_result_is_drawn(tmp_path):
    path = picture.draw(table.summarize(record()["measurements"]), tmp_path / "x.png", "here")
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"load": 1.7}, "load 1.7 before the start"),
        ({"options": {"rounds": 1, "seconds": 0.5, "kind": "bench", "quick": True}}, "not how fast it is"),
    ],
)
def test_numbers_that_are_not_to_be_trusted_say_so(capsys, changed, expected):
    command.draw(Console(width=120), record(**changed))
    assert expected in capsys.readouterr().out


# The command


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    """`python -m benchmarks` without the measuring: returns the result, what was asked for and what was written."""
    asked = {}

    def collect(chosen, **options):
        asked.update(rows=[one.name for one in chosen], ways=list(chosen[0].ways), **options)
        way = asked["ways"][0]
        result = measurement(way, **({} if last else {"value": 5.0}), row=chosen[0].name, **last)
        options["report"](0, chosen[0], way, result)
        return [result]

    last = {}
    where = {name: record()[name] for name in ("date", "machine", "load", "versions")}
    monkeypatch.setattr(run, "collect", collect)
    monkeypatch.setattr(records, "circumstances", lambda: dict(where))
    monkeypatch.setattr(records, "RESULTS", tmp_path)

    def begin(*arguments, **given):
        last.update(given)
        result = CliRunner().invoke(command.main, list(arguments))
        asked.pop("report", None)
        return result, asked, [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]

    return begin


def test_without_options_everything_is_measured_in_three_rounds(invoke):
    result, asked, written = invoke()
    assert result.exit_code == 0, result.output
    assert asked == {
        "rows": list(rows()), "ways": list(peers.PEERS), "rounds": 3, "seconds": 2.0, "quick": False
    }  # fmt: skip
    assert written[0]["measurements"][0]["value"] == 5.0
    assert written[0]["ratios"][0]["row"] == "tiny"


def test_options_choose_what_is_measured(invoke):
    _, asked, _ = invoke("--only", "wide, tiny", "--ways", "sklearn", "--rounds", "2", "--seconds", "9")
    assert asked == {
        "rows": ["tiny", "wide", "wide_bf16"], "ways": ["sklearn"], "rounds": 2, "seconds": 9.0, "quick": False
    }  # fmt: skip


def test_quick_is_one_short_round(invoke):
    _, asked, _ = invoke("--quick", "--rounds", "4", "--ways", "sklearn")
    assert (asked["rounds"], asked["seconds"], asked["quick"]) == (1, 0.3, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "huge"], "huge is not one of tiny, small, mnist, wide"),
        (["--ways", "sklearn,caffe"], "caffe is not one of"),
        (["--ways", ""], "nothing is not one of"),
        (["--rounds", "0"], "Invalid value"),
        (["--show", "no-such-file.json"], "does not exist"),
    ],
)
def test_a_wrong_option_is_refused(invoke, arguments, expected):
    result, asked, _ = invoke(*arguments)
    assert result.exit_code == 2
    assert expected in result.output
    assert not asked


def test_a_peer_that_failed_makes_the_command_fail_after_the_table(invoke):
    result, _, written = invoke("--only", "small", "--ways", "lamina", failed="OSError: boom")
    assert result.exit_code == 1
    assert "lamina (small): failed: OSError: boom" in result.output
    assert len(written) == 1


def test_the_circumstances_name_machine_and_versions(monkeypatch):
    from lamina import machine

    monkeypatch.setattr(machine, "matmul_rate", lambda: 1e11)
    found = records.circumstances()
    assert found["machine"]["cores"] == machine.cores()
    assert found["machine"]["matmul_gigaflops"] == 100.0
    assert found["versions"]["jax"]
    assert json.loads(json.dumps(found)) == found


# Many at once


def test_many_at_once_is_held_against_the_other_ways():
    from benchmarks import many

    measured = [
        {"case": "tiny", "way": "many", "steps_per_second": speed} for speed in (100.0, 900_000.0, 500_000.0)
    ] + [
        {"case": "tiny", "way": "torch", "steps_per_second": 5_000.0},
        {"case": "tiny", "way": "alone", "failed": "no such module"},
    ]
    found = many.lines(measured)
    assert [(line["way"], line["steps"], line["times"]) for line in found] == [
        ("many", 500_000.0, None),
        ("torch", 5_000.0, 100.0),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(many.drawn(found))
    text = console.export_text()
    assert "1,000 x 4-16-3" in text
    assert "100.0 x" in text
    assert "120 x" in text


def test_every_way_trains_the_networks_of_a_case():
    from benchmarks import many

    case = many.CASES["tiny"]
    case = case._replace(workload=case.workload._replace(rows=64), networks=2)
    for way, networks in ((many.many, 2), (many.alone, 1)):
        found = way(case)
        begin = found.clock()
        found.train(1)
        assert found.networks == networks
        assert found.clock() > begin


# Depth


def test_the_table_of_depth_compares_medians_with_pytorch():
    from benchmarks import depth

    taken = [
        {"way": way, "building": 2.0, "step": step, "megabytes": 400.0}
        for way, steps in (("lamina", (0.08, 0.1, 0.09)), ("torch", (0.3, 0.27, 0.2)))
        for step in steps
    ]
    found = depth.lines([*taken, {"way": "kept", "failed": "no memory"}])
    assert [(line["way"], line["step"]) for line in found] == [("lamina", 0.09), ("torch", 0.27)]
    assert found[0]["times"] == pytest.approx(3.0)
    console = Console(width=120, file=io.StringIO())
    console.print(depth.drawn(found))
    shown = console.file.getvalue()
    assert all(text in shown for text in ("PyTorch eager", "90 ms", "400 MB", "3.00 x", "2.4 x"))


def test_both_deep_networks_train():
    from benchmarks import depth

    for build in (depth.lamina, depth.torch):
        pytest.importorskip("torch") if build is depth.torch else None
        build(16)(1)
