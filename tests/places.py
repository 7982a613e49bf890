"""Where the checkout, its sample and the data beside it lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample"
SHARED = ROOT.parent / "shared"
CONFORMANCE = SHARED / "conformance" / "vq2d"
