"""Find where an object was last seen in your own video: see vq2d.commands.localize."""

import sys

from vq2d.commands.localize import main

if __name__ == "__main__":
    sys.exit(main())
