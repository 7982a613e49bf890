"""The same as ``vq2d extract-regions``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["extract-regions", *sys.argv[1:]]))
