"""Update rules: pure `optax.GradientTransformationExtraArgs` whose numbers, and whose state, are Keras's.

Each takes `step` (updates made so far, an integer) and `learning_rate` beside the gradients, because in Keras's layout
both belong to the optimizer, not to the rule. The state is a dict: the name of a slot to one array for each parameter.
Where an optax part has Keras's numbers and Keras's slots it does the work (docs/design/adr/0004-optimizers.md).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp

from lamina._types import Array, Arrays

Slots: TypeAlias = dict[str, Any]  # slot name -> tuple of arrays, one for each parameter; an array where all share one
Transformation: TypeAlias = Any  # optax.GradientTransformationExtraArgs
Scalars: TypeAlias = tuple[Array, ...]


def transformation(
    init: Callable[[Arrays], Slots], update: Callable[[Arrays, Slots, Arrays, Array, Array], tuple[Arrays, Slots]]
) -> Transformation:
    """Return the optax transformation made of `init(params)` and `update(grads, slots, params, step, rate)`."""
    import optax

    def update_fn(
        updates: Arrays,
        state: Slots,
        params: Arrays | None = None,
        *,
        step: Array,
        learning_rate: Array,
        **extra: Any,
    ) -> tuple[Arrays, Slots]:
        del extra
        return update(updates, state, updates if params is None else params, step, learning_rate)

    return optax.GradientTransformationExtraArgs(init, update_fn)


def zeros(*names: str) -> Callable[[Arrays], Slots]:
    """Return an `init` that starts each named slot at zero, in the parameter's shape and type.

    Slots of one shape begin as one and the same array: of a thousand equal layers only one is made.
    """

    def init(params: Arrays) -> Slots:
        kinds = {(p.shape, p.dtype) for p in params}
        made = {kind: jnp.zeros(*kind) for kind in kinds}
        return {name: tuple([made[p.shape, p.dtype] for p in params]) for name in names}

    return init


def elementwise(
    names: Sequence[str],
    scalars: Callable[[Array, Array], Scalars],
    formula: Callable[..., Arrays],
    init: Callable[[Arrays], Slots] | None = None,
) -> Transformation:
    """Return a transformation that treats each parameter by itself.

    Args:
        names: Its slots.
        scalars: `(count, rate) -> numbers`, made once a step; `count` is 1 at the first update, as a float.
        formula: `(numbers, gradient, parameter, *slots) -> (update, *new slots)`.
        init: The start of the slots. Default: zeros.
    """

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        numbers = scalars(count(step, rate), wide(rate))
        rows = [
            formula(tuple([n.astype(p.dtype) for n in numbers]), g.astype(p.dtype), p, *own)
            for g, p, *own in zip(grads, params, *[slots[name] for name in names], strict=True)
        ]
        columns = list(zip(*rows, strict=True))
        return columns[0], dict(zip(names, columns[1:], strict=True))

    return transformation(init or zeros(*names), update)


def wide(rate: Array) -> Array:
    """Return a scalar in at least float32: powers of decay rates near 1 round to 1 in half precision."""
    return rate.astype(jnp.promote_types(rate.dtype, jnp.float32))


def count(step: Array, rate: Array) -> Array:
    """Return the number of this update, 1 at the first, as a float for powers."""
    return (step + 1).astype(jnp.promote_types(rate.dtype, jnp.float32))


def scaled(directions: Arrays, params: Arrays, rate: Array) -> Arrays:
    """Return the updates `-rate * direction`, in the types of the parameters."""
    return tuple([-(rate.astype(p.dtype) * d.astype(p.dtype)) for d, p in zip(directions, params, strict=True)])


def cast(grads: Arrays, params: Arrays) -> Arrays:
    """Return the gradients in the types of the parameters."""
    return tuple([g.astype(p.dtype) for g, p in zip(grads, params, strict=True)])


def rest(decay: float, like: Array) -> float:
    """Return 1 - decay as Keras rounds it where it holds decay rates as arrays; half precision counts as single."""
    kind = jnp.promote_types(like.dtype, jnp.float32).type
    return float(kind(1) - kind(decay))


def only_rate(_: Array, rate: Array) -> Scalars:
    """Return the learning rate as the one scalar of a step."""
    return (rate,)


# --- momentum -----------------------------------------------------------------------------------------------------


def sgd(momentum: float, nesterov: bool) -> Transformation:
    """Gradient descent. Keras's momentum holds the learning rate: m <- momentum m - rate g (Polyak 1964)."""
    if momentum == 0:
        return elementwise((), only_rate, lambda numbers, g, p: (-(numbers[0] * g),))

    def formula(numbers: Scalars, g: Array, p: Array, m: Array) -> Arrays:
        pull = g * numbers[0]
        m = m * momentum - pull
        return (m * momentum - pull if nesterov else m), m

    return elementwise(("momentum",), only_rate, formula)


def lion(beta_1: float, beta_2: float) -> Transformation:
    """Sign of an interpolated momentum (Chen et al. 2023, arXiv:2302.06675): optax's."""
    import optax

    part = optax.scale_by_lion(beta_1, beta_2)

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        state = optax.ScaleByLionState(count=step, mu=tuple(slots["momentum"]))
        directions, state = part.update(cast(grads, params), state)
        return scaled(directions, params, rate), {"momentum": state.mu}

    return transformation(zeros("momentum"), update)


def orthogonalize(matrix: Array, steps: int, a: float, b: float, c: float) -> Array:
    """Return about the nearest matrix with orthogonal rows or columns, by `steps` Newton-Schulz iterations.

    Shapes: `(..., rows, columns)` alike. Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = jnp.swapaxes(matrix, -2, -1) if tall else matrix
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(steps):
        gram = x @ jnp.swapaxes(x, -2, -1)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return jnp.swapaxes(x, -2, -1) if tall else x


def muon(
    momentum: float, nesterov: bool, direction: Callable[[Array], Array], adam_rule: Transformation, adam_ratio: float
) -> Transformation:
    """Orthogonalized momentum for matrices, Adam for every parameter that has a velocity (Liu et al. 2025).

    `direction` maps a momentum to the step for a learning rate of 1. Source: arXiv:2502.16982.
    """

    def matrix_update(g: Array, m: Array, rate: Array) -> Arrays:
        m = m + (g + m * (momentum - 1))
        return -(rate.astype(m.dtype) * direction(g + momentum * m if nesterov else m)), m

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        updates, momentums, velocities = [], [], []
        for g, p, m, v in zip(cast(grads, params), params, slots["momentum"], slots["velocity"], strict=True):
            if v is None:
                u, m = matrix_update(g, m, rate)
            else:
                own = {"momentum": (m,), "velocity": (v,)}
                one = adam_rule.update((g,), own, (p,), step=step, learning_rate=rate * adam_ratio)
                (u,), (m,), (v,) = one[0], one[1]["momentum"], one[1]["velocity"]
            updates.append(u)
            momentums.append(m)
            velocities.append(v)
        return tuple(updates), {"momentum": tuple(momentums), "velocity": tuple(velocities)}

    return transformation(zeros("momentum", "velocity"), update)


# --- the family of Adam -------------------------------------------------------------------------------------------


def adam(beta_1: float, beta_2: float, epsilon: float, amsgrad: bool = False) -> Transformation:
    """Adam (Kingma and Ba 2014, arXiv:1412.6980), in the form before section 2.1.

    Epsilon stands beside the uncorrected root, sqrt(v) + epsilon, as in Keras; optax adds it after the correction,
    which for gradients of 1e-4 makes the first step differ by a factor of 1.7.
    """
    names = ("momentum", "velocity", "velocity_hat") if amsgrad else ("momentum", "velocity")

    def scalars(t: Array, rate: Array) -> Scalars:
        return (rate * jnp.sqrt(1 - beta_2**t) / (1 - beta_1**t),)

    def formula(numbers: Scalars, g: Array, p: Array, m: Array, v: Array, *top: Array) -> Arrays:
        m = m + (g - m) * (1 - beta_1)
        v = v + (g * g - v) * (1 - beta_2)
        top = tuple([jnp.maximum(t, v) for t in top])
        return -(m * numbers[0]) / (jnp.sqrt(top[0] if top else v) + epsilon), m, v, *top

    return elementwise(names, scalars, formula)


def adamax(beta_1: float, beta_2: float, epsilon: float) -> Transformation:
    """Adam with the infinity norm (Kingma and Ba 2014, section 7.1); epsilon is not kept in the norm, as optax does."""

    def formula(numbers: Scalars, g: Array, p: Array, m: Array, u: Array) -> Arrays:
        m = m + (g - m) * (1 - beta_1)
        u = jnp.maximum(beta_2 * u, jnp.abs(g))
        return -(m * numbers[0]) / (u + epsilon), m, u

    return elementwise(("momentum", "norm"), lambda t, rate: (rate / (1 - beta_1**t),), formula)


def nadam_factor(beta_1: float, t: Array) -> Array:
    """Return the momentum's decay at update `t` (from 1): beta_1 (1 - 0.96^t / 2). Dozat 2016, section 3.1."""
    return beta_1 * (1.0 - 0.5 * 0.96**t)


def nadam(beta_1: float, beta_2: float, epsilon: float, begun: bool = False) -> Transformation:
    """Adam with Nesterov momentum and a warming decay (Dozat 2016), whose product `u_product` all parameters share.

    `begun` says that the product already holds this step's factor.
    """

    def formula(numbers: Scalars, g: Array, p: Array, m: Array, v: Array) -> Arrays:
        ahead, now, root = numbers
        m = m + (g - m) * rest(beta_1, m)
        v = v + (g * g - v) * rest(beta_2, v)
        return -(m * ahead + g * now) / (jnp.sqrt(v) * root + epsilon), m, v

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        t = count(step, rate)
        this, following = nadam_factor(beta_1, t), nadam_factor(beta_1, t + 1)
        product = wide(slots["u_product"]) * (1.0 if begun else this)

        def scalars(t: Array, rate: Array) -> Scalars:
            ahead = rate * following / (1 - product * following)
            return ahead, rate * (1 - this) / (1 - product), 1 / jnp.sqrt(1 - beta_2**t)

        part = elementwise(("momentum", "velocity"), scalars, formula)
        own = {name: slots[name] for name in ("momentum", "velocity")}
        updates, own = part.update(grads, own, params, step=step, learning_rate=rate)
        return updates, {**own, "u_product": product.astype(slots["u_product"].dtype)}

    def init(params: Arrays) -> Slots:
        dtype = params[0].dtype if params else jnp.float32
        return {**zeros("momentum", "velocity")(params), "u_product": jnp.ones((), dtype)}

    return transformation(init, update)


def lamb(beta_1: float, beta_2: float, epsilon: float) -> Transformation:
    """Adam scaled to the norm of each parameter (You et al. 2019, arXiv:1904.00962)."""

    def scalars(t: Array, rate: Array) -> Scalars:
        return 1 / (1 - beta_1**t), 1 / jnp.sqrt(1 - beta_2**t), rate

    def formula(numbers: Scalars, g: Array, p: Array, m: Array, v: Array) -> Arrays:
        lift, root, rate = numbers
        m = m + (g - m) * (1 - beta_1)
        v = v + (g * g - v) * (1 - beta_2)
        u = (m * lift) / (jnp.sqrt(v) * root + epsilon)
        size, step = jnp.sqrt(jnp.sum(p * p)), jnp.sqrt(jnp.sum(u * u))
        trust = jnp.where((size > 0) & (step > 0), size / step, 1.0)
        return -(trust * rate) * u, m, v

    return elementwise(("momentum", "velocity"), scalars, formula)


def schedule_free_adamw(beta_1: float, beta_2: float, epsilon: float, warmup_steps: int) -> Transformation:
    """AdamW whose average of iterates stands for a schedule (Defazio et al. 2024, arXiv:2405.15682).

    The slot `momentum` is the paper's z, the parameter its y; x is recovered from both.
    """

    def scalars(t: Array, rate: Array) -> Scalars:
        if warmup_steps > 0:
            rate = rate * jnp.minimum(t / warmup_steps, 1.0)
        return rate, 1 / jnp.sqrt(1 - beta_2**t), 1.0 / t

    def formula(numbers: Scalars, g: Array, y: Array, z: Array, v: Array) -> Arrays:
        rate, root, weight = numbers
        x = (y - (1 - beta_1) * z) / beta_1
        v = v + (g * g - v) * rest(beta_2, v)
        z = z - rate * g / (jnp.sqrt(v) * root + epsilon)
        x = (1 - weight) * x + weight * z
        return ((1 - beta_1) * z + beta_1 * x) - y, z, v

    def init(params: Arrays) -> Slots:
        return {"momentum": tuple([jnp.array(p, copy=True) for p in params]), **zeros("velocity")(params)}

    return elementwise(("momentum", "velocity"), scalars, formula, init)


# --- sums of squares ----------------------------------------------------------------------------------------------


def rmsprop(rho: float, momentum: float, epsilon: float, centered: bool) -> Transformation:
    """Gradients over their running root mean square (Hinton 2012): optax's; the momentum, which adds, is Keras's."""
    import optax

    part = optax.scale_by_stddev(rho, epsilon) if centered else optax.scale_by_rms(rho, epsilon)
    names = ("velocity", *(("momentum",) if momentum > 0 else ()), *(("average_gradient",) if centered else ()))

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        state = part.init(params)._replace(nu=tuple(slots["velocity"]))
        if centered:
            state = state._replace(mu=tuple(slots["average_gradient"]))
        directions, state = part.update(cast(grads, params), state)
        updates, new = scaled(directions, params, rate), {"velocity": state.nu}
        if momentum > 0:
            new["momentum"] = tuple([momentum * m - u for m, u in zip(slots["momentum"], updates, strict=True)])
            updates = tuple([-m for m in new["momentum"]])
        if centered:
            new["average_gradient"] = state.mu
        return updates, new

    return transformation(zeros(*names), update)


def adagrad(initial_accumulator_value: float, epsilon: float) -> Transformation:
    """Gradients over the root of their summed squares (Duchi et al. 2011): optax's."""
    import optax

    part = optax.scale_by_rss(initial_accumulator_value, epsilon)

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        state = optax.ScaleByRssState(sum_of_squares=tuple(slots["accumulator"]))
        directions, state = part.update(cast(grads, params), state)
        return scaled(directions, params, rate), {"accumulator": state.sum_of_squares}

    return transformation(lambda params: {"accumulator": part.init(params).sum_of_squares}, update)


def adadelta(rho: float, epsilon: float) -> Transformation:
    """Steps in the parameters' own units (Zeiler 2012, arXiv:1212.5701): optax's."""
    import optax

    part = optax.scale_by_adadelta(rho, epsilon)

    def update(grads: Arrays, slots: Slots, params: Arrays, step: Array, rate: Array) -> tuple[Arrays, Slots]:
        state = optax.ScaleByAdaDeltaState(
            e_g=tuple(slots["accumulated_grad"]), e_x=tuple(slots["accumulated_delta_var"])
        )
        directions, state = part.update(cast(grads, params), state)
        new = {"accumulated_grad": state.e_g, "accumulated_delta_var": state.e_x}
        return scaled(directions, params, rate), new

    return transformation(zeros("accumulated_grad", "accumulated_delta_var"), update)


def ftrl(
    learning_rate_power: float, initial_accumulator_value: float, l1: float, l2: float, shrinkage: float, beta: float
) -> Transformation:
    """Follow the regularized leader, proximal (McMahan et al. 2013, "Ad click prediction")."""

    def power(x: Array) -> Array:
        return jnp.sqrt(x) if learning_rate_power == -0.5 else x**-learning_rate_power

    def formula(numbers: Scalars, g: Array, p: Array, accumulator: Array, linear: Array) -> Arrays:
        inverse, decay = numbers
        new = accumulator + g * g
        rooted = power(new)
        linear = linear + (g + 2 * shrinkage * p - (rooted - power(accumulator)) * inverse * p)
        target = (jnp.clip(linear, -l1, l1) - linear) / (rooted * inverse + decay)
        return target - p, new, linear

    def init(params: Arrays) -> Slots:
        start = tuple([jnp.full(p.shape, initial_accumulator_value, p.dtype) for p in params])
        return {"accumulator": start, **zeros("linear")(params)}

    return elementwise(
        ("accumulator", "linear"), lambda t, rate: (1 / rate, 2 * (l2 + beta / (2.0 * rate))), formula, init
    )


def adafactor(
    beta_2_decay: float, epsilon_1: float, epsilon_2: float, clip_threshold: float, relative_step: bool
) -> Transformation:
    """Adam's second moment kept as row and column means (Shazeer and Stern 2018, arXiv:1804.04235).

    Slots as in Keras: row means `r`, column means `c` (an integer zero each below two axes), and the whole `velocity`.
    """

    def rms(x: Array) -> Array:
        return jnp.sqrt(jnp.mean(jnp.square(x)))

    def moments(square: Array, keep: Array, r: Array, c: Array, v: Array) -> Arrays:
        if square.ndim < 2:
            return r, c, keep * v + (1 - keep) * square
        r = keep * r + (1 - keep) * jnp.mean(square, axis=-1)
        c = keep * c + (1 - keep) * jnp.mean(square, axis=-2)
        share = r / jnp.mean(r, axis=-1, keepdims=True)
        return r, c, share[..., None] * c[..., None, :]

    def scalars(t: Array, rate: Array) -> Scalars:
        most = 1 / jnp.sqrt(t)
        return jnp.minimum(rate, most) if relative_step else rate, most, 1 - t**beta_2_decay

    def formula(numbers: Scalars, g: Array, p: Array, r: Array, c: Array, v: Array) -> Arrays:
        rate, most, keep = numbers
        r, c, v = moments(g * g + epsilon_1, keep, r, c, v)
        u = g / jnp.sqrt(v)
        alpha = jnp.maximum(epsilon_2, rms(p)) * jnp.minimum(rate, most)
        return -(alpha / jnp.maximum(1.0, rms(u) / clip_threshold)) * u, r, c, v

    def init(params: Arrays) -> Slots:
        none = jnp.zeros((), jnp.int32)
        return {
            "r": tuple([jnp.zeros(p.shape[:-1], p.dtype) if p.ndim > 1 else none for p in params]),
            "c": tuple([jnp.zeros((*p.shape[:-2], p.shape[-1]), p.dtype) if p.ndim > 1 else none for p in params]),
            **zeros("velocity")(params),
        }

    return elementwise(("r", "c", "velocity"), scalars, formula, init)
