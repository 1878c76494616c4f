"""`tf.keras` is `lamina.keras`."""

import sys
from typing import TYPE_CHECKING

import lamina.keras

if TYPE_CHECKING:
    from lamina.keras import *  # noqa: F403

sys.modules[__name__] = lamina.keras
