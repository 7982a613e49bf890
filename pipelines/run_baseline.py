"""Answer an annotation file without learned features: see vq2d.commands.baseline."""

import sys

from vq2d.commands.baseline import main

if __name__ == "__main__":
    sys.exit(main())
