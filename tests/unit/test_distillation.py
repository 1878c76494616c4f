"""A small model learns from a large one."""

import numpy as np
import pytest

from lamina.errors import InvalidArgumentError
from lamina.keras import Input, Model, Sequential, layers, losses, saving
from lamina.keras.distillation import DistillationLoss, Distiller, FeatureDistillation, LogitsDistillation

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
Y = np.arange(24) % 3


def net(units, name, outputs=3, inputs=5):
    return Sequential(
        [Input((inputs,)), layers.Dense(units, "tanh", name=f"{name}_1"), layers.Dense(outputs)], name=name
    )


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("loss", ["kl_divergence", losses.KLDivergence()])
def test_the_loss_is_the_weighted_sum_of_the_students_and_the_teachers(loss):
    teacher, student = net(16, "teacher"), net(4, "student")
    distiller = Distiller(teacher, student, LogitsDistillation(2.0, loss), student_loss_weight=0.25)
    distiller.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    found = distiller.evaluate(X, Y, batch_size=24, verbose=0, return_dict=True)
    t, s = (softmax(m.predict(X, verbose=0) / 2) for m in (teacher, student))
    taught = 4 * np.mean(np.sum(t * np.log(t / s), -1))
    own = -np.mean(np.log(softmax(student.predict(X, verbose=0))[np.arange(24), Y]))
    assert found["student_loss"] == pytest.approx(own, rel=1e-4)
    assert found["distillation_loss"] == pytest.approx(taught, rel=1e-3)
    assert found["loss"] == pytest.approx(0.25 * own + 0.75 * taught, rel=1e-3)


def test_only_the_student_is_trained_also_on_what_layers_give():
    teacher, student = net(8, "teacher"), net(8, "student")
    kept = [w.copy() for w in teacher.get_weights()]
    both = [LogitsDistillation(), FeatureDistillation("mse", "teacher_1", "student_1")]
    distiller = Distiller(teacher, student, both, [0.5, 2.0])
    distiller.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
    history = distiller.fit(X, Y, epochs=12, validation_split=0.25, verbose=0).history
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
    assert {"total_loss", "student_loss", "val_total_loss"} <= set(history)
    assert all(np.array_equal(a, b) for a, b in zip(kept, teacher.get_weights(), strict=True))
    np.testing.assert_allclose(distiller.predict(X, verbose=0), student.predict(X, verbose=0), rtol=1e-4, atol=1e-6)
    assert len(distiller.trainable_weights) == len(student.weights)


def test_a_distiller_is_saved_and_read(tmp_path):
    distiller = Distiller(net(8, "teacher"), net(4, "student"), LogitsDistillation(3.0), student_loss_weight=0.7)
    distiller.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    distiller.fit(X, Y, verbose=0)
    distiller.save(tmp_path / "m.keras")
    again = saving.load_model(tmp_path / "m.keras")
    assert (again.student_loss_weight, again.distillation_losses[0].temperature) == (0.7, 3.0)
    np.testing.assert_allclose(again.predict(X, verbose=0), distiller.predict(X, verbose=0), rtol=1e-6)


class Rows(DistillationLoss):
    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return teacher_outputs - student_outputs


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Distiller("a", net(2, "s"), LogitsDistillation()), "Teacher must be"),
        (lambda: Distiller(net(2, "t"), net(2, "s"), None), "cannot be `None`"),
        (lambda: Distiller(net(2, "t"), net(2, "s", outputs=4), LogitsDistillation()), "output shapes"),
        (lambda: Distiller(net(2, "t"), net(2, "s", inputs=6), LogitsDistillation()), "input shapes"),
        (lambda: Distiller(net(2, "t"), net(2, "s"), LogitsDistillation(), student_loss_weight=2), "between 0.0"),
        (lambda: Distiller(net(2, "t"), net(2, "s"), [LogitsDistillation()], [1, 2]), "must match number"),
        (lambda: Distiller(net(2, "t"), net(2, "s"), FeatureDistillation("mse", "no", "s_1")), "In teacher model"),
        (lambda: Distiller(Model(), net(2, "s"), FeatureDistillation("mse", "t_1", "s_1")), "requires Functional"),
        (lambda: LogitsDistillation(temperature=0), "must be positive"),
        (lambda: LogitsDistillation(temperature="hot"), "must be a number"),
        (lambda: FeatureDistillation(loss=None), "at least one non-`None`"),
        (lambda: LogitsDistillation().validate_outputs(X, {"a": X}), "same structure"),
        (lambda: Distiller(net(2, "t"), net(2, "s"), LogitsDistillation()).compile("sgd"), "'loss' cannot be"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(InvalidArgumentError, match=text):
        make()


def test_a_loss_that_is_no_number_is_refused():
    distiller = Distiller(net(2, "t"), net(2, "s"), Rows())
    distiller.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(InvalidArgumentError, match="non-scalar"):
        distiller.fit(X, Y, verbose=0)
