"""The main job in one command: a network learns handwritten digits, says how well and how fast, and draws it."""

from lamina.demo.job import Result, run

__all__ = ["Result", "run"]
