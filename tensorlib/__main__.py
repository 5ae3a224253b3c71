"""``python -m tensorlib``."""

import sys

from tensorlib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
