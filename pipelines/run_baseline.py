"""The same as ``vq2d baseline``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["baseline", *sys.argv[1:]]))
