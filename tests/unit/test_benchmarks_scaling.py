"""The fit of the cost model and of the exponents, on times that are known."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the benchmarks are no part of the package

from benchmarks import scaling
from benchmarks.scaling import Fitted, Layer, Point

TRUE = Fitted(fixed=2e-5, each=3e-6, compute=1.4, memory=2.5)


def points(kind="training, native", noise=0.0, model=TRUE):
    """A sweep over width and one over depth, whose times are those of a model."""
    random = np.random.default_rng(0)
    found = []
    for size in (8, 16, 32, 64, 128, 256, 512, 1024):
        layers = (Layer(size**2 * 1e-10, 4e-9 * size),) * 2
        found.append(Point("width", size, kind, 0.0, layers))
        found.append(Point("depth", size, kind, 0.0, (Layer(1e-6, 2e-6),) * size))
    return [p._replace(seconds=model.of(p) * (1 + noise * random.standard_normal())) for p in found]


def test_the_model_is_found_again_from_its_own_times():
    np.testing.assert_allclose(scaling.fit(points()), TRUE, rtol=1e-3)


def test_points_that_were_not_seen_are_within_a_quarter_if_the_noise_is():
    found = scaling.checked(points(noise=0.05))
    assert {row["seen"] for row in found} == {True, False}
    assert max(abs(row["off"]) for row in found) < scaling.WITHIN


def test_one_disturbed_point_stands_out_and_bends_nothing():
    given = points()
    given[4] = given[4]._replace(seconds=3 * given[4].seconds)
    found = scaling.checked(given)
    assert found[4]["off"] == pytest.approx(2.0, rel=0.2)
    assert max(abs(row["off"]) for row in (*found[:4], *found[5:])) < 0.1


def test_each_regime_is_named_after_what_takes_most():
    (small, *_, large) = [row for row in scaling.checked(points()) if row["sweep"] == "width"]
    assert (small["regime"], large["regime"]) == ("dispatch", "compute")
    memory = Point("batch", 1, "predict", 1.0, (Layer(1e-6, 1e-3),))
    assert TRUE.regime(memory) == "memory"


def test_an_engine_with_few_points_is_not_judged():
    assert scaling.checked(points()[: scaling.LEAST - 1]) == []


@pytest.mark.parametrize(("power", "low", "high"), [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
def test_exponents_of_pure_powers(power, low, high):
    sizes = np.array([4, 1, 2, 16, 8])
    assert scaling.exponents(sizes, 3e-6 * sizes**power) == pytest.approx((low, high), abs=1e-9)


def test_exponents_differ_where_the_regime_changes():
    sizes = 2.0 ** np.arange(10)
    low, high = scaling.exponents(sizes, np.maximum(64.0, sizes**2))
    assert low < 0.5
    assert high == pytest.approx(2.0)


def test_the_verdict_counts_what_the_model_misses():
    found = scaling.checked(points())
    broken = next(row for row in found if row["regime"] == "compute")
    broken["off"] = -0.6
    (line,) = [line for line in scaling.verdicts(found) if line["regime"] == "compute"]
    assert line["within"] == line["points"] - 1
    assert line["worst"] == -0.6
    assert "does not hold everywhere" in scaling.said(line)
    assert all("the model holds" in scaling.said(one) for one in scaling.verdicts(found) if one["regime"] != "compute")


def test_table_and_picture_show_every_point(tmp_path):
    found = scaling.checked([*points(), *points("predict")])
    console = Console(width=140, file=io.StringIO())
    console.print(scaling.drawn(found))
    assert console.file.getvalue().count("1,024") == 4
    assert len(scaling.growth(found)) == 4
    assert scaling.picture(found, tmp_path / "x.png", "here").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("quick", [True, False])
def test_the_plan_sweeps_all_four_sizes(quick):
    plan = scaling.plan(quick)
    assert {sweep for sweep, *_ in plan} == {"samples", "width", "depth", "batch"}
    assert all(size > 0 and batch > 0 and steps > 1 for _, size, _, batch, steps in plan)


def test_networks_are_measured_with_what_their_layers_must_do(monkeypatch):
    from lamina import speed

    monkeypatch.setattr(speed, "rate", lambda *_: 1e9)
    monkeypatch.setattr(speed, "stream", lambda *_: 1e9)
    point = scaling._trained("width", 8, (4, 8, 3), 16, 2, 0.01, "xla")
    assert (point.kind, len(point.layers)) == ("training, XLA", 2)
    assert point.seconds > 0
    # The first layer needs no gradient by its inputs: two products instead of three.
    assert point.layers[0].compute == pytest.approx(2 * 16 * 4 * 8 * 2 / 1e9)
    assert point.layers[1].compute == pytest.approx(2 * 16 * 8 * 3 * 3 / 1e9)
    assert scaling._predicted("batch", 16, (4, 8, 3), 16, 1, 0.01).seconds > 0
