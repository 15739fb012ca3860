"""``python -m reasoning``."""

import sys

from reasoning.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
