"""Score a VQ2D submission: see vq2d.commands.evaluate."""

import sys

from vq2d.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
