"""The command ``diffharmon-app``: load the models once, then serve the page."""

import argparse
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffharmon.app.limits import Limits
from diffharmon.command import exit_codes
from diffharmon.command.interrupts import handlers
from diffharmon.errors import ConfigError, InputError

HELP = {
    "megapixels": "pixels of a photo, in millions",
    "megabytes": "size of an uploaded file",
    "seconds": "time for one photo",
    "waiting": "visitors in the queue",
    "results": "results kept for each visitor",
    "hours": "how long a visitor's files are kept",
}


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="diffharmon-app",
        description="Harmonize photos in a browser, on this machine.",
        epilog="Example: diffharmon-app backbone=sd2_base experiment=paper trainer=gpu",
    )
    made.add_argument("overrides", nargs="*", metavar="GROUP=CHOICE", help="as for diffharmon: backbone=sd2_base ...")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    made.add_argument("--port", type=_port, default=7860, help="port (7860)")
    for name, value in vars(Limits()).items():
        made.add_argument(f"--{name}", type=_limit(type(value)), default=value, help=f"{HELP[name]} ({value:g})")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``diffharmon-app``."""
    options = parser().parse_args(arguments)
    with exit_codes("the page is closed, its files are deleted"), handlers():
        run(options)


def run(options: argparse.Namespace) -> None:
    """Serve the page until a signal comes; all files of its visitors are removed at the end.

    Raises:
        ConfigError: The configuration does not fit, or the port is taken.
        InputError: The extra ``app`` is not installed.
    """
    limits = Limits(**{name: getattr(options, name) for name in vars(Limits())})
    with tempfile.TemporaryDirectory(prefix="diffharmon-app-") as folder:
        root = Path(folder)
        quiet(root)
        require_free(options.host, options.port)
        print("loading the models ...", flush=True)
        app = assemble(options.overrides, limits, root, options.host, options.port)
        from diffharmon.app.server import serve

        print(f"open http://{options.host}:{options.port}/ (Ctrl-C ends)", flush=True)
        serve(app, options.host, options.port)


def quiet(root: Path) -> None:
    """Keep Gradio from reporting to its makers, and its files in the page's own folder; before it is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(root / "gradio")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def assemble(overrides: Sequence[str], limits: Limits, root: Path, host: str, port: int) -> Any:
    """Load the models and return the application."""
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise InputError("the page needs the extra 'app': pip install 'diffharmon[app]'") from None
    from diffharmon.api.harmonizer import Harmonizer
    from diffharmon.app.actions import Actions
    from diffharmon.app.server import application
    from diffharmon.app.visits import Visits
    from diffharmon.run import quiet_libraries

    quiet_libraries()
    actions = Actions(Harmonizer(*overrides), Visits(root / "visits", limits.results), limits, overrides)
    return application(actions, (root / "gradio", root / "visits"), host, port)


def require_free(host: str, port: int) -> None:
    """Refuse a port that is taken before the models load.

    Raises:
        ConfigError: Nothing can listen there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"--host {host} --port {port}: {error.strerror}; choose another port") from None


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected 1 to 65535, got {number}")
    return number


def _limit(kind: type) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
        return number

    return read
