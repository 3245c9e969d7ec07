"""What ran: versions of packages and the commit, without importing any of them."""

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

PACKAGES = (
    "diffharmon",
    "torch",
    "diffusers",
    "transformers",
    "hydra-core",
    "omegaconf",
    "lightning",
    "numpy",
    "pillow",
)


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that results depend on, and the commit of diffharmon where it is known."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    source = commit()
    return {**found, "commit": source} if source else found


def commit() -> str:
    """Commit that diffharmon was installed from or is checked out at; empty where it is not known.

    A checkout with changes that are not committed ends in ``-dirty``.
    """
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists() and (root / "pyproject.toml").is_file():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return ""
    try:
        origin = json.loads(distribution("diffharmon").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    return str(origin.get("vcs_info", {}).get("commit_id", ""))[:12]


def version_line() -> str:
    """Return what ``diffharmon --version`` prints."""
    found = versions()
    source = f" ({found['commit']})" if "commit" in found else ""
    others = (f"{package} {found.get(package, 'is not installed')}" for package in ("torch", "diffusers"))
    return f"diffharmon {found.get('diffharmon', 'is not installed')}{source}, {', '.join(others)}"
