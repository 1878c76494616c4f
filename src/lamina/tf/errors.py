"""The one error that TensorFlow's scripts catch."""

from lamina.errors import InvalidArgumentError as InvalidArgumentError
