"""Harmonizing from Python in one call: ``from diffharmon import Harmonizer``."""
