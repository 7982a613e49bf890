"""The same as ``vq2d extract-frames``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["extract-frames", *sys.argv[1:]]))
