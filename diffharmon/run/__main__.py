"""``python -m diffharmon.run`` is the ``diffharmon`` command."""

from diffharmon.run import main

main()
