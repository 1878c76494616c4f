"""ONNX: written for operator set 17, read from 7 on; no package is needed for either."""

from collections.abc import Sequence

from lamina._types import Numpy
from lamina.interop import peers
from lamina.interop.net import Net


def matches(path: str, head: bytes) -> bool:
    """Return whether this is an ONNX file: its first field is the version of its form, then who made it."""
    if len(head) < 3 or head[0] != 0x08:
        return False
    return path.lower().endswith(".onnx") or (3 <= head[1] <= 32 and head[2] == 0x12)


def read(path: str) -> Net:
    """Return what the file says, as Keras layers.

    Raises:
        FileFormatError: If it is damaged.
        InvalidArgumentError: If it has an operator that no layer is; the error names it.
    """
    from lamina.interop import onnx_read

    return onnx_read.read(path)


def write(net: Net, path: str) -> tuple[str, ...]:
    """Write the net for any number of rows and return what is to be known of it."""
    from lamina.interop import onnx_write

    return onnx_write.write(net, path)


_RUN = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
given = {one.name: x.astype("float32") for one, x in zip(session.get_inputs(), inputs, strict=True)}
outputs = session.run(None, given)
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what ONNX Runtime computes."""
    del net
    return peers.outputs_of("ONNX Runtime", _RUN, path, inputs)
