"""The configuration files, shipped inside the package as ``diffharmon.conf``."""
