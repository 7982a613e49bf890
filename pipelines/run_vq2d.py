"""The same as ``vq2d run``."""

import sys

from vq2d.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
