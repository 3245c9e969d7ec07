"""CPU seconds of the method by stage on the demo composite with the embedded model, models loaded.

    python experiments/speed/method.py [--repeat 3] [OVERRIDE ...]

Run it in turn in two checkouts to compare them.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from diffharmon.config import build, composed
from diffharmon.run import quiet_libraries
from diffharmon.types import Event, Watcher


class Stopwatch(Watcher):
    """Adds up CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, event: Event) -> None:
        """Ignore an event."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one stage."""
        begun = time.process_time()
        yield
        self.seconds[name] += time.process_time() - begun


def main() -> None:
    """Measure and print one line of JSON a repetition; the first, in which libraries warm up, is left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("override", nargs="*")
    options = parser.parse_intermixed_args()
    quiet_libraries()
    torch.set_num_threads(1)
    config = composed(["dataset=demo", *options.override])
    method, composite = build(config.method), build(config.dataset)[0]
    for number in range(options.repeat + 1):
        fresh = replace(composite.blind(), image=composite.image.clone())  # what was read of an image is remembered
        watch, begun = Stopwatch(), time.process_time()
        method.harmonize(fresh, watch)
        total = time.process_time() - begun
        if number:
            stages = {name: round(seconds, 2) for name, seconds in watch.seconds.items()}
            print(json.dumps({**stages, "total": round(total, 2)}), flush=True)


if __name__ == "__main__":
    main()
