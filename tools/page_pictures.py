"""The pictures of the page in docs/, made by a real browser on the embedded sample.

    python -m tools.page_pictures

It serves the memory that `make serve` has made (runs/sample-memory), takes the three actions with
a mouse (pause, drag, read), says how many seconds the answer took, and writes page.png and
page-phone.png. Needs playwright and chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

MOST_BYTES = 200_000
STAGE = "#finder .stage"
VIEWPORTS = {"page": (1400, 1000), "page-phone": (390, 844)}
# a thing of the sample: its video, frame at 5 per second, and box as shares of the picture
VIDEO, FRAME, BOX = "ead453f0", 32, (0.35, 0.329, 0.509, 0.696)


def main() -> int:
    """Draw the pictures; 0 unless one is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=Path, default=Path("runs/sample-memory"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--video", default=VIDEO, help=f"beginning of its name ({VIDEO})")
    parser.add_argument("--frame", type=int, default=FRAME, help=f"at 5 per second ({FRAME})")
    parser.add_argument("--box", type=float, nargs=4, default=BOX, help="x1 y1 x2 y2, 0 to 1")
    args = parser.parse_args()
    sizes = []
    with served(args.memory) as url, sync_playwright() as tool:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in VIEWPORTS:
            page = opened(browser, url, name)
            ask(page, args.video, args.frame, args.box)
            sizes.append(draw(page, args.out / f"{name}.png"))
        browser.close()
    return 0 if max(sizes) <= MOST_BYTES else 1


@contextmanager
def served(memory: Path) -> Iterator[str]:
    """Address of the page of a memory."""
    command = [sys.executable, "-m", "vq2d", "serve", "--memory", str(memory), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.match(r"page +(\S+) ", line)
            if found is not None:
                yield found[1]
                process.terminate()
                return
    raise RuntimeError("`vq2d serve` ended before it said where the page is")


def opened(browser: Browser, url: str, name: str) -> Page:
    """The page in a window of a size."""
    width, height = VIEWPORTS[name]
    page = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce"
    ).new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    page.wait_for_selector(f"{STAGE}[data-frame='0']")
    return page


def ask(page: Page, video: str, frame: int, box: tuple[float, ...]) -> None:
    """Choose a moment and drag a box; says how long the answer took."""
    page.click(f"#videos .tile[title^='{video}']")
    page.wait_for_selector(f"{STAGE} img[alt^='{video}']")
    slider = page.locator("#finder input[type=range]")
    slider.evaluate("(e, n) => { e.value = n; e.dispatchEvent(new Event('input')); }", frame)
    page.wait_for_selector(f"{STAGE}[data-frame='{frame}']")
    stage = page.locator(STAGE).bounding_box()
    assert stage is not None
    x1, x2 = (stage["x"] + share * stage["width"] for share in (box[0], box[2]))
    y1, y2 = (stage["y"] + share * stage["height"] for share in (box[1], box[3]))
    page.mouse.move(x1, y1)
    page.mouse.down()
    page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2)
    page.mouse.move(x2, y2)
    page.mouse.up()
    started = time.monotonic()
    page.wait_for_selector("#shown .stage .mark")
    moment = time.monotonic() - started
    page.wait_for_selector("#status:has-text('Done.')")
    whole = time.monotonic() - started
    print(f"moment and box after {moment:.1f} s, the whole answer after {whole:.1f} s")  # noqa: T201


def draw(page: Page, path: Path) -> int:
    """A picture of the window, in 256 colours; its bytes."""
    page.wait_for_selector("#shown .stage[data-frame]:not([data-frame=''])")
    page.wait_for_timeout(500)
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201
    return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
