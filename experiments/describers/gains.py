"""Print the fPSNR gained over the untouched composite by runs of ``diffharmon``, one row a run folder.

python experiments/describers/gains.py RUN...
"""

import json
import math
import statistics
import sys
from pathlib import Path


def main() -> None:
    """Run the command."""
    print("| words | images | mean gain, dB (95 %) | better, % | worse by over 0.1 dB, % |\n|---|---|---|---|---|")
    for run in map(Path, sys.argv[1:]):
        lines = [line for path in sorted(run.glob("rows*.jsonl")) for line in path.read_text("utf-8").splitlines()]
        rows = {row["name"]: row for row in map(json.loads, lines) if row["status"] == "ok"}
        gains = [row["fpsnr"] - row["composite_fpsnr"] for row in rows.values()]
        half = 1.96 * statistics.stdev(gains) / math.sqrt(len(gains))
        better = 100 * sum(gain > 0 for gain in gains) / len(gains)
        worse = 100 * sum(gain < -0.1 for gain in gains) / len(gains)
        print(
            f"| {run.name} | {len(gains)} | {statistics.mean(gains):+.2f} (± {half:.2f}) | {better:.1f} | {worse:.1f} |"
        )


if __name__ == "__main__":
    main()
