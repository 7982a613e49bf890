"""Add videos to a memory: see vq2d.commands.remember."""

import sys

from vq2d.commands.remember import main

if __name__ == "__main__":
    sys.exit(main())
