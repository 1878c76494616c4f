"""Callbacks: what may look in on training, stop it, save it and report on it."""

from lamina.callbacks.averaging import SwapEMAWeights
from lamina.callbacks.backup import BackupAndRestore
from lamina.callbacks.base import Callback
from lamina.callbacks.callback_list import CallbackList
from lamina.callbacks.checkpoint import ModelCheckpoint
from lamina.callbacks.history import History
from lamina.callbacks.logging import CSVLogger, LambdaCallback
from lamina.callbacks.monitor import MonitorCallback
from lamina.callbacks.orbax import OrbaxCheckpoint
from lamina.callbacks.progress import ProgbarLogger
from lamina.callbacks.remote import RemoteMonitor
from lamina.callbacks.schedules import LearningRateScheduler, ReduceLROnPlateau
from lamina.callbacks.stopping import EarlyStopping, TerminateOnNaN
from lamina.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "OrbaxCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
