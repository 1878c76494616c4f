"""Data sets to try things out on. `mnist` ships a sample inside the package, so that it needs no network."""

from lamina.datasets import mnist

__all__ = ["mnist"]
