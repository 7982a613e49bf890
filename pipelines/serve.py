"""The same as ``vq2d serve``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
