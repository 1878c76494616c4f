"""StableHLO through `jax.export`: a compiled program for any number of rows, reloaded without lamina."""

from collections.abc import Sequence
from typing import Any

from lamina._types import Numpy
from lamina.files import atomic
from lamina.interop import peers
from lamina.interop.lowered import Lowered, evaluate
from lamina.interop.lowering import lower
from lamina.interop.net import Net

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def matches(path: str, head: bytes) -> bool:
    """Return False: a program is not read."""
    del path, head
    return False


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write the program, weights inside, and return what is to be known of it."""
    lowered = lower(net)
    atomic.write(path, [exported(lowered)])
    return (
        *lowered.notes,
        f"Runs on {', '.join(_PLATFORMS)}, for any number of rows: "
        "`jax.export.deserialize(open(path, 'rb').read()).call(x)` gives a list of outputs. JAX reads such a program "
        "for six months at least; keep the model's own file beside it.",
    )


def exported(net: Lowered) -> bytes:
    """Return the serialized program of a network: float32 batches in, a list of batches out."""
    import jax
    import jax.numpy as jnp
    from jax import export

    def program(*inputs: Any) -> list[Any]:
        return evaluate(net, inputs, xp=jnp)

    (rows,) = export.symbolic_shape("batch")
    given = [jax.ShapeDtypeStruct((rows, *net.shapes[name]), jnp.float32) for name in net.inputs]
    return bytes(export.export(jax.jit(program), platforms=_PLATFORMS)(*given).serialize())


_RUN = """
from jax import export
program = export.deserialize(bytearray(open(path, "rb").read()))
outputs = program.call(*[x.astype("float32") for x in inputs])
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what JAX computes in a process without lamina."""
    del net
    return peers.outputs_of("JAX", _RUN, path, inputs)
