"""Results of each epoch to a server."""

import importlib
import warnings
from typing import Any

import numpy as np

from lamina import registry
from lamina.callbacks.base import Callback, Logs


@registry.export("callbacks")
class RemoteMonitor(Callback):
    """Sends the results of each epoch to a server, as an HTTP POST to `root + path`. It needs the package `requests`.

    A server that cannot be reached is a warning, not an error: training goes on.

    Args:
        root: Address of the server.
        path: Path on the server.
        field: Name of the form's field that holds the results, unless they are sent as JSON.
        headers: Headers of your own.
        send_as_json: Whether the results are sent as `application/json` rather than in a form.

    Raises:
        ImportError: At the end of the first epoch, if `requests` is not installed.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: dict[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        self.root, self.path, self.field = root, path, field
        self.headers = headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import json

        try:
            requests = importlib.import_module("requests")
        except ImportError:
            raise ImportError("RemoteMonitor requires the `requests` library.") from None
        send: dict[str, Any] = {"epoch": epoch}
        send.update(
            (key, value.item() if isinstance(value, np.ndarray | np.generic) else value)
            for key, value in (logs or {}).items()
        )
        body: dict[str, Any] = {"json": send} if self.send_as_json else {"data": {self.field: json.dumps(send)}}
        try:
            requests.post(self.root + self.path, headers=self.headers, **body)
        except requests.exceptions.RequestException:
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root}", stacklevel=2)
