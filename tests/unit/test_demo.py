import io
import types

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("matplotlib")

from lamina.demo import pictures, work
from lamina.demo.progress import Progress

HISTORY = {"loss": [0.5, 0.2], "val_loss": [0.3, 0.25], "accuracy": [0.85, 0.95], "val_accuracy": [0.91, 0.93]}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function that draws into a file and gives back the figure and the pixels of the file."""
    import matplotlib.image

    figures = []
    savefig = pictures.Figure.savefig
    monkeypatch.setattr(pictures, "_DOTS", 40)
    monkeypatch.setattr(
        pictures.Figure, "savefig", lambda self, *args, **more: (figures.append(self), savefig(self, *args, **more))
    )

    def draw(picture, *args):
        path = tmp_path / "picture.png"
        picture(*args, path)
        return figures[-1], matplotlib.image.imread(path)

    return draw


def test_no_gradient_of_the_input_is_counted_for_the_first_layer():
    assert work.operations([4, 3], inference=10) == 10 * 2 * 4 * 3
    assert work.operations([4, 3], training=10) == 10 * 2 * (2 * 4 * 3)
    assert work.operations([4, 3, 5], training=10) == 10 * 2 * (2 * 4 * 3 + 3 * 3 * 5)
    assert work.operations([784, 512, 256, 10], training=1, inference=1) == 2_407_424 + 1_070_080


def test_the_curves_show_training_and_validation_with_their_last_values(drawn):
    figure, pixels = drawn(pictures.curves, HISTORY)
    loss, accuracy = figure.axes
    assert (loss.get_title("left"), accuracy.get_title("left")) == ("Loss", "Accuracy")
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training: 0.200", "validation: 0.250"]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training: 95.0%", "validation: 93.0%"]
    assert accuracy.lines[1].get_ydata().tolist() == HISTORY["val_accuracy"]
    assert pixels.std() > 0


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (20, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        (50, [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]),
    ],
)
def test_epochs_have_round_ticks(epochs, expected):
    assert pictures._ticks(epochs) == expected


def test_the_mistakes_come_with_truth_guess_and_probability_the_surest_first(drawn):
    images = np.arange(4 * 784, dtype=np.uint8).reshape(4, 28, 28)
    labels = np.array([7, 1, 2, 3])
    probabilities = np.full((4, 10), 0.01)
    for row, (guess, probability) in enumerate([(9, 0.6), (1, 0.9), (0, 0.8), (3, 0.7)]):
        probabilities[row, guess] = probability
    figure, pixels = drawn(pictures.mistakes, images, labels, probabilities)
    assert figure.get_suptitle() == "2 of 4 test digits guessed wrong"
    named = [(axes.get_title("left"), axes.get_title("right")) for axes in figure.axes if axes.images]
    assert named == [("2 → 0", "80%"), ("7 → 9", "60%")]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[2])
    assert pixels.std() > 0


def test_of_many_mistakes_the_forty_surest_are_drawn(drawn):
    labels, probabilities = np.ones(60, int), np.zeros((60, 10))
    probabilities[:, 2] = np.linspace(0.5, 1, 60)
    figure, _ = drawn(pictures.mistakes, np.zeros((60, 28, 28), np.uint8), labels, probabilities)
    assert len([axes for axes in figure.axes if axes.images]) == 40
    assert figure.get_suptitle() == "60 of 60 test digits guessed wrong: the 40 of which it was surest"
    assert figure.axes[0].get_title("right") == "100%"


def test_without_mistakes_there_is_still_a_picture(drawn):
    figure, _ = drawn(pictures.mistakes, np.zeros((2, 28, 28), np.uint8), np.array([0, 1]), np.eye(10)[:2])
    assert figure.get_suptitle() == "0 of 2 test digits guessed wrong"


@pytest.mark.parametrize("units", [100, 5])
def test_the_weights_of_the_largest_units_are_drawn_on_one_scale_around_zero(drawn, units):
    kernel = np.random.default_rng(0).standard_normal((784, units)) * np.linspace(1, 2, units)
    figure, pixels = drawn(pictures.weights, kernel)
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == min(64, units)
    largest = np.linalg.norm(kernel, axis=0).argmax()
    np.testing.assert_array_equal(images[0].get_array(), kernel[:, largest].reshape(28, 28))
    assert len({image.get_clim() for image in images}) == 1
    low, high = images[0].get_clim()
    assert low == -high
    assert pixels.std() > 0


def test_a_kernel_of_zeros_can_be_drawn(drawn):
    drawn(pictures.weights, np.zeros((784, 3)))


@pytest.fixture
def progress(monkeypatch):
    from lamina.demo import progress as module

    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))

    def make(**options):
        stream = io.StringIO()
        shown = Progress(Console(file=stream, **options), rows=1_000)
        shown.set_params({"epochs": 5})
        shown.on_train_begin()
        return shown, stream, clock

    return make


LOGS = {"loss": 0.1234, "accuracy": 0.956, "val_loss": 0.2, "val_accuracy": 0.9}


def test_progress_is_a_line_for_each_epoch_where_nobody_looks(progress):
    shown, stream, clock = progress(width=80)
    for epoch, clock.now in enumerate((10.0, 10.5, 11.0)):  # the first epoch compiles and sets no rate
        shown.on_epoch_end(epoch, LOGS)
    assert stream.getvalue().splitlines() == [
        "epoch 1/5  loss 0.123  accuracy 95.6%",
        "epoch 2/5  loss 0.123  accuracy 95.6%  2,000 samples/s  2 s left",
        "epoch 3/5  loss 0.123  accuracy 95.6%  2,000 samples/s  1 s left",
    ]


def test_a_wide_terminal_shows_the_validation_too(progress):
    shown, stream, _ = progress(width=120)
    shown.on_epoch_end(0, LOGS)
    assert "validation 90.0%" in stream.getvalue()


def test_on_a_terminal_one_bar_fits_a_line_and_ends_whatever_happens(progress):
    shown, stream, clock = progress(width=80, force_terminal=True, legacy_windows=False)

    def interrupted():
        with shown:
            for epoch, clock.now in enumerate((10.0, 10.5)):
                shown.on_epoch_end(epoch, LOGS)
            shown.bar.refresh()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = stream.getvalue()
    assert "2/5" in text
    assert "2,000 samples/s  2 s left" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back
