"""Find where and when each queried object was last seen: see vq2d.commands.run."""

import sys

from vq2d.commands.run import main

if __name__ == "__main__":
    sys.exit(main())
