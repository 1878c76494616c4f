"""Operations: what they accept, what they say of stand-ins and rows, control flow, errors."""

import inspect
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops_cases import CASES, SQUARE, SQUARES, X, Y, Z

from lamina import Variable, ops
from lamina.errors import AbsentNameError, InvalidArgumentError, InvalidTypeError
from lamina.graph import KerasTensor
from lamina.ops import arguments, rows
from lamina.ops.dispatch import OPERATIONS


def apply(case):
    return getattr(ops, case.name)(*case.args, **case.kwargs)


# ---- names


def test_each_name_is_there_has_a_docstring_and_can_be_pickled():
    assert len(ops.__all__) > 300
    for name in ops.__all__:
        found = getattr(ops, name)
        assert inspect.getdoc(found), name
        assert pickle.loads(pickle.dumps(found)) is found, name


def test_a_name_of_keras_that_is_missing_says_what_jax_has():
    with pytest.raises(AbsentNameError, match=r"'conv'.*lamina does not.*\n.*jax\.lax\.conv_general_dilated"):
        ops.conv  # noqa: B018
    assert issubclass(AbsentNameError, AttributeError)
    assert not hasattr(ops, "fft")


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(AttributeError, match=r"'expandims'.*Did you mean 'expand_dims'"):
        ops.expandims  # noqa: B018


def test_the_rooms_of_keras_find_the_same_functions():
    assert ops.numpy.mean is ops.mean
    assert ops.nn.relu is ops.relu
    assert ops.nn.softmax is ops.softmax
    assert ops.linalg.det is ops.det
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ops.nn.nothing_like_it  # noqa: B018


def test_importing_every_operation_starts_no_device():
    code = "import lamina.ops; lamina.ops.load(); from jax._src import xla_bridge as b; print(b.backends_are_initialized())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- what goes in


@pytest.mark.parametrize(
    "make", [np.asarray, jnp.asarray, lambda x: x.tolist(), Variable], ids=["numpy", "jax", "list", "variable"]
)
def test_arrays_of_every_kind_are_taken(make):
    for name in ("exp", "mean", "sort", "relu", "softmax", "transpose", "all", "flip", "tile", "zeros_like", "norm"):
        given = (2,) if name == "tile" else ()
        np.testing.assert_allclose(getattr(ops, name)(make(X), *given), getattr(ops, name)(X, *given), atol=1e-6)
    np.testing.assert_allclose(ops.add(make(X), make(Y)), X + Y, atol=1e-6)
    np.testing.assert_allclose(ops.concatenate([make(X), make(Y)], axis=1), np.concatenate([X, Y], 1))
    np.testing.assert_allclose(ops.matmul(make(X), make(Y.T)), X @ Y.T, atol=1e-6)
    np.testing.assert_allclose(ops.where(make(X > 0), make(X), 0.0), np.maximum(X, 0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "power", "divide", "floor_divide", "clip", "where"])
def test_a_python_number_takes_the_type_of_the_array(name, dtype):
    x = jnp.asarray(X).astype(dtype)
    more = {"clip": (0.5, 1.5), "where": (x, 2.0)}.get(name, (2.0,))
    first = x > 0 if name == "where" else x
    assert getattr(ops, name)(first, *more).dtype == dtype


@pytest.mark.parametrize("name", ["true_divide", "mean", "exp", "sqrt", "sigmoid", "var", "logsumexp", "normalize"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool"])
def test_integers_give_floats_where_they_must(name, dtype):
    x = np.ones((2, 3), dtype)
    assert getattr(ops, name)(*((x, x) if name == "true_divide" else (x,))).dtype == "float32"


def test_operations_work_on_traced_arrays_and_their_derivatives():
    @jax.jit
    def loss(x):
        return ops.mean(ops.square(ops.subtract(ops.softmax(x), ops.one_hot([0, 1, 2], 4))))

    assert loss(X).shape == ()
    assert jax.grad(loss)(jnp.asarray(X)).shape == X.shape


def test_an_array_of_numpy_is_copied_so_that_writing_to_it_changes_nothing():
    given = np.zeros(1024, "float32")
    held = ops.convert_to_tensor(given)
    given[:] = 1
    assert not np.asarray(held).any()


def test_conversions_keep_values_and_kinds():
    tensor = ops.convert_to_tensor([1.0, 2.0])
    assert ops.is_tensor(tensor)
    assert not ops.is_tensor([1.0])
    assert isinstance(ops.convert_to_numpy(tensor), np.ndarray)
    assert ops.dtype(tensor) == "float32"
    assert ops.cast(tensor, int).dtype == "int32"
    assert ops.cast(tensor, "bfloat16").dtype == "bfloat16"
    assert ops.shape([[1, 2, 3]]) == (1, 3)
    assert ops.ndim(X) == 2
    assert ops.size(X) == 12


# ---- stand-ins


def test_shapes_of_stand_ins_have_none_for_what_is_not_known():
    x = KerasTensor((None, 3))
    assert ops.shape(x) == (None, 3)
    assert ops.ndim(x) == 2
    assert ops.dtype(x) == "float32"


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda x: ops.reshape(x, (-1, 6)), (None, 6)),  # 83 rows of 4 are not divisible by 6
        (lambda x: ops.reshape(x, (None, 2, 2)), (None, 2, 2)),
        (lambda x: ops.reshape(x, (ops.shape(x)[0], 4, 1)), (None, 4, 1)),
        (lambda x: ops.split(x, 2)[0], (None, 4)),
        (lambda x: x + np.ones((5, 1, 4), "float32"), (5, None, 4)),
        (lambda x: x + np.ones((7, 4), "float32"), (7, 4)),
        (lambda x: ops.matmul(KerasTensor((2, None)), KerasTensor((4, 3))), (2, 3)),
        (lambda x: ops.add(KerasTensor((2, None)), x), (2, 4)),
        (lambda x: ops.concatenate([x, x], 0), (None, 4)),
        (lambda x: ops.unstack(KerasTensor((2, None)), num=3, axis=1)[2], (2,)),
        (lambda x: ops.diag(x), (None,)),
        (lambda x: x + ops.cond(True, lambda: 1.0, lambda: 2.0), (None, 4)),
        (lambda x: ops.vectorized_map(lambda row: row * 2, x), (None, 4)),
        (lambda x: ops.scan(lambda c, row: (c + row, c), ops.zeros((4,)), x)[1], (None, 4)),
        (lambda x: ops.while_loop(lambda v: ops.all(v < 3), lambda v: v + 1, x), (None, 4)),
        (lambda x: ops.take(ops.ones((10, 8)), ops.cast(x, "int32"), axis=0), (None, 4, 8)),
        (lambda x: ops.get_item(x, (Ellipsis, None)), (None, 4, 1)),
        (lambda x: x[1], (4,)),
        (lambda x: x[100, 1:], (3,)),
        (lambda x: ops.repeat(x, [1, 2, 1, 0], axis=1), (None, 4)),
    ],
)
def test_shapes_that_depend_on_an_unknown_axis_are_found(call, shape):
    assert call(KerasTensor((None, 4))).shape == shape


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: ops.add(x, KerasTensor((2, 3, 4))), "Cannot broadcast shape"),
        (lambda x: ops.matmul(x, KerasTensor((4, 2))), "do not fit"),
        (lambda x: ops.concatenate([x, KerasTensor((2, 3, 4))]), "do not fit"),
        (lambda x: ops.squeeze(x, axis=0), "do not fit"),
        (lambda x: ops.reshape(x, (7, -1)), "do not fit"),
        (lambda x: ops.softmax(x, axis=10), "axis 10 is out of bounds"),
        (lambda x: ops.nonzero(x), "depends on values"),
        (lambda x: ops.unique(x), "depends on values"),
        (lambda x: ops.unstack(KerasTensor((2, None)), axis=1), "Cannot infer argument `num` from shape"),
        (lambda x: ops.inv(x), "square"),
        (lambda x: ops.inv(KerasTensor((None, None, 3))), "square"),
    ],
)
def test_stand_ins_that_do_not_fit_are_refused(call, says):
    with pytest.raises(InvalidArgumentError, match=says):
        call(KerasTensor((2, 3)))


def test_a_wrong_argument_on_a_stand_in_is_a_type_error():
    with pytest.raises(TypeError, match="axes"):
        ops.mean(KerasTensor((2, 3)), axes=1)


def test_an_operation_computes_nothing_on_a_stand_in_of_any_size():
    assert ops.sum(KerasTensor((10**9, 10**6))).shape == ()


# ---- rows


def _disturbed(array):
    other = array.copy()
    other[0] = ~array[0] if array.dtype == bool else array[0] + array.dtype.type(1)
    return other


def _runs():
    """Yield cases with some of their arrays, a batch of 3 or 2, as stand-ins."""
    for case in CASES:
        flat, structure = jax.tree.flatten((case.args, case.kwargs))
        arrays = [i for i, leaf in enumerate(flat) if isinstance(leaf, np.ndarray) and leaf.ndim]
        if not arrays or not case.symbolic:
            continue
        batch = flat[arrays[0]].shape[0]
        alike = [i for i in arrays if flat[i].shape[0] == batch]
        for chosen in ({arrays[0]}, set(alike)):
            yield case, flat, structure, sorted(chosen), batch


def _keeps(case, flat, structure, chosen):
    stands = [KerasTensor((None, *x.shape[1:]), x.dtype.name) if i in chosen else x for i, x in enumerate(flat)]
    args, kwargs = jax.tree.unflatten(structure, stands)
    return rows.keeps_rows(getattr(ops, case.name), args, kwargs)


def test_what_is_said_to_keep_rows_apart_does():
    said = set()
    for case, flat, structure, chosen, batch in _runs():
        if not _keeps(case, flat, structure, chosen):
            continue
        said.add(case.name)
        changed = [_disturbed(x) if i in chosen else x for i, x in enumerate(flat)]
        args, kwargs = jax.tree.unflatten(structure, changed)
        with np.errstate(all="ignore"):
            pairs = zip(
                jax.tree.leaves(apply(case)), jax.tree.leaves(getattr(ops, case.name)(*args, **kwargs)), strict=True
            )
        for before, after in pairs:
            assert before.shape[0] == batch, case
            np.testing.assert_array_equal(np.asarray(before)[1:], np.asarray(after)[1:], err_msg=str(case))
    must = [
        "relu",
        "exp",
        "log",
        "sqrt",
        "add",
        "multiply",
        "where",
        "clip",
        "cast",
        "softmax",
        "log_softmax",
        "sum",
        "mean",
        "max",
        "norm",
        "concatenate",
        "stack",
        "expand_dims",
        "reshape",
        "transpose",
        "matmul",
        "get_item",
        "take",
        "one_hot",
        "top_k",
        "split",
        "unstack",
        "cumsum",
        "sort",
        "pad",
        "layer_normalization",
        "gelu",
        "swish",
    ]
    assert set(must) <= said, set(must) - said


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("softmax", (X,), {"axis": 0}), ("sum", (X,), {}), ("mean", (X,), {"axis": (0, 1)}), ("max", (X,), {"axis": -2}),
        ("concatenate", ([X, Y],), {}), ("stack", ([X, Y],), {}), ("transpose", (X,), {}), ("reshape", (X, (-1, 2)), {}),
        ("sort", (X[:, 0],), {}), ("cumsum", (X,), {}), ("add", (X, Z[0]), {}), ("matmul", (X, np.ones((2, 4, 3))), {}),
        ("get_item", (X, 0), {}), ("get_item", (X, slice(1, None)), {}), ("take", (X, 1), {}), ("flip", (X,), {}),
        ("layer_normalization", (X, np.ones((3, 4))), {}), ("squeeze", (X,), {}), ("einsum", ("ij,ik->jk", X, Y), {}),
        ("batch_normalization", (X, X[0], X[1], 1), {}), ("pad", (X, 1), {}), ("expand_dims", (X,), {"axis": 0}),
        ("swapaxes", (X, 0, 1), {}), ("softmax", (X[:, 0],), {}), ("norm", (X,), {}), ("repeat", (X, 2), {}),
        ("vectorized_map", (lambda x: x, X), {}),
    ],
)  # fmt: skip
def test_what_mixes_rows_or_may_is_not_said_to_keep_them_apart(name, args, kwargs):
    first = next(i for i, a in enumerate(args) if isinstance(a, np.ndarray | list))

    def stand_in(x):
        return KerasTensor((None, *x.shape[1:])) if isinstance(x, np.ndarray) else x

    given = [jax.tree.map(stand_in, a) if i == first else a for i, a in enumerate(args)]
    assert not rows.keeps_rows(getattr(ops, name), tuple(given), kwargs)


@pytest.mark.parametrize(("other", "kept"), [((None, 4), True), ((4,), False), ((None, 1, 4), False), ((1, 4), False)])
def test_two_batches_keep_rows_apart_only_if_their_first_axes_meet(other, kept):
    assert rows.keeps_rows(ops.add, (KerasTensor((None, 4)), KerasTensor(other)), {}) is kept


@pytest.mark.parametrize(
    ("constant", "kept"),
    [
        (np.ones(4), True),
        (np.ones((1, 4)), True),
        (np.ones((3, 4)), False),
        ([[1.0] * 4] * 3, False),
        ([1.0] * 4, True),
    ],
)
def test_a_constant_keeps_rows_apart_only_if_it_has_none_of_its_own(constant, kept):
    assert rows.keeps_rows(ops.multiply, (KerasTensor((None, 4)), constant), {}) is kept


def test_a_function_of_the_user_keeps_no_rows_apart():
    assert not rows.keeps_rows(lambda x: x, (KerasTensor((None, 4)),), {})


# ---- arguments in files


@pytest.mark.parametrize("case", [c for c in CASES if hasattr(getattr(ops, c.name), "keras_place")], ids=str)
def test_arguments_taken_apart_for_a_file_come_together_again(case):
    function = getattr(ops, case.name)
    own, given, named = arguments.split(function, case.args, case.kwargs)
    args, kwargs = arguments.join(function, own, given, named)
    signature = inspect.signature(function)
    first, second = signature.bind(*case.args, **case.kwargs), signature.bind(*args, **kwargs)
    first.apply_defaults()
    second.apply_defaults()
    assert [*first.arguments] == [*second.arguments]
    assert all(a is b or a == b for a, b in zip(first.arguments.values(), second.arguments.values(), strict=True))


def test_every_elementwise_name_is_that_of_an_operation():
    ops.load()
    assert {name for _, name in OPERATIONS} >= rows.ELEMENTWISE


# ---- control flow


def test_cond_and_switch_take_one_branch():
    assert ops.cond(jnp.asarray(True), lambda: 1, lambda: 2) == 1
    assert ops.cond(False, lambda: {"a": 1}, lambda: {"a": 2})["a"] == 2
    assert ops.switch(1, [lambda x: x, lambda x: x * 2], 5.0) == 10
    assert ops.switch(Variable(7, dtype="int32"), [lambda x: x, lambda x: x * 2], 5.0) == 10


def test_while_loop_goes_on_as_long_as_it_is_told_and_no_longer():
    assert ops.while_loop(lambda i: i < 5, lambda i: i + 1, 0) == 5
    i, total = ops.while_loop(lambda i, t: i < 5, lambda i, t: (i + 1, t + i), (0, 0))
    assert (i, total) == (5, 10)
    i, _ = ops.while_loop(lambda i, t: i < 50, lambda i, t: [i + 1, t + i], [0, 0], maximum_iterations=3)
    assert i == 3
    assert ops.while_loop(lambda x: ops.sum(x) < 9, lambda x: x * 2, Variable([1.0, 1.0])).tolist() == [8, 8]


def test_loops_carry_values_along():
    assert ops.fori_loop(0, 4, lambda i, x: x + i, 10) == 16
    last, sums = ops.scan(lambda c, x: (c + x, c + x), jnp.asarray(0.0), jnp.arange(4.0))
    assert last == 6
    assert sums.tolist() == [0, 1, 3, 6]
    last, _ = ops.scan(lambda c, _: (c * 2, c), jnp.asarray(1), length=3, reverse=True)
    assert last == 8
    assert ops.associative_scan(ops.add, jnp.arange(5), reverse=True).tolist() == [10, 10, 9, 7, 4]


def test_functions_are_mapped_over_the_first_axis():
    for mapped in (ops.map, lambda f, x: ops.vectorized_map(f, x)):
        np.testing.assert_allclose(mapped(lambda row: row.sum(), X), X.sum(1), atol=1e-6)
        np.testing.assert_allclose(mapped(lambda pair: pair[0] * pair[1], (X, Y)), X * Y)
    plus = ops.vectorize(lambda a, b: a + b, signature="(n),(n)->(n)")
    np.testing.assert_allclose(plus(X, Y), X + Y)
    with pytest.raises(InvalidArgumentError, match="to be a callable"):
        ops.vectorize(3)


def test_a_gradient_of_ones_own_is_used():
    @ops.custom_gradient
    def doubled(x):
        return x * 2, lambda upstream: upstream * 100

    assert doubled(Variable(3.0)) == 6
    assert jax.grad(doubled)(3.0) == 100


def test_jvp_gives_value_and_derivative_in_a_direction():
    value, slope = ops.jvp(lambda x: x**2, (3.0,), (1.0,))
    assert (value, slope) == (9, 6)


def test_eig_gives_eigenvalues_and_vectors():
    values, vectors = ops.eig(SQUARE)
    np.testing.assert_allclose(SQUARE @ np.asarray(vectors), np.asarray(vectors) * np.asarray(values), atol=1e-4)


def test_stop_gradient_stops_it():
    assert jax.grad(lambda x: ops.stop_gradient(x) * x)(3.0) == 3


def test_a_result_of_sparsemax_adds_up_to_one():
    np.testing.assert_allclose(np.asarray(ops.sparsemax(X * 5)).sum(-1), 1, atol=1e-6)


# ---- errors


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ops.reshape(X, (-2, 6)), InvalidArgumentError, "non-negative integer"),
        (lambda: ops.reshape(X, (-1, -1)), InvalidArgumentError, "at most one unknown dimension"),
        (lambda: ops.where(X > 0, X), InvalidArgumentError, "either both should be `None`"),
        (lambda: ops.split(X, 3, axis=1), InvalidArgumentError, "must be divisible"),
        (lambda: ops.array_split(X, 0), InvalidArgumentError, "positive integer"),
        (lambda: ops.array_split(X, 1.5), InvalidTypeError, "must be of type `int`"),
        (lambda: ops.pad(X, 1, mode="reflect", constant_values=1), InvalidArgumentError, "mode == 'constant'"),
        (lambda: ops.normalize(X, order=0), InvalidArgumentError, "must be an int >= 1"),
        (lambda: ops.qr(SQUARE, mode="half"), InvalidArgumentError, "'reduced', 'complete'"),
        (lambda: ops.cholesky(-SQUARE), InvalidArgumentError, "Cholesky decomposition failed"),
        (lambda: ops.det(X), InvalidArgumentError, "square matrix"),
        (lambda: ops.inv(X[0]), InvalidArgumentError, "rank >= 2"),
        (lambda: ops.solve(SQUARE, X.T), InvalidArgumentError, "Incompatible shapes"),
        (lambda: ops.eye(2.5), InvalidTypeError, "must be an integer"),
        (lambda: ops.fabs(X + 1j), InvalidTypeError, "complex"),
        (lambda: ops.ldexp(X, Y), InvalidTypeError, "integer type"),
        (lambda: ops.searchsorted(SQUARES, X), InvalidArgumentError, "1-D sorted sequences"),
        (lambda: ops.segment_sum(X, [0, 1, 1]), InvalidArgumentError, "`num_segments` must be set"),
        (lambda: ops.segment_sum(X, [0, 1], 2), InvalidArgumentError, "same leading dimension"),
        (lambda: ops.segment_sum(X, [[0, 1]], 2), InvalidArgumentError, "1-D vector"),
        (lambda: ops.scatter_update(X, [[0]], X[:1], reduction="mean"), InvalidArgumentError, "Invalid reduction"),
        (lambda: ops.slice(X, (0,), (1, 1)), InvalidArgumentError, "must match.* dimensions in `inputs`"),
        (lambda: ops.slice(X, (0, 0), (1,)), InvalidArgumentError, "must match.* dimensions in `shape`"),
        (lambda: ops.binary_crossentropy(X, X[0]), InvalidArgumentError, "same shape"),
        (lambda: ops.sparse_categorical_crossentropy([0, 1], X), InvalidArgumentError, "up until the last dimension"),
        (lambda: ops.batch_normalization(X, X[0], X[0, :2], -1), InvalidArgumentError, "`variance` must be a vector"),
        (
            lambda: ops.batch_normalization(X, X[0], X[0], -1, X[0, :2]),
            InvalidArgumentError,
            "`offset` must be a vector",
        ),
        (lambda: ops.one_hot([1], 3, sparse=True), InvalidArgumentError, "Sparse"),
        (lambda: ops.histogram(X[0], bins=-1), InvalidArgumentError, "non-negative"),
        (lambda: ops.vander(X), InvalidArgumentError, "1-dimensional"),
        (lambda: ops.scan(lambda c, x: (c, x), 0, X, unroll=0), InvalidArgumentError, "`unroll`"),
        (lambda: ops.select([], []), InvalidArgumentError, "must not be empty"),
        (lambda: ops.cdist(X, Y[:, :2]), InvalidArgumentError, "must match"),
        (lambda: ops.get_item(X, (slice(None), 17)), InvalidArgumentError, "index 17 is out of bounds for axis 1"),
        (lambda: ops.get_item(Z, (Ellipsis, -5)), InvalidArgumentError, "index -5 is out of bounds for axis 2"),
        (lambda: ops.split(X, 2, axis=10), InvalidArgumentError, "axis 10 is out of bounds"),
        (lambda: ops.swapaxes(X, 0, 5), InvalidArgumentError, "axis 5 is out of bounds"),
        (lambda: ops.unstack(X, axis=10), InvalidArgumentError, "axis 10 is out of bounds"),
        (lambda: ops.diagonal(X, axis1=1, axis2=-1), InvalidArgumentError, "cannot be the same"),
        (lambda: ops.rot90(X, axes=(0, 0)), InvalidArgumentError, "Invalid axes"),
        (lambda: ops.convert_to_tensor(X, ragged=True), InvalidArgumentError, "ragged"),
    ],
)
def test_bad_arguments_are_refused_with_a_reason(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_softmax_of_one_class_warns():
    with pytest.warns(UserWarning, match="softmax over axis -1"):
        ops.softmax(X[:, :1])


def test_moments_across_devices_are_refused():
    with pytest.raises(NotImplementedError, match="synchronized"):
        ops.moments(X, [0], synchronized=True)
