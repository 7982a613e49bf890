"""Open a page on a memory: see vq2d.commands.serve."""

import sys

from vq2d.commands.serve import main

if __name__ == "__main__":
    sys.exit(main())
