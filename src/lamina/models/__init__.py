"""Models: `Sequential`, functional and subclassed."""

from lamina.models.functional import Functional as Functional
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
from lamina.saving import load_model as load_model
from lamina.saving import save_model as save_model
