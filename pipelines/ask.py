"""Ask a memory where an object was last seen: see vq2d.commands.ask."""

import sys

from vq2d.commands.ask import main

if __name__ == "__main__":
    sys.exit(main())
