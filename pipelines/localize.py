"""The same as ``vq2d localize``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["localize", *sys.argv[1:]]))
