"""``python -m hushtune`` is the command ``hushtune``."""

from hushtune.cli import main

if __name__ == "__main__":
    main()
