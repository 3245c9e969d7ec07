"""Verify a download of a benchmark and list what is wrong with it.

    python scripts/check_dataset.py ROOT [--layout realhm] [--subset HCOCO ...] [--split test] [--sample] [--headers]

Knows iHarmony4 (HAdobe5kr may stand for HAdobe5k), ccHarmony, RealHM and the 99 real composites without ground truth.
Compares with the published numbers (of iHarmony4 65,742 composites for training, 7,404 for testing) and looks at every
composite, mask and real photo. --sample leaves the numbers aside, --headers leaves the pixels aside (minutes instead of
hours, but truncated files and empty masks are not found). Exit code 0: nothing is wrong, 1: something is, 2: ROOT
cannot be checked.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator

from diffharmon.command import exit_codes
from diffharmon.config import build, composed
from diffharmon.dataset.check import LAYOUTS, SPLITS, Problem, check, check_flat, check_single, layout_of, subsets_of


def problems(options: argparse.Namespace) -> Iterator[Problem]:
    """Check ROOT by its layout.

    Raises:
        DiffharmonError: ROOT is no folder or holds nothing of this layout.
    """
    layout = options.layout or layout_of(options.root)
    how = {"counts": not options.sample, "decode": not options.headers, "threads": options.threads}
    print(f"layout: {layout}", flush=True)
    if layout == "iharmony4":
        yield from check(options.root, options.subset or subsets_of(options.root), options.split, **how)
    elif layout == "ccharmony":
        yield from check_single(options.root, options.split, **how)
    else:
        dataset = build(composed([f"dataset={layout}"], {"dataset.root": options.root}).dataset)
        yield from check_flat(dataset, dataset.source, **how)


def main() -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--layout", choices=LAYOUTS, help="default: recognized by the folders in ROOT")
    parser.add_argument("--subset", nargs="+", help="folders of iHarmony4 (default: all four)")
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--sample", action="store_true", help="do not compare with the published numbers")
    parser.add_argument("--headers", action="store_true", help="do not read pixels")
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    kinds: Counter[str] = Counter()
    with exit_codes():
        for problem in problems(options):
            kinds[problem.kind] += 1
            print(f"{problem.place}: {problem.kind}: {problem.text}", flush=True)
    if not kinds:
        print("nothing is wrong")
        return 0
    print(f"{sum(kinds.values())} problems: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
