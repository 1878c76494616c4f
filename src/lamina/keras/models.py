"""Keras's name for `lamina.models`, with loading and saving."""

from lamina.models import Model as Model
from lamina.models import Sequential as Sequential
from lamina.models.cloning import clone_model as clone_model
from lamina.models.cloning import model_from_json as model_from_json
from lamina.saving import load_model as load_model
from lamina.saving import save_model as save_model
