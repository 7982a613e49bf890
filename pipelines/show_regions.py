"""The same as ``vq2d regions``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["regions", *sys.argv[1:]]))
