"""The bridge between models and plain data, the choice of a format, and conversions."""

import numpy as np
import pytest
from saving_files import X, same, small, values
from saving_zoo import LAMINA, MODELS, inputs_for, leaves

import lamina
from lamina import saving
from lamina.errors import FileFormatError, InvalidArgumentError
from lamina.interop import Net
from lamina.names import Distinct
from lamina.saving.bridge import model_of, net_of
from lamina.saving.compare import predicted, sample_inputs


@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("subclassed", "with_own_layer")])
def test_a_model_becomes_plain_data_and_comes_back_equal(name):
    model = MODELS[name](LAMINA)
    net = net_of(model)
    assert net.config["class_name"] in ("Sequential", "Functional")
    back = model_of(net)
    for first, second in zip(leaves(model(inputs_for(name))), leaves(back(inputs_for(name))), strict=True):
        assert np.array_equal(np.asarray(first), np.asarray(second))


def test_a_model_that_only_code_describes_says_so():
    with pytest.raises(InvalidArgumentError, match="described by its Python code alone"):
        net_of(MODELS["subclassed"](LAMINA))
    with pytest.raises(ValueError, match="no weights yet"):
        net_of(lamina.Sequential([lamina.Dense(3)]))


def test_weights_that_do_not_belong_to_the_config_are_named():
    net = net_of(small())
    wrong = {"hidden": (net.weights["hidden"][0][:2], net.weights["hidden"][1]), "other": net.weights["last"]}
    with pytest.raises(FileFormatError, match=r"other: the model has no such layer(.|\n)*hidden(.|\n)*expected kernel"):
        model_of(Net(net.config, wrong))


def test_a_config_that_asks_for_more_than_its_weights_is_refused():
    net = net_of(small())
    net.config["config"]["layers"][1]["config"]["units"] = 10**9
    with pytest.raises(FileFormatError, match="do not belong together"):
        model_of(net)


def test_the_top_of_the_package_has_the_verbs(tmp_path):
    model = small()
    lamina.save_model(model, tmp_path / "m.keras")
    assert same(values(model), values(lamina.load_model(tmp_path / "m.keras")))


def test_the_bytes_of_a_file_say_what_it_is(tmp_path):
    model = small()
    model.save(tmp_path / "m.keras")
    (tmp_path / "m.keras").rename(tmp_path / "model.dat")
    assert same(values(model), values(lamina.load_model(tmp_path / "model.dat")))


def test_an_ending_without_a_writer_is_named(tmp_path):
    for call in (small().export, lambda path: lamina.convert(small(), path)):
        with pytest.raises(InvalidArgumentError, match=r"does not say what to write(.|\n)*\.keras"):
            call(tmp_path / "m.unknown")
    with pytest.raises(InvalidArgumentError, match="Unrecognized format='onyx'"):
        small().export(tmp_path / "m", format="onyx")


def test_a_conversion_is_compared_with_keras_and_keeps_the_optimizer(tmp_path):
    model = small()
    model.compile("adam", "mse")
    model.fit(X, X[:, :1], verbose=0)
    model.save(tmp_path / "a.keras")
    done = lamina.convert(tmp_path / "a.keras", tmp_path / "b.keras")
    assert [c.side for c in done.comparisons] == ["source", "target"]
    assert all(c.difference is not None and c.difference < 1e-6 and c.scale > 0 for c in done.comparisons)
    assert same(values(model), values(lamina.load_model(tmp_path / "b.keras")))


def test_an_option_that_nobody_takes_is_refused_before_anything_is_written(tmp_path):
    small().save(tmp_path / "a.keras")
    with pytest.raises(InvalidArgumentError, match="takes the option `int9`"):
        lamina.convert(tmp_path / "a.keras", tmp_path / "b.keras", int9=True)
    assert not (tmp_path / "b.keras").exists()
    with pytest.raises(InvalidArgumentError, match="has no option `architecture`"):
        saving.load_model(tmp_path / "a.keras", architecture="Linear")


def test_inputs_for_a_comparison_fit_every_input():
    for name in ("many", "listed", "words"):
        model = MODELS[name](LAMINA)
        assert len(predicted(model, sample_inputs(model))) == len(model.outputs)


@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".caffemodel", ".index", ".keras", ".h5"])
def test_a_missing_file_of_a_known_kind_is_also_pythons_error(ending, tmp_path):
    with pytest.raises(FileNotFoundError, match="File not found"):
        lamina.load_model(tmp_path / f"missing{ending}")


def test_a_file_of_no_kind_says_which_there_are(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"\x00\x01\x02\x03" * 9)
    with pytest.raises(InvalidArgumentError, match=r"File format not supported(.|\n)*PyTorch, safetensors"):
        lamina.load_model(tmp_path / "m.bin")


def test_ten_thousand_layers_of_one_name_are_named_at_once():
    distinct = Distinct("input_layer")
    found = [distinct("input_layer") for _ in range(10_000)]
    assert found[:2] == ["input_layer_1", "input_layer_2"]
    assert len(set(found)) == 10_000
    assert [distinct(name) for name in ("a", "a_1", "a", "a")] == ["a", "a_1", "a_2", "a_3"]
