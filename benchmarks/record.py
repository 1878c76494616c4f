"""When, where and with what the numbers were measured, and the file that keeps them."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
BUSY = 0.5  # processes for each core that were running already
PACKAGES = ("jax", "jaxlib", "numpy", "optax", "keras", "tensorflow", "torch", "scikit-learn", "onnxruntime")


def circumstances() -> dict[str, Any]:
    """Return date, machine, versions of packages, and how busy the machine was."""
    from lamina import __version__, machine

    load = os.getloadavg()[0]
    versions = {"python": platform.python_version(), "lamina": __version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    devices = [f"{device.platform}:{device.number} ({device.kind})" for device in machine.devices()]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": load,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": machine.processor(),
            "cores": machine.cores(),
            "devices": devices,
            "matmul_gigaflops": round(machine.matmul_rate() / 1e9, 1),
        },
        "versions": versions,
    }


def warning(record: dict[str, Any]) -> str:
    """Return why the numbers are not to be trusted, or ""."""
    if record.get("load", 0.0) <= BUSY * record["machine"]["cores"]:
        return ""
    return (
        f"Other programs were running (load {record['load']:.1f} before the start): do not trust these numbers."
        " Libraries whose threads wait by spinning suffer most."
    )


def write(record: dict[str, Any], folder: Path | None = None) -> Path:
    """Return the file that now holds the result."""
    folder = RESULTS if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['date'][:19].replace(':', '')}-{record['options']['kind']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
