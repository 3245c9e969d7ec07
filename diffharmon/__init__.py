"""Zero-shot harmonization of photo composites with the prior of a text-to-image diffusion model."""

__version__ = "0.1.0"
