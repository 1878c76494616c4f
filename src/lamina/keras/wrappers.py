"""Keras's name for `lamina.wrappers`. Needs scikit-learn."""

from lamina.wrappers import SKLearnClassifier as SKLearnClassifier
from lamina.wrappers import SKLearnRegressor as SKLearnRegressor
from lamina.wrappers import SKLearnTransformer as SKLearnTransformer
