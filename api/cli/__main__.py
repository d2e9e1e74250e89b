"""``python -m api.cli``: the same as ``takings``."""

from api.cli import main

main()
