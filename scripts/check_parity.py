"""Compare ``experiment=reference_quirks`` with golden tensors of the public reference code, stage by stage.

    python scripts/check_parity.py --pipeline DIR --cases DIR [CASE ...]

Exits with 1 when an error exceeds its tolerance, and with 2 when the cases cannot be read.
"""

import argparse
import sys
from pathlib import Path

from diffharmon.command import exit_codes
from diffharmon.reference.golden.check import check
from diffharmon.run import quiet_libraries


def main() -> int:
    """Parse arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, required=True, help="model folder of the golden runs")
    parser.add_argument("--cases", type=Path, required=True, help="folder of case folders, with inputs/")
    parser.add_argument("--pidinet", type=Path, help="table5_pidinet-tiny.pth; without it its printed term is left out")
    parser.add_argument("case", nargs="*", help="names of cases; all by default")
    arguments = parser.parse_args()
    quiet_libraries()
    with exit_codes():
        table, passed = check(arguments.pipeline, arguments.cases, arguments.case, arguments.pidinet)
    print(table)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
