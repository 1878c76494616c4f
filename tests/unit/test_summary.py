"""The summary: what it says of a model, and how it looks on screens of many widths."""

import logging
import re

import jax
import numpy as np
import pytest

from lamina import config, layers, models, names, optimizers
from lamina.models import costs, summary
from lamina.models.counting import Spec, per_sample
from lamina.models.description import describe


def text_of(model, **kwargs):
    found = []
    model.summary(print_fn=found.append, **kwargs)
    assert len(found) == 1
    return found[0]


def chain(*parts, width=None):
    return models.Sequential([*([layers.Input((width,))] if width else []), *parts])


def branching():
    inputs = layers.Input((4,), name="in")
    x = layers.Dense(4, name="first")(inputs)
    y = layers.Dense(4, name="second")(x)
    outputs = layers.Add(name="sum")([x, y]) * 2.0
    return models.Model(inputs, outputs, name="net")


def shared():
    inputs = layers.Input((4,))
    layer = layers.Dense(4, name="twice")
    return models.Model(inputs, layer(layer(inputs)))


class Two(models.Model):
    def __init__(self):
        super().__init__(name="two")
        self.first = layers.Dense(4, name="first")
        self.second = layers.Dense(2, name="second")
        self.unused = layers.Dense(1, name="unused")

    def call(self, x):
        return self.second(self.first(x))


def test_a_model_that_is_not_built_has_a_summary_all_the_same():
    text = text_of(chain(layers.Dense(3), layers.Dropout(0.1)))
    assert "0 (unbuilt)" in text
    assert "?" in text
    assert "Total params: 0 (0.00 B)" in text
    assert "once the model is built" in text


def test_a_summary_builds_nothing_and_changes_nothing():
    model = chain(layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.5))
    text_of(model)
    assert not model.built
    model.build((None, 4))
    before = [np.array(v) for v in model.variables]
    counted = dict(names._counts)
    text_of(model)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
    assert dict(names._counts) == counted


def test_totals_count_trainable_fixed_and_optimizer_weights():
    model = chain(layers.Dense(3), layers.BatchNormalization(), width=2)
    model.compile("adam", "mse")
    assert "Optimizer params" not in text_of(model)
    model.fit(np.zeros((4, 2)), np.zeros((4, 3)), verbose=0)
    text = text_of(model)
    assert "Total params: 53 (212.00 B)" in text
    assert "Trainable params: 15 (60.00 B)" in text
    assert "Non-trainable params: 6 (24.00 B)" in text
    assert "Optimizer params: 32 (128.00 B)" in text


def test_a_dense_layer_takes_two_operations_for_each_weight_of_its_kernel():
    row = describe(chain(layers.Dense(512), width=784)).rows[0]
    assert row.cost.forward == 2 * 784 * 512


@pytest.mark.parametrize(
    ("layer", "shape", "forward"),
    [
        (layers.Activation("relu"), (5,), 5),
        (layers.Activation("sigmoid"), (5,), 5),
        (layers.Activation("softmax"), (5,), 5 + 5 + 4 + 4 + 5 + 1),  # maximum, subtract, exp, sum, divide; -inf once
        (layers.BatchNormalization(), (5,), 2 * 5),
        (layers.Dropout(0.5), (5,), 0),
        (layers.Flatten(), (5, 2), 0),
        (layers.Reshape((10,)), (5, 2), 0),
        (layers.Embedding(9, 3), (4,), 0),
        (layers.Dense(3, use_bias=False), (5,), 3 * 9),
        (layers.Dense(3, activation="relu"), (5,), 3 * 10 + 3),
        (layers.Dense(3), (7, 5), 7 * 3 * 10),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else None,
)
def test_operations_are_counted_for_one_sample(layer, shape, forward):
    model = models.Sequential([layers.Input(shape), layer])
    assert describe(model).cost.forward == forward


@pytest.mark.parametrize("activation", [None, "relu", "softmax", "gelu"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5)])
@pytest.mark.parametrize("above", [True, False])
def test_the_formula_of_a_dense_layer_is_what_its_program_takes(activation, use_bias, shape, above):
    layer = layers.Dense(7, activation=activation, use_bias=use_bias)
    inputs = layers.Input(shape)
    node = models.Model(inputs, layer(inputs))._graph.nodes[-1]
    leaves, structure = jax.tree.flatten((node.args, node.kwargs))
    by_formula = costs.Costs().of_node(node, own=True, above=above)
    assert by_formula[:2] == costs._trace(layer, leaves, structure, True, above)[:2]


def test_a_training_step_needs_no_derivative_by_the_inputs_of_the_first_layer():
    cost = describe(chain(layers.Dense(7), layers.Dense(3), width=5)).cost
    first = 2 * 5 * 7 + (2 * 5 * 7 + 7)  # forward; kernel and bias
    second = 2 * 7 * 3 + (2 * 7 * 3 + 3) + 7 * (2 * 3 - 1)
    assert cost.training == first + second


def test_frozen_layers_at_the_front_have_no_backward_pass():
    model = chain(layers.Dense(7), layers.Dense(3), width=5)
    model.layers[0].trainable = False
    assert describe(model).cost.training == 2 * 5 * 7 + 2 * 7 * 3 + (2 * 7 * 3 + 3)


def test_activations_are_the_outputs_of_all_layers():
    assert describe(chain(layers.Dense(7), layers.Dense(3), width=5)).cost.activations == 4 * (7 + 3)


def test_a_layer_used_twice_works_twice_and_weighs_once():
    found = describe(shared())
    row = next(row for row in found.rows if row.name == "twice")
    assert (row.params, row.cost.forward, len(row.sources)) == (20, 2 * 32, 2)
    assert found.trainable == (20, 80)


def test_layers_of_the_users_own_are_counted_too():
    class Double(layers.Layer):
        def call(self, x):
            return 2 * x @ np.ones((4, 3), "float32")

    assert describe(chain(Double(), width=4)).cost.forward == 4 + 3 * 7


def test_a_layer_that_cannot_be_counted_is_marked_and_does_no_harm():
    class Odd(layers.Layer):
        def call(self, x):
            return x if x.shape[0] is None or isinstance(x, jax.Array) is False else jax.lax.while_loop(
                lambda y: y.sum() < 0, lambda y: y * 2, x
            )  # fmt: skip

        def compute_output_shape(self, shape):
            return shape

    model = chain(Odd(), layers.Dense(2), width=4)
    found = describe(model)
    assert found.rows[0].cost.forward < 0
    assert found.rows[1].cost.forward == 16
    assert "? forward" in text_of(model)


def test_a_subclassed_model_shows_the_shapes_it_was_built_for():
    model = Two()
    assert "known once" in text_of(model)
    model.build((None, 5))
    found = describe(model)
    assert [row.shapes for row in found.rows] == [(None, 4), (None, 2), None]
    assert [row.params for row in found.rows] == [24, 10, None]
    assert found.cost == costs.Cost(2 * 5 * 4 + 2 * 4 * 2, 130, 24)


def test_a_subclassed_model_that_was_called_shows_its_batch():
    model = Two()
    model(np.ones((3, 5)))
    assert "(3, 4)" in text_of(model)


def test_models_inside_are_one_row_or_many():
    inner = chain(layers.Dense(3, name="a"), layers.Dense(2, name="b"), width=4)
    outer = models.Sequential([layers.Input((4,)), inner, layers.Dense(1, name="c")])
    plain, open_ = describe(outer), describe(outer, expand_nested=True)
    assert [row.depth for row in plain.rows] == [0, 0]
    assert [(row.name, row.depth) for row in open_.rows][1:] == [("a", 1), ("b", 1), ("c", 0)]
    assert plain.rows[0].cost == costs.sum_of(row.cost for row in open_.rows if row.depth)
    assert "└ a" in text_of(outer, expand_nested=True)


def test_a_graph_with_branches_says_what_is_connected_to_what():
    text = text_of(branching(), line_length=120)
    assert "Connected to" in text
    assert "first[0][0], second[0][0]" in text
    assert "multiply (Multiply)" in text


def test_a_chain_made_of_stand_ins_says_no_more_than_a_sequential():
    inputs = layers.Input((4,))
    text = text_of(models.Model(inputs, layers.Dense(2)(layers.Dense(3)(inputs))))
    assert "Connected to" not in text
    assert "input_layer (InputLayer)" in text


def test_it_says_which_layers_are_trained():
    model = chain(layers.Dense(3), layers.Dropout(0.1), layers.Dense(2), width=4)
    model.layers[2].trainable = False
    assert [row.trainable for row in describe(model).rows] == [True, None, False]
    assert re.search(r"│\s+N\s+│", text_of(model, show_trainable=True))


@pytest.mark.parametrize(
    ("given", "names"),
    [(("b", "c"), "bc"), (("c", "a"), "abc"), (("[bd]", "[bd]"), "bcd"), (None, "abcd")],
)
def test_a_range_of_layers_may_be_chosen_by_name_or_pattern(given, names):
    model = chain(*[layers.Dense(1, name=name) for name in "abcd"], width=2)
    assert "".join(row.name for row in describe(model, layer_range=given).rows) == names


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a",), "must be a list or tuple of length 2"),
        ("ab", "must be a list or tuple of length 2"),
        ((1, 2), "string type only"),
        (("x", "a"), "do not match the layer names"),
        (("(", "a"), "pattern"),
    ],
)
def test_a_range_that_means_nothing_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        describe(chain(layers.Dense(1, name="a"), width=2), layer_range=given)


@pytest.mark.parametrize("columns", [44, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("make", [branching, lambda: chain(layers.Dense(3), layers.BatchNormalization(), width=2)])
def test_every_line_fits_the_screen_and_nothing_is_cut_off(make, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = text_of(make(), show_trainable=columns >= 60)
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    widths = {len(line) for line in text.splitlines() if line[:1] in "┏┡├└│┃"}
    assert len(widths) == 1


def test_a_long_line_may_be_asked_for_on_a_narrow_screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = text_of(branching(), line_length=130)
    assert max(map(len, text.splitlines())) == 130


def test_positions_may_be_keras_s_which_leave_flops_out():
    model = chain(layers.Dense(3), width=2)
    assert "FLOPs  ┃" not in text_of(model, positions=[0.45, 0.8, 1.0])
    assert "FLOPs ┃" in text_of(model, positions=[30, 50, 65, 80], line_length=80)
    with pytest.raises(ValueError, match="positions"):
        text_of(model, positions=[0.5, 1.0])


def test_a_line_too_short_for_a_table_is_refused():
    with pytest.raises(ValueError, match="Insufficient console width to print summary"):
        text_of(chain(layers.Dense(3), width=2), line_length=12)


def test_without_print_fn_it_goes_to_standard_output(capsys):
    chain(layers.Dense(3), width=2).summary()
    out = capsys.readouterr().out
    assert out.startswith('Model: "sequential"')
    assert "\x1b[" not in out  # a pipe gets no colours


def test_without_interactive_logging_it_goes_to_the_log(caplog, capsys):
    config.disable_interactive_logging()
    try:
        with caplog.at_level(logging.INFO, logger="lamina"):
            chain(layers.Dense(3), width=2).summary()
    finally:
        config.enable_interactive_logging()
    assert "Total params: 9" in caplog.text
    assert not capsys.readouterr().out


def test_names_with_brackets_are_names_and_no_markup():
    text = text_of(chain(layers.Dense(3, name="a[bold]b"), width=2))
    assert "a[bold]b (Dense)" in text


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(), optimizers.SGD(momentum=0.9), optimizers.Adam(), optimizers.Adam(amsgrad=True),
        optimizers.RMSprop(centered=True), optimizers.Adagrad(), optimizers.Lion(), optimizers.Adafactor(),
        optimizers.Adam(use_ema=True), optimizers.SGD(gradient_accumulation_steps=2),
    ],
    ids=lambda o: o.name,
)  # fmt: skip
def test_the_optimizer_s_memory_is_known_before_its_first_step(optimizer):
    model = chain(layers.Dense(3), layers.Dense(300), width=200)
    model.compile(optimizer, "mse")
    planned = describe(model).planned
    optimizer.build(model.trainable_variables)
    assert describe(model).planned == planned == describe(model).optimizer[1]


def test_a_batch_of_fixed_size_does_not_change_what_a_sample_costs():
    parts = [layers.Dense(3, activation="relu"), layers.LayerNormalization(), layers.Dense(2)]
    free = describe(models.Sequential([layers.Input((4,)), *parts])).cost
    inputs = layers.Input(batch_shape=(8, 4))
    x = inputs
    for part in (layers.Dense(3, activation="relu"), layers.LayerNormalization(), layers.Dense(2)):
        x = part(x)
    fixed = describe(models.Model(inputs, x)).cost
    assert (fixed.forward, fixed.activations) == (free.forward, free.activations)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00 B"), (1023, "1023.00 B"), (1024, "1.00 KB"), (5 << 40, "5.00 TB")]
)
def test_sizes_are_readable(value, text):
    assert summary.readable_memory_size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999_999, "999,999"), (1_862_400, "1.86 M"), (12_400_000_000, "12.4 G"), (1e15, "1.00 P")],
)
def test_large_numbers_are_readable(value, text):
    assert summary.readable_number(value) == text


@pytest.mark.parametrize(
    ("function", "operations"),
    [
        (lambda x: x**2, 5),
        (lambda x: x**5, 15),
        (lambda x: jax.lax.scan(lambda c, _: (c * 2, None), x, None, length=4)[0], 20),
        (lambda x: jax.numpy.cumsum(x, axis=-1), 5),
        (lambda x: jax.lax.cond(True, lambda y: y * 2 + 1, lambda y: y, x), 10),
        (lambda x: x.astype("int32") + 1, 0),
        (lambda x: (x + 1, x * 0)[0], 5),
    ],
)
def test_operations_are_read_off_the_program(function, operations):
    assert per_sample(function, [Spec((None, 5), "float32")]) == operations


def test_the_number_of_rows_does_not_change_what_a_row_takes():
    few, many = (models.Sequential([layers.Input((4,)), *[layers.Dense(4) for _ in range(n)]]) for n in (3, 1500))
    assert {row.cost for row in describe(many).rows} == {row.cost for row in describe(few).rows}
