"""Keras's name for the operations that NumPy has, too: every operation of `lamina.ops` is found here."""

from lamina.ops.numpy import __all__ as __all__
from lamina.ops.numpy import __getattr__ as __getattr__
