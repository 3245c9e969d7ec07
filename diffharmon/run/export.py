"""The commands ``diffharmon-lut`` and ``diffharmon-layers``: one image of a run for other programs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from diffharmon.command import exit_codes


def lut(arguments: Sequence[str] | None = None) -> None:
    """Run ``diffharmon-lut``: write the change of colour as a .cube file and print its error."""
    parser = _parser("Write the change of the foreground's colours as a 3D lookup table (.cube).", "look.cube")
    parser.add_argument("--points", type=_points, default=33, help="grid points along each axis (33)")
    with exit_codes():
        _lut(parser.parse_args(arguments))


def layers(arguments: Sequence[str] | None = None) -> None:
    """Run ``diffharmon-layers``: write composite, result and mask as a layered Photoshop file."""
    parser = _parser("Write composite, result and mask as layers (.psd).", "layers.psd")
    with exit_codes():
        _layers(parser.parse_args(arguments))


def _lut(options: argparse.Namespace) -> None:
    from diffharmon.images.lut import fit
    from diffharmon.run.finished import read_finished

    finished = read_finished(options.image)
    table = fit(finished.composite.image, finished.result, finished.composite.mask, options.points)
    path = options.output or finished.folder / "look.cube"
    table.save(path, title=finished.composite.name)
    print(path)
    print(
        f"root mean square difference from the full result over the foreground: {table.error * 255:.2f} of 255 levels"
        " (sRGB); what varies over the object, a lookup table cannot hold"
    )


def _layers(options: argparse.Namespace) -> None:
    from diffharmon.images.layers import write_layers
    from diffharmon.run.finished import read_finished

    finished = read_finished(options.image)
    print(write_layers(options.output or finished.folder / "layers.psd", finished.composite, finished.own))


def _parser(description: str, output: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("image", type=Path, metavar="RUN/NAME", help="an image of a run, or a run of one image")
    parser.add_argument("--output", type=Path, help=f"file to write; {output} in the image's folder by default")
    return parser


def _points(text: str) -> int:
    number = int(text)
    if not 2 <= number <= 256:
        raise argparse.ArgumentTypeError(f"expected 2 to 256 points, got {number}")
    return number
