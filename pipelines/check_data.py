"""The same as ``vq2d check-data``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["check-data", *sys.argv[1:]]))
