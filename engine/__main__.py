"""`python -m engine` is `xinshi`."""

from engine.cli import main

if __name__ == "__main__":
    main()
