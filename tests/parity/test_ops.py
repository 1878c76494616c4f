"""Operations against Keras's own, live on JAX: values, types, derivatives, stand-ins, files."""

import jax
import keras
import numpy as np
import pytest
from keras import ops as theirs
from ops_cases import CASES

import lamina
from lamina import ops

# What Keras gets wrong: the rows of its `sparsemax` on JAX do not add up to 1 (not in the table); a matrix of unknown
# size may not be square; as many correlations as rows go down and across.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compiled once, run once
WRONG_SHAPES = ("logdet", "corrcoef")
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")


def leaves(result):
    return jax.tree.leaves(result)


def few(cases, most):
    """Return the cases, not more than `most` of one name."""
    return [c for i, c in enumerate(cases) if sum(other.name == c.name for other in cases[:i]) < most]


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=[str(c) for c in cases])


def close(mine, their, atol):
    assert len(leaves(mine)) == len(leaves(their))
    for a, b in zip(leaves(mine), leaves(their), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(np.asarray(a, complex), np.asarray(b, complex), rtol=1e-5, atol=atol)


def types(result):
    return [(type(x).__name__ if not hasattr(x, "dtype") else str(x.dtype)) for x in leaves(result)]


def in_groups(cases, size=40):
    """Return the parametrization over groups of cases, each compiled as one program: a tenth of the time."""
    groups = [cases[i : i + size] for i in range(0, len(cases), size)]
    return pytest.mark.parametrize("group", groups, ids=[f"{g[0].name}-{g[-1].name}" for g in groups])


def compare(group, run):
    """Assert that `run(module, case, arrays)` gives the same in both libraries, for each case of a group."""

    def program(module):
        def run_all(given):
            return [run(module, *pair) for pair in zip(group, given, strict=True)]

        return jax.jit(run_all, compiler_options=QUICK)

    given = [_arrays(case)[0] for case in group]
    mine, their = program(ops)(given), program(theirs)(given)
    problems = {}
    for case, a, b in zip(group, mine, their, strict=True):
        try:
            assert types(a) == types(b)
            close(a, b, 20 * case.atol)
        except AssertionError as error:
            problems[str(case)] = error
    assert not problems, problems


@in_groups([c for c in CASES if c.traced])
def test_values_and_types_are_kerass(group):
    compare(group, lambda module, case, arrays: _apply(module, case, _arrays(case)[1], arrays))


@each([c for c in CASES if not c.traced])
def test_values_of_what_is_not_compiled_are_kerass(case):
    mine = getattr(ops, case.name)(*case.args, **case.kwargs)
    their = getattr(theirs, case.name)(*case.args, **case.kwargs)
    assert types(mine) == types(their)
    close(mine, their, case.atol)


def test_the_table_has_every_operation_but_those_that_take_functions_or_give_no_array():
    assert set(ops.__all__) - {case.name for case in CASES} == {
        "associative_scan", "cond", "convert_to_numpy", "custom_gradient", "dtype", "eig", "fori_loop", "is_tensor",
        "jvp", "map", "ndim", "scan", "shape", "sparsemax", "switch", "vectorize", "vectorized_map", "while_loop",
    }  # fmt: skip


def _arrays(case):
    """Return the arrays among the arguments, and a function that puts others in their place."""
    flat, structure = jax.tree.flatten((case.args, case.kwargs))
    places = [i for i, leaf in enumerate(flat) if isinstance(leaf, np.ndarray)]

    def put(values):
        filled = list(flat)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        return jax.tree.unflatten(structure, filled)

    return [flat[i] for i in places], put


def _floats(case):
    return [i for i, a in enumerate(_arrays(case)[0]) if a.dtype.kind == "f"]


@in_groups(few([c for c in CASES if c.smooth and _floats(c)], 1))
def test_derivatives_are_kerass(group):
    def gradient(module, case, arrays):
        put = _arrays(case)[1]

        def total(values):
            new = list(arrays)
            for i, value in zip(_floats(case), values, strict=True):
                new[i] = value
            found = leaves(_apply(module, case, put, new))
            return sum((x * np.cos(np.arange(x.size)).reshape(x.shape)).sum() for x in found)

        return jax.grad(total)([arrays[i] for i in _floats(case)])

    compare(group, gradient)


def _stand_ins(module, arrays, unknown):
    shapes = [(None, *a.shape[1:]) if unknown and a.ndim > 1 else a.shape for a in arrays]
    return [module.KerasTensor(shape, dtype=a.dtype.name) for shape, a in zip(shapes, arrays, strict=True)]


@each(few([c for c in CASES if c.symbolic], 4))
def test_stand_ins_have_the_shape_and_type_of_the_result(case):
    arrays, put = _arrays(case)
    args, kwargs = put(_stand_ins(lamina, arrays, unknown=False))
    spec = leaves(getattr(ops, case.name)(*args, **kwargs))
    found = leaves(jax.eval_shape(lambda *new: _apply(ops, case, put, new), *arrays))
    assert [(x.shape, x.dtype) for x in spec] == [(x.shape, str(x.dtype)) for x in found]


def _apply(module, case, put, arrays):
    args, kwargs = put(arrays)
    return getattr(module, case.name)(*args, **kwargs)


@each(few([c for c in CASES if c.symbolic and c.name not in WRONG_SHAPES], 4))
def test_stand_ins_of_unknown_batch_have_kerass_shapes(case):
    arrays, put = _arrays(case)
    try:
        their = [x.shape for x in leaves(_apply(theirs, case, put, _stand_ins(keras, arrays, unknown=True)))]
    except Exception:
        return  # Keras knows the shape for a known batch only, or wants an array where a number is given
    mine = [x.shape for x in leaves(_apply(ops, case, put, _stand_ins(lamina, arrays, unknown=True)))]
    assert mine == their


def _model(library, module, group):
    """Return a model of which each output is one operation of its own inputs."""
    inputs, outputs = [], []
    for i, case in enumerate(group):
        arrays, put = _arrays(case)
        own = [
            library.Input(batch_shape=(None, *a.shape[1:]), dtype=a.dtype.name, name=f"input_{i}_{j}")
            for j, a in enumerate(arrays)
        ]
        inputs += own
        outputs += leaves(_apply(module, case, put, own))
    return library.Model(inputs, outputs)


def _filed(case):
    arrays = _arrays(case)[0]
    return case.filed and case.symbolic and arrays and all(a.ndim > 1 for a in arrays)


@in_groups(few([c for c in CASES if _filed(c) and c.name not in WRONG_SHAPES], 1), size=20)
def test_a_model_of_operations_goes_to_keras_and_back(group):
    from lamina.keras import Model

    arrays = [array for case in group for array in _arrays(case)[0]]
    mine = _model(lamina.keras, ops, group)
    there = keras.Model.from_config(mine.get_config())
    back = Model.from_config(there.get_config())
    for model in (there, back):
        close(model(arrays), mine(arrays), 1e-5)
