"""The same as ``vq2d fetch-weights``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["fetch-weights", *sys.argv[1:]]))
