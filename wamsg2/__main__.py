"""``python -m wamsg2``."""

from wamsg2.cli import main

main()
