"""Layers: what a network is made of."""

from lamina.layers.base import Layer as Layer
from lamina.layers.dense import Dense as Dense
from lamina.layers.input import Input as Input
from lamina.layers.input import InputLayer as InputLayer
from lamina.layers.input_spec import InputSpec as InputSpec
