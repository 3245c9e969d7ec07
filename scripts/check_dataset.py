"""Verify a download of iHarmony4 and say what is wrong with it.

    python scripts/check_dataset.py ROOT [--subset HCOCO ...] [--split test] [--sample] [--headers] [--threads 4]

Compares the lists with the published numbers (65,742 composites for training, 7,404 for testing) and looks at every
composite, mask and real photo. --sample leaves the numbers aside, --headers leaves the pixels aside (minutes instead of
hours, but truncated files and empty masks are not found). Exit code 0: nothing is wrong, 1: something is, 2: ROOT
cannot be checked.
"""

import argparse
import sys
from collections import Counter

from diffharmon.command import exit_codes
from diffharmon.dataset.check import SPLITS, check
from diffharmon.dataset.iharmony4 import SUBSETS


def main() -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--subset", nargs="+", choices=SUBSETS, default=SUBSETS)
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--sample", action="store_true", help="do not compare with the published numbers")
    parser.add_argument("--headers", action="store_true", help="do not read pixels")
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    kinds: Counter[str] = Counter()
    with exit_codes():
        for problem in check(
            options.root, options.subset, options.split, not options.sample, not options.headers, options.threads
        ):
            kinds[problem.kind] += 1
            print(f"{problem.place}: {problem.kind}: {problem.text}", flush=True)
    if not kinds:
        print("nothing is wrong")
        return 0
    print(f"{sum(kinds.values())} problems: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
