"""`python -m engine` is `xinshi`."""

from engine.cli import main

main()
