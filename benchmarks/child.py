"""One measurement in this process: `python -m benchmarks.child ROW WAY SECONDS [quick]`.

Prints one line of JSON. Whatever the library prints itself goes nowhere, as into a file that nobody reads.
"""

import json
import os
import sys
from typing import Any

from benchmarks import measure, peers
from benchmarks.workloads import WORKLOADS


def main(workload: str, peer: str, seconds: str, *flags: str) -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    chosen = WORKLOADS[workload].quick() if "quick" in flags else WORKLOADS[workload]
    result: dict[str, Any]
    try:
        timing = measure.training(peers.load(peer).fit(chosen), float(seconds))
        result = {"value": chosen.rows / timing.epoch, **timing._asdict()}
    except peers.Absent as reason:
        result = {"absent": str(reason)}
    print(json.dumps(result), file=answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
