"""``python -m vq2d`` is the command ``vq2d``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
