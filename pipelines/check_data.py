"""Pre-flight check of the data: see vq2d.commands.check_data."""

import sys

from vq2d.commands.check_data import main

if __name__ == "__main__":
    sys.exit(main())
