"""What each layer refuses, with the words that Keras uses and what to do."""

import numpy as np
import pytest

from lamina import config
from lamina import layers as L
from lamina.errors import InvalidArgumentError, LaminaError
from lamina.graph import KerasTensor

X2, X3 = np.ones((2, 4), "float32"), np.ones((2, 3, 4), "float32")
IN2, IN3 = (2, 4), (2, 3, 4)

CONSTRUCTORS = [
    ("ReLU", {"max_value": -1}, "max_value of a ReLU layer cannot be a negative value. Received: max_value=-1"),
    ("ReLU", {"negative_slope": None}, "negative_slope of a ReLU layer cannot be None or a negative value"),
    ("ReLU", {"negative_slope": -0.1}, "negative_slope of a ReLU layer cannot be None or a negative value"),
    ("ReLU", {"threshold": float("nan")}, "threshold of a ReLU layer cannot be None or a negative value"),
    ("LeakyReLU", {"negative_slope": None}, "cannot be None or negative value"),
    ("Activation", {"activation": "rleu"}, "Could not interpret activation function identifier: rleu"),
    *[
        (name, {"rate": rate}, "Invalid value received for argument `rate`. Expected a float value between 0 and 1")
        for name in ("Dropout", "AlphaDropout", "GaussianDropout")
        for rate in (-0.1, 1.5, float("nan"), "0.5", None, [0.5], True)
    ],
    ("Dropout", {"rate": 30}, "30 percent is 0.3"),
    ("GaussianDropout", {"rate": 1}, "infinite deviation"),
    ("GaussianNoise", {"stddev": 1.5}, "Invalid value received for argument `stddev`"),
    ("Dropout", {"rate": 0.5, "seed": "a"}, "Argument `seed` must be an integer"),
    ("Dropout", {"rate": 0.5, "noise_shape": "abc"}, "Expected a tuple or list of integers"),
    ("Dropout", {"rate": 0.5, "noise_shape": 3}, "Expected an iterable of integers"),
    ("Dropout", {"rate": 0.5, "noise_shape": (2, 1.5)}, "element at index 1: 1.5"),
    ("Dropout", {"rate": 0.5, "noise_shape": (2, 0)}, "negative or zero value at index 1: 0"),
    ("ActivityRegularization", {"l1": -1.0}, "expected a non-negative float"),
    ("BatchNormalization", {"synchronized": True}, "only supported with the TensorFlow backend"),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": {"x": 1.0}}, "Received invalid keys"),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": {"rmax": 0.0, "rmin": 1.0}}, "rmax should be greater"),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": {"dmax": -1.0}}, "dmax should be non-negative"),
    ("LayerNormalization", {"axis": {"axis": -1}}, "Expected an int or a list/tuple of ints for the argument 'axis'"),
    ("UnitNormalization", {"axis": "last"}, "Invalid value for `axis` argument: expected an int or a list/tuple"),
    ("GroupNormalization", {"groups": 0}, "invalid value for argument `groups`"),
    ("GroupNormalization", {"groups": 2.0}, "invalid value for argument `groups`"),
    ("Flatten", {"data_format": "chanels_last"}, "(?s)must be one of.*Did you mean 'channels_last'"),
    ("Reshape", {"target_shape": (-2, 5)}, r"non-negative integer.*-1.*target_shape=\(-2, 5\)"),
    ("Reshape", {"target_shape": (2.0, 5)}, "must be a non-negative integer"),
    ("Reshape", {"target_shape": (-1, -1, 5)}, r"at most one unknown dimension.*target_shape=\(-1, -1, 5\)"),
    ("Reshape", {"target_shape": 5}, r"(?s)must be a tuple.*pass `\(5,\)`"),
    ("Permute", {"dims": (0, 1)}, "must be consecutive and start from 1"),
    ("Permute", {"dims": (1, 3)}, "must be consecutive and start from 1"),
    ("RepeatVector", {"n": 0}, "Argument `n` should be a positive integer. Received: n=0"),
    ("RepeatVector", {"n": 2.0}, "Expected an integer value for `n`"),
    *[
        ("Embedding", {"input_dim": 3, "output_dim": 2, name: value}, f"`{name}` must be a positive integer")
        for name in ("input_dim", "output_dim")
        for value in (0, -1, 2.0, None, True, "3")
    ],
    ("Embedding", {"input_dim": 3, "output_dim": 2, "weights": np.ones((2, 3))}, "not compatible with provided weight"),
    ("Normalization", {"mean": 1.0}, "both `mean` and `variance` must be set"),
    ("Normalization", {"mean": [1.0], "variance": 1.0}, "must have the same shape"),
    (
        "Normalization",
        {"mean": [[1.0]], "variance": [[1.0]]},
        "rank of `mean` must be less than or equal to the number",
    ),
    ("Dot", {"axes": "ab"}, "it should be a list or an int"),
    ("Dot", {"axes": (1, 2, 3)}, "it should contain two elements"),
    ("Dot", {"axes": (1, 2.0)}, "list elements should be integers"),
    ("Wrapper", {"layer": "dense"}, "supplied to Wrapper isn't a supported layer type"),
    ("TimeDistributed", {"layer": np.ones(2)}, "Please initialize `TimeDistributed` layer with a"),
    ("SpectralNormalization", {"layer": L.Dense(2), "power_iterations": 0}, "should be greater than zero"),
    ("Dense", {"units": 0}, "invalid value for `units`, expected a positive integer"),
    ("Dense", {"units": 3, "kernel_initializer": "glorott_uniform"}, "(?s)glorott_uniform.*Did you mean"),
]


@pytest.mark.parametrize(("name", "arguments", "problem"), CONSTRUCTORS)
def test_bad_arguments_are_refused_when_the_layer_is_made(name, arguments, problem):
    with pytest.raises(LaminaError, match=problem):
        getattr(L, name)(**arguments)


CALLS = [
    (lambda: L.BatchNormalization(axis=3), X2, "Axis 3 is out of bounds for input shape"),
    (lambda: L.LayerNormalization(axis=[1, 2]), X2, "Axis 2 is out of bounds for input shape"),
    (lambda: L.RMSNormalization(axis=-3), X2, "Axis -3 is out of bounds for input shape"),
    (lambda: L.GroupNormalization(groups=8), X2, r"(?s)cannot be more than the number of channels.*\[1, 2, 4\]"),
    (lambda: L.GroupNormalization(groups=3), X2, "must be a multiple of the number of channels"),
    (lambda: L.SpectralNormalization(L.ReLU()), X2, "object has no attribute 'kernel' nor 'embeddings'"),
    (lambda: L.Reshape((3, 2)), X2, r"(?s)total size of the tensor must be unchanged.*a sample has 4 entries"),
    (lambda: L.Reshape((3, -1)), X2, "cannot by divided by the specified dimensions"),
    (lambda: L.Permute((2, 1)), X2, "expected ndim=3, found ndim=2"),
    (lambda: L.RepeatVector(2), X3, "expected ndim=2, found ndim=3"),
    (lambda: L.TimeDistributed(L.Dense(2)), X2, "`input_shape` with at least 3 dimensions, received"),
    (L.Add, X2, "A merge layer should be called on a list of inputs"),
    (L.Add, [X2, np.ones((3, 4), "float32")], "Cannot merge tensors with different batch sizes"),
    (L.Add, [X2, np.ones((2, 5), "float32")], r"Inputs have incompatible shapes. Received shapes \(4,\) and \(5,\)"),
    (L.Subtract, [X2, X2, X2], "layer should be called on exactly 2 inputs"),
    (L.Subtract, [X2], "layer should be called on exactly 2 inputs"),
    (L.Concatenate, X2, "A `Concatenate` layer should be called on a list of at least 1 input"),
    (L.Concatenate, [X2, X3], "requires inputs with matching shapes except for the concatenation axis"),
    (lambda: L.Concatenate(axis=1), [X3, np.ones((2, 3, 5), "float32")], "requires inputs with matching shapes"),
    (lambda: L.Concatenate(axis=4), [X2, X2], "requires inputs with matching shapes"),
    (lambda: L.Dot(1), [X2], "A `Dot` layer should be called on a list of 2 inputs"),
    (lambda: L.Dot(1), [X2, X3], r"Incompatible input shapes: axis values 4 \(at axis 1\) != 3 \(at axis 1\)"),
    (lambda: L.Dot(0), [X2, X2], "Cannot perform batch_dot over axis 0"),
    (lambda: L.Dot(2), [X2, X2], "rank < 2 or without the axis"),
    (lambda: L.EinsumDense("ab,bc->ac", 3), X3, "another number of axes"),
    (lambda: L.EinsumDense("abc,cd->abd", 3), X2, "names 3 axes of the input, but the input has 2"),
    (lambda: L.EinsumDense("ab-bc->ac", 3), X2, "Invalid einsum equation 'ab-bc->ac'"),
    (lambda: L.EinsumDense("ab,bc->ad", 3), X2, "Dimension 'd' was specified in the output 'ad' but has no"),
    (lambda: L.EinsumDense("ab,cd->ad", 3), X2, "Weight dimension 'c' did not have a match"),
    (lambda: L.EinsumDense("ab,bc->ac", (3, 4)), X2, "`output_shape` does not fit"),
    (lambda: L.EinsumDense("ab,bc->ac", 3, bias_axes="d"), X2, "Bias dimension 'd' was requested"),
    (lambda: L.EinsumDense("abc,cd->abd", (7, 2)), X3, "do not match at shared dimension 'b'"),
    (lambda: L.Normalization(axis=2), X2, r"All `axis` values must be in the range \[-ndim, ndim\)"),
    (lambda: L.Embedding(4, 2), np.array([[1, 4]]), "(?s)whole numbers from 0 to 3.*e.g. 5"),
    (lambda: L.Embedding(4, 2), np.array([[1, -1]]), "(?s)whole numbers from 0 to 3.*start at 0"),
    (lambda: L.PReLU(shared_axes=[1]), np.ones(3, "float32"), None),
]


@pytest.mark.parametrize(("make", "inputs", "problem"), [case for case in CALLS if case[2]])
def test_inputs_that_do_not_fit_are_refused_at_the_call(make, inputs, problem):
    with pytest.raises(InvalidArgumentError, match=problem):
        make()(inputs)


UNKNOWN = [
    (L.BatchNormalization, (None, None), "must have a known size"),
    (L.LayerNormalization, (None, None), "input tensor should have a defined dimension but the layer received an"),
    (L.RMSNormalization, (None, None), "should have a defined dimension"),
    (lambda: L.GroupNormalization(1), (None, None), "should have a defined dimension"),
    (L.PReLU, (None, None), "(?s)every size must be known.*shared_axes"),
    (lambda: L.Dense(2), (None, None), "must have a known size"),
    (L.Normalization, (None, None), "All `axis` values to be kept must have a known shape"),
    (lambda: L.EinsumDense("abc,bcd->ad", 3), (None, None, 4), "sizes of the kernel and the bias must be known"),
]


@pytest.mark.parametrize(("make", "shape", "problem"), UNKNOWN)
def test_a_size_that_a_weight_needs_must_be_known(make, shape, problem):
    layer = make()
    for attempt in (lambda: layer.build(shape), lambda: layer(L.Input(shape[1:]))):
        with pytest.raises(InvalidArgumentError, match=problem):
            attempt()
        assert not layer.built
        assert layer.weights == []


def test_masks_that_do_not_fit_are_refused():
    for mask, problem in (
        (np.ones((2, 4, 1), bool), "must not have more dimensions"),
        (np.ones((2, 3), bool), "`mask` must be broadcastable to `inputs`"),
    ):
        with pytest.raises(InvalidArgumentError, match=problem):
            L.Softmax()(X2, mask=mask)
    with pytest.raises(InvalidArgumentError, match="one dimension less than the inputs"):
        L.BatchNormalization()(X3, mask=np.ones(2, bool))
    for mask, problem in (
        (np.ones(2, bool), "must be at least 2D"),
        (np.ones((2, 5), bool), "Expected mask shape pref"),
    ):
        with pytest.raises(InvalidArgumentError, match=problem):
            L.TimeDistributed(L.BatchNormalization())(X3, mask=mask)


@pytest.mark.parametrize("layer", [L.Add(), L.Multiply(), L.Concatenate()])
def test_masks_of_merged_inputs_come_as_a_list_of_the_same_length(layer):
    with pytest.raises(InvalidArgumentError, match="`mask` should be a list"):
        layer.compute_mask([X2, X2], X2)
    with pytest.raises(InvalidArgumentError, match="`inputs` should be a list"):
        layer.compute_mask(X2, [None, None])
    with pytest.raises(InvalidArgumentError, match="should have the same length"):
        layer.compute_mask([X2, X2], [None])
    assert layer.compute_mask([X2, X2], [None, None]) is None


@pytest.mark.parametrize(
    ("make", "kwargs"), [(L.LeakyReLU, {"alpha": 0.1}), (L.LayerNormalization, {"rms_scaling": True})]
)
def test_old_arguments_still_work_and_say_so(make, kwargs):
    with pytest.warns(UserWarning, match="deprecated"):
        layer = make(**kwargs)
    assert layer(X2).shape == (2, 4)


INPUTS = [
    ({}, "You must pass a `shape` argument"),
    ({"shape": 3}, r"(?s)Cannot convert '3' to a shape.*pass a tuple: `\(3,\)`"),
    ({"shape": (-3,)}, "Negative dimensions are not allowed"),
    ({"shape": (2.5,)}, "Found invalid dimension '2.5'"),
    ({"shape": (2,), "batch_shape": (None, 2)}, "cannot pass both `shape` and `batch_shape`"),
    ({"batch_size": 2, "batch_shape": (None, 2)}, "cannot pass both `batch_size` and `batch_shape`"),
    ({"shape": (2,), "sparse": True}, "`sparse=True` is not supported"),
    ({"shape": (2,), "ragged": True}, "`ragged=True` is not supported"),
    ({"input_tensor": np.ones(2)}, "Argument `input_tensor` must be a KerasTensor"),
    ({"input_tensor": KerasTensor((2, 3)), "shape": (4,)}, "cannot provide an incompatible `shape`"),
    ({"input_tensor": KerasTensor((2, 3)), "batch_shape": (2, 4)}, "cannot provide an incompatible `batch_shape`"),
    ({"input_tensor": KerasTensor((2, 3)), "batch_size": 5}, "cannot provide an incompatible `batch_size`"),
    ({"input_tensor": KerasTensor((2, 3)), "dtype": "float16"}, "cannot provide an incompatible `dtype`"),
    ({"shape": (2,), "wrong": 1}, "Unrecognized keyword arguments"),
]


@pytest.mark.parametrize(("arguments", "problem"), INPUTS)
def test_what_is_no_input_is_refused(arguments, problem):
    with pytest.raises(InvalidArgumentError, match=problem):
        L.InputLayer(**arguments)


def test_an_input_takes_over_what_a_stand_in_says():
    layer = L.InputLayer(input_tensor=KerasTensor((2, 3), "int32"), shape=(3,), batch_size=2, dtype="int32")
    assert (layer.batch_shape, layer.dtype) == ((2, 3), "int32")
    with pytest.warns(UserWarning, match="`input_shape` is deprecated"):
        assert L.InputLayer(input_shape=(3,)).batch_shape == (None, 3)


@pytest.mark.parametrize(
    ("equation", "sizes", "given", "kernel", "output"),
    [
        ("ab,ab->a", (2,), (2, 4), (2, 4), (2,)),
        ("ab,bc->ac", (8, 32), (2, 3), (3, 8), (2, 8)),
        ("ab...,bc->ac...", (8, 9), (2, 3, 5), (3, 8), (2, 8, 5)),
        ("...x,xy->...y", (4, 7, 6), (2, 4, 3), (3, 4), (2, 4, 4)),
    ],
)
def test_surplus_sizes_of_an_equation_are_ignored_as_in_keras_if_not_strict(equation, sizes, given, kernel, output):
    config.set_strict(False)
    try:
        layer = L.EinsumDense(equation, sizes)
        layer.build(given)
        assert layer.kernel.shape == kernel
        assert layer.compute_output_shape(given) == output
        assert layer(np.ones(given, "float32")).shape == output
    finally:
        config.set_strict(True)
