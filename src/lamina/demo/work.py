"""How many floating-point operations a stack of dense layers takes."""

from collections.abc import Sequence
from itertools import pairwise


def operations(widths: Sequence[int], *, training: int = 0, inference: int = 0) -> int:
    """Return the operations of the matrix products for so many samples trained on and so many passed through.

    A product of (rows, inputs) and (inputs, units) counts `2 * rows * inputs * units`. Training takes three of that
    size in each layer: the output, the gradient of the kernel and the gradient of the input; the first layer needs no
    gradient of its input. What is not a matrix product (biases, activations, the optimizer) is not counted.

    Args:
        widths: Inputs, units of each layer.
        training: Samples trained on.
        inference: Samples passed forward only.
    """
    products = [2 * inputs * units for inputs, units in pairwise(widths)]
    return training * (3 * sum(products) - products[0]) + inference * sum(products)
