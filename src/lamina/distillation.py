"""A small model that learns from a large one, under Keras's names."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina import losses, registry, serialization
from lamina._types import Array, Config, Tree
from lamina.errors import invalid
from lamina.losses import KLDivergence
from lamina.metrics import Mean
from lamina.models import Functional, Model, Sequential

__all__ = ["DistillationLoss", "Distiller", "FeatureDistillation", "LogitsDistillation"]


@registry.export("distillation")
class DistillationLoss(serialization.Configurable):
    """The base of what the outputs of a student cost beside those of its teacher: a subclass writes `compute_loss`."""

    teacher_layer_name: str | None = None
    student_layer_name: str | None = None

    def compute_loss(self, teacher_outputs: Tree, student_outputs: Tree, **kwargs: Any) -> Array:
        """Return one number."""
        raise NotImplementedError("Subclasses must implement compute_loss")

    def validate_outputs(self, teacher_outputs: Tree, student_outputs: Tree) -> None:
        """Raise `InvalidArgumentError` unless both are built alike."""
        one: Any = jax.tree.structure(teacher_outputs)
        other: Any = jax.tree.structure(student_outputs)
        if one != other:
            raise invalid(
                "Teacher and student must have outputs of the same structure.",
                owner=type(self).__name__,
                received=f"{one} and {other}",
            )

    def validate_model_compatibility(self, teacher: Model, student: Model) -> None:
        """Raise `InvalidArgumentError` unless both models have what the loss compares."""


def _functions(loss: Tree, owner: str) -> Tree:
    """Return the losses that names or objects stand for."""
    found = jax.tree.map(losses.get, loss, is_leaf=lambda x: isinstance(x, str))
    if not jax.tree.leaves(found):
        raise invalid(f"The `loss` argument in `{owner}` must contain at least one non-`None` value.")
    return found


def _summed(functions: Tree, teacher: Tree, student: Tree, of: Any) -> Array:
    """Return the sum of the means of `of(function, teacher, student)`; where a function is None there is nothing."""
    parts = jax.tree.map(
        lambda fn, t, s: jnp.zeros(()) if fn is None else jnp.mean(of(fn, t, s)),
        functions,
        teacher,
        student,
        is_leaf=lambda x: x is None,
    )
    return sum(jax.tree.leaves(parts), start=jnp.zeros(()))


@registry.export("distillation")
class FeatureDistillation(DistillationLoss):
    """The loss between what two layers give, or between the outputs of the models.

    Args:
        loss: A loss, its name, or a structure of them built like the outputs.
        teacher_layer_name: Layer of the teacher. Default: its output.
        student_layer_name: Layer of the student. Default: its output.

    Raises:
        InvalidArgumentError: If there is no loss, or a model has no such layer.
    """

    def __init__(
        self, loss: Any = "mse", teacher_layer_name: str | None = None, student_layer_name: str | None = None
    ) -> None:
        self.loss, self._functions = loss, _functions(loss, "FeatureDistillation")
        self.teacher_layer_name, self.student_layer_name = teacher_layer_name, student_layer_name

    def validate_model_compatibility(self, teacher: Model, student: Model) -> None:
        """Raise `InvalidArgumentError` unless both models have the layers."""
        for who, model, name in (
            ("teacher", teacher, self.teacher_layer_name),
            ("student", student, self.student_layer_name),
        ):
            if name is None:
                continue
            if not isinstance(model, Functional | Sequential) or model._graph is None:
                raise invalid(
                    "FeatureDistillation with specific layer names requires Functional or Sequential models that are "
                    f"built. The {who} model appears to be subclassed (no symbolic inputs/outputs) or not built.",
                    received=f"{who}_layer_name={name!r}",
                    fix="leave the names out to compare the outputs, or build the model from `Input`s.",
                )
            try:
                model.get_layer(name=name)
            except ValueError as error:
                raise invalid(f"In {who} model: {error}") from error

    def compute_loss(self, teacher_outputs: Tree, student_outputs: Tree, **kwargs: Any) -> Array:
        """Return the sum of the losses."""
        return _summed(self._functions, teacher_outputs, student_outputs, lambda fn, t, s: fn(t, s))


@registry.export("distillation")
class LogitsDistillation(DistillationLoss):
    """The loss between the outputs, taken as logits and divided by a temperature (Hinton et al., 2015).

    Args:
        temperature: How soft the probabilities become.
        loss: A loss, its name, or a structure of them built like the outputs. The Kullback-Leibler divergence gets
            probabilities and counts `temperature ** 2` times.

    Raises:
        InvalidArgumentError: If there is no loss, or the temperature is no positive number.
    """

    def __init__(self, temperature: float = 3.0, loss: Any = "kl_divergence") -> None:
        self.temperature, self.loss = temperature, loss
        self._functions = _functions(loss, "LogitsDistillation")
        if not isinstance(temperature, int | float) or isinstance(temperature, bool):
            raise invalid(f"temperature must be a number, got {type(temperature)}.")
        if not temperature > 0:
            raise invalid("temperature must be positive.", received=f"temperature={temperature}")

    def compute_loss(self, teacher_outputs: Tree, student_outputs: Tree, **kwargs: Any) -> Array:
        """Return the sum of the losses."""

        def one(function: Any, teacher: Array, student: Array) -> Array:
            teacher, student = teacher / self.temperature, student / self.temperature
            if isinstance(function, KLDivergence) or function is losses.kl_divergence:
                found: Array = function(jax.nn.softmax(teacher), jax.nn.softmax(student)) * self.temperature**2
                return found
            return jnp.asarray(function(teacher, student))

        return _summed(self._functions, teacher_outputs, student_outputs, one)


@registry.export("distillation")
class Distiller(Model):
    """A model whose `fit` trains the student on the targets and on what the teacher says.

    The loss is `student_loss_weight * loss + (1 - student_loss_weight) * distillation losses`; the teacher stays as
    it is, the outputs are the student's.

    Args:
        teacher: The trained model.
        student: The model that learns.
        distillation_losses: One `DistillationLoss` or a list of them.
        distillation_loss_weights: By how much each counts. Default: 1.
        student_loss_weight: Share of the loss of `compile`, in [0, 1].
        name: Its name.
        **kwargs: See `Layer`.

    Raises:
        InvalidArgumentError: If the models do not fit each other, or numbers are out of range.
    """

    def __init__(
        self,
        teacher: Model,
        student: Model,
        distillation_losses: Any,
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _check_models(teacher, student)
        if not isinstance(student_loss_weight, int | float) or not 0 <= student_loss_weight <= 1:
            raise invalid(f"student_loss_weight must be between 0.0 and 1.0, got {student_loss_weight!r}")
        if distillation_losses is None:
            raise invalid(
                "'distillation_losses' cannot be `None`. Provide a distillation loss (e.g., LogitsDistillation or "
                "FeatureDistillation) or a list of distillation losses."
            )
        several = isinstance(distillation_losses, list | tuple)
        self.distillation_losses = list(distillation_losses) if several else [distillation_losses]
        self.distillation_loss_weights = list(distillation_loss_weights or [1.0] * len(self.distillation_losses))
        if len(self.distillation_loss_weights) != len(self.distillation_losses):
            raise invalid(
                f"Number of distillation_loss_weights ({len(self.distillation_loss_weights)}) must match number of "
                f"distillation_losses ({len(self.distillation_losses)})"
            )
        for loss in self.distillation_losses:
            loss.validate_model_compatibility(teacher, student)
        self.teacher, self.student, self.student_loss_weight = teacher, student, student_loss_weight
        teacher.trainable = False
        wanted = [[getattr(loss, f"{who}_layer_name") for loss in self.distillation_losses] for who in _WHO]
        # Not attributes of the model: their layers are those of teacher and student.
        self.__dict__["_inside"] = [_inside(m, names) for m, names in zip((teacher, student), wanted, strict=True)]
        self.student_loss_tracker = Mean(name="student_loss")
        self.distillation_loss_tracker = Mean(name="distillation_loss")
        self.total_loss_tracker = Mean(name="total_loss")

    def compile(  # type: ignore[override]
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Say how the student is trained; see `Model.compile`."""
        if loss is None:
            raise invalid("'loss' cannot be `None`.", fix="pass the student's loss for the targets.")
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config: Config) -> None:
        """Compile with what `get_compile_config` gave."""
        self.compile(**serialization.deserialize({k: v for k, v in config.items() if k != "jit_compile"}))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.student(inputs, training=training)

    def compute_loss(
        self, x: Tree = None, y: Tree = None, y_pred: Tree = None, sample_weight: Tree = None, training: bool = True
    ) -> Array:
        """Return the weighted sum of the student's loss and the distillation losses."""
        share = self.student_loss_weight
        y_pred = self(x, training=training) if y_pred is None else y_pred
        own = super().compute_loss(x, y, y_pred, sample_weight)
        taught = self._taught(x, y_pred, training) if share < 1 else jnp.zeros(())
        total = share * own + (1 - share) * taught
        self.student_loss_tracker.update_state(own)
        self.distillation_loss_tracker.update_state(taught)
        self.total_loss_tracker.update_state(total)
        return total

    def _taught(self, x: Tree, y_pred: Tree, training: bool) -> Array:
        teacher, student = self.__dict__["_inside"]
        theirs = teacher(x, training=False) if teacher is not None else {"": self.teacher(x, training=False)}
        ours = {"": y_pred} if student is None else {**student(x, training=training), "": y_pred}
        total = jnp.zeros(())
        for loss, weight in zip(self.distillation_losses, self.distillation_loss_weights, strict=True):
            pair = theirs[loss.teacher_layer_name or ""], ours[loss.student_layer_name or ""]
            loss.validate_outputs(*pair)
            one = jnp.asarray(loss.compute_loss(*pair))
            if one.ndim:
                raise invalid(
                    f"Distillation loss {type(loss).__name__} returned a non-scalar loss with shape {one.shape}. The "
                    "compute_loss method must return a scalar tensor."
                )
            total = total + weight * one
        return total


_WHO = ("teacher", "student")


def _inside(model: Model, names: list[str | None]) -> Model | None:
    """Return a model that gives the output of the named layers too, under their names; "" is the model's own."""
    wanted = {name: model.get_layer(name=name).output for name in names if name is not None}
    return Functional(model.inputs, {**wanted, "": model.output}) if wanted else None


def _check_models(teacher: Any, student: Any) -> None:
    for who, model in zip(_WHO, (teacher, student), strict=True):
        if not isinstance(model, Model):
            raise invalid(f"{who.capitalize()} must be a keras.Model, got {type(model)}")
    if teacher._graph is None or student._graph is None:
        return
    for what in ("input", "output"):
        pairs = zip(getattr(teacher, f"{what}s"), getattr(student, f"{what}s"), strict=False)
        for one, other in pairs:
            fits = len(one.shape) == len(other.shape) and all(
                a == b or None in (a, b) for a, b in zip(one.shape, other.shape, strict=True)
            )
            if not fits:
                raise invalid(
                    f"Teacher and student {what} shapes are incompatible. Teacher: {one.shape}, Student: "
                    f"{other.shape}. All dimensions must match."
                )
            if one.dtype != other.dtype:
                raise invalid(
                    f"Teacher and student {what} dtypes must match. Teacher: {one.dtype}, Student: {other.dtype}."
                )
