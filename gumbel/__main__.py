"""``python -m gumbel``."""

from gumbel.cli import main

main()
