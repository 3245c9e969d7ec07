"""Zero-shot harmonization of photo composites with the prior of a text-to-image diffusion model."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import ``Harmonizer`` when it is first used, so that importing the package stays quick."""
    if name == "Harmonizer":
        from diffharmon.api.harmonizer import Harmonizer

        return Harmonizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
