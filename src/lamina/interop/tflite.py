"""TensorFlow Lite (LiteRT): read and written, with floats or 8 bits; no package is needed for either.

Numbers of operators, options and types are those of the public schema, version 3.
"""

from collections.abc import Sequence
from typing import Any

from lamina._types import Numpy
from lamina.interop import peers
from lamina.interop.net import Net

IDENTIFIER = b"TFL3"
FLOAT32, FLOAT16, INT32, INT64, INT8 = 0, 1, 2, 4, 9
OPERATORS = {
    "ADD": 0, "CONCATENATION": 2, "DEQUANTIZE": 6, "FULLY_CONNECTED": 9, "LOGISTIC": 14, "MUL": 18, "RELU": 19,
    "RELU_N1_TO_1": 20, "RELU6": 21, "RESHAPE": 22, "SOFTMAX": 25, "TANH": 28, "TRANSPOSE": 39, "MEAN": 40, "SUB": 41,
    "DIV": 42, "SQUEEZE": 43, "STRIDED_SLICE": 45, "EXP": 47, "TOPK_V2": 48, "LOG_SOFTMAX": 50, "CAST": 53,
    "PRELU": 54, "MAXIMUM": 55, "MINIMUM": 57, "NEG": 59, "GREATER": 61, "SLICE": 65, "EXPAND_DIMS": 70, "LOG": 73,
    "SUM": 74, "SQRT": 75, "RSQRT": 76, "SHAPE": 77, "REDUCE_MAX": 82, "PACK": 83, "SQUARE": 92, "LEAKY_RELU": 98,
    "ABS": 101, "ELU": 111, "QUANTIZE": 114, "HARD_SWISH": 117, "SELECT_V2": 123, "CUMSUM": 128, "GELU": 150,
}  # fmt: skip
NAMES = {number: name for name, number in OPERATORS.items()}
# The number of the table of options in its union.
OPTIONS = {
    "FULLY_CONNECTED": 8, "SOFTMAX": 9, "CONCATENATION": 10, "ADD": 11, "RESHAPE": 17, "MUL": 21, "TRANSPOSE": 26,
    "MEAN": 27, "SUM": 27, "REDUCE_MAX": 27, "SUB": 28, "DIV": 29, "LOG_SOFTMAX": 36, "CAST": 37, "LEAKY_RELU": 75,
    "CUMSUM": 102, "GELU": 116,
}  # fmt: skip
FUSED = {0: "linear", 1: "relu", 2: "hard_tanh", 3: "relu6", 4: "tanh"}


def matches(path: str, head: bytes) -> bool:
    """Return whether this is a TFLite file."""
    del path
    return head[4:8] == IDENTIFIER


def read(path: str) -> Net:
    """Return what the file says, as Keras layers.

    Raises:
        FileFormatError: If it is damaged.
        InvalidArgumentError: If it has an operator that no layer is; the error names it.
    """
    from lamina.interop import tflite_read

    return tflite_read.read(path)


def write(net: Net, path: str, *, int8: bool = False, calibration: Any = None) -> tuple[str, ...]:
    """Write the net and return what is to be known of the file.

    Args:
        net: The model.
        path: Where to write.
        int8: Whether dense layers compute in 8 bits, with ranges fixed to those of the calibration data.
        calibration: With `int8`: an `.npz` file with inputs `x` (and labels `y`), or arrays. Without, random inputs
            are used, and the result is only as good as they resemble the real ones.
    """
    from lamina.interop import tflite_write

    return tflite_write.write(net, path, int8=int8, calibration=calibration)


_RUN = """
from ai_edge_litert.interpreter import Interpreter
net = Interpreter(path)
for one, x in zip(net.get_input_details(), inputs, strict=True):
    net.resize_tensor_input(one["index"], x.shape)
net.allocate_tensors()
for one, x in zip(net.get_input_details(), inputs, strict=True):
    net.set_tensor(one["index"], x.astype("float32"))
net.invoke()
outputs = [net.get_tensor(one["index"]) for one in net.get_output_details()]
"""


def verify(path: str, inputs: Sequence[Numpy], net: Net) -> list[Numpy]:
    """Return what LiteRT computes."""
    del net
    return peers.outputs_of("LiteRT", _RUN, path, inputs)
