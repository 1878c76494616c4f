"""Every kind of data that users have, in `fit`, `validation_data`, `evaluate` and `predict`: the same numbers as arrays."""

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.errors import InvalidArgumentError
from lamina.utils import PyDataset

X = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
NAMES = list("abc")


def model():
    lamina.utils.set_random_seed(0)
    found = lamina.Sequential([lamina.Input((3,)), layers.Dense(1)])
    found.compile("sgd", "mse")
    return found


def results(x, y=None, predicted=None):
    """Return losses of training, validation and evaluation, and predictions; arguments are made anew for each use."""
    own = model()
    targets = {} if y is None else {"y": y()}
    validation = x() if y is None else (x(), y())
    history = own.fit(x(), **targets, batch_size=None if y is None else 16, epochs=2, shuffle=False, verbose=0,
                      validation_data=validation)  # fmt: skip
    evaluated = own.evaluate(x(), **({} if y is None else {"y": y()}), verbose=0)
    return [*history.history["loss"], *history.history["val_loss"], evaluated], own.predict(
        (predicted or x)(), verbose=0
    )


WANTED = results(lambda: X, lambda: Y)


def same(found):
    np.testing.assert_allclose(found[0], WANTED[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], WANTED[1], rtol=1e-5, atol=1e-6)


def pandas():
    import pandas

    return lambda: pandas.DataFrame(X, columns=NAMES), lambda: pandas.Series(Y[:, 0])


def polars():
    polars = pytest.importorskip("polars")
    return lambda: polars.DataFrame(X, schema=NAMES), lambda: polars.Series(Y[:, 0])


def pyarrow():
    pyarrow = pytest.importorskip("pyarrow")
    columns = {name: X[:, i] for i, name in enumerate(NAMES)}
    return lambda: pyarrow.table(columns), lambda: pyarrow.chunked_array([Y[:20, 0], Y[20:, 0]])


def sparse(kind):
    def make():
        from scipy import sparse

        return lambda: getattr(sparse, kind)(X), lambda: sparse.csr_matrix(Y)

    return make


def torch():
    torch = pytest.importorskip("torch")
    return lambda: torch.tensor(X, requires_grad=True), lambda: torch.tensor(Y)


def lists():
    return lambda: X.tolist(), lambda: Y.tolist()


@pytest.mark.parametrize(
    "kind", [pandas, polars, pyarrow, sparse("csr_matrix"), sparse("coo_array"), torch, lists], ids=lambda k: k.__name__
)
def test_data_as_a_whole_count_as_arrays_do(kind):
    same(results(*kind()))


def batches(start=0, stop=48, step=16):
    return [(X[i : i + step], Y[i : i + step]) for i in range(start, stop, step)]


def loader():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return lambda: torch.utils.data.DataLoader(data, batch_size=16)


def grain(kind):
    def make():
        grain = pytest.importorskip("grain")

        class Source(grain.sources.RandomAccessDataSource):
            def __getitem__(self, index):
                return X[index], Y[index]

            def __len__(self):
                return len(X)

        if kind == "map":
            return lambda: grain.MapDataset.source(Source()).batch(16)
        if kind == "iter":
            return lambda: grain.MapDataset.source(Source()).to_iter_dataset().batch(16)
        return lambda: grain.DataLoader(
            data_source=Source(),
            sampler=grain.samplers.SequentialSampler(len(X)),
            operations=[grain.transforms.Batch(16)],
            worker_count=0,
        )

    make.__name__ = f"grain_{kind}"
    return make


def dataset(workers):
    class Data(PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return batches()[index]

    return lambda: lambda: Data(workers=workers)


class Iterable:
    def __iter__(self):
        return iter(batches())


@pytest.mark.parametrize(
    "kind",
    [loader, grain("map"), grain("iter"), grain("loader"), dataset(1), dataset(3), lambda: Iterable],
    ids=["loader", "grain_map", "grain_iter", "grain_loader", "dataset", "dataset_workers", "iterable"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_data_that_come_in_batches_count_as_arrays_do(kind):
    same(results(kind()))


def test_a_generator_feeds_each_call_once():
    def forever():
        while True:
            yield from batches()

    own = model()
    history = own.fit(forever(), steps_per_epoch=3, epochs=2, validation_data=forever(), validation_steps=3, verbose=0)
    found = [*history.history["loss"], *history.history["val_loss"], own.evaluate(forever(), steps=3, verbose=0)]
    same((found, own.predict((x for x, _ in batches()), verbose=0)))


def test_a_data_set_of_tensorflow_counts_as_arrays_do():
    tensorflow = pytest.importorskip("tensorflow")
    same(results(lambda: tensorflow.data.Dataset.from_tensor_slices((X, Y)).batch(16)))


def two_inputs():
    a, b = layers.Input((2,), name="a"), layers.Input((1,), name="b")
    found = lamina.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    found.compile("sgd", "mse")
    return found


@pytest.mark.parametrize(
    "make", [lambda x: [x[:, :2], x[:, 2:]], lambda x: (x[:, :2], x[:, 2]), lambda x: {"b": x[:, 2], "a": x[:, :2]}]
)
def test_several_inputs_come_as_lists_tuples_and_dicts(make):
    lamina.utils.set_random_seed(0)
    own = two_inputs()
    own.fit(make(X), Y, validation_data=(make(X), Y), epochs=1, verbose=0)
    lamina.utils.set_random_seed(0)
    other = two_inputs()
    other.fit([X[:, :2], X[:, 2:]], Y, epochs=1, verbose=0)
    np.testing.assert_array_equal(own.predict(make(X), verbose=0), other.predict([X[:, :2], X[:, 2:]], verbose=0))


@pytest.mark.parametrize("kind", [pandas, polars, pyarrow], ids=lambda k: k.__name__)
@pytest.mark.parametrize("method", ["predict", "evaluate"])
def test_columns_in_another_order_are_refused(kind, method):
    x, y = kind()
    own = model()
    own.fit(x(), y(), verbose=0)
    turned = x().select(["b", "a", "c"]) if hasattr(x(), "select") else x()[["b", "a", "c"]]
    with pytest.raises(InvalidArgumentError, match=r"(?s)another order than in `fit`.*model\.column_names"):
        getattr(own, method)(turned, **({"y": y()} if method == "evaluate" else {}), verbose=0)


def tables(column):
    import pandas

    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    columns = {"a": [1.0, 2.0], "b": column}
    return [pandas.DataFrame(columns), polars.DataFrame(columns), pyarrow.table(columns)]


@pytest.mark.parametrize("which", range(3))
def test_a_column_of_strings_is_named(which):
    with pytest.raises(InvalidArgumentError, match=r"(?s)`x` must hold real numbers.*column 'b'.*To fix it: encode"):
        model().fit(tables(["u", "v"])[which], np.ones(2), verbose=0)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.array([["u"] * 3]), "`x` must hold real numbers.*strings.*StringLookup"),
        (object(), "`x`.*Unrecognized data type"),
        ("file.csv", "`x`.*Unrecognized data type"),
        ([[1.0, 2.0, 3.0], [1.0]], "`x` must hold real numbers.*different lengths"),
        (np.ma.masked_array([[1.0, 2.0, 3.0]], mask=True), "masked array.*filled"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(x, text):
    with pytest.raises(InvalidArgumentError, match=f"(?s){text}"):
        model().fit(x, np.ones(1), verbose=0)
