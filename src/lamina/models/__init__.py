"""Models: `Sequential`, functional and subclassed."""

from lamina.models.cloning import clone_model as clone_model
from lamina.models.cloning import model_from_json as model_from_json
from lamina.models.functional import Functional as Functional
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
from lamina.saving import load_model as load_model
from lamina.saving import save_model as save_model
