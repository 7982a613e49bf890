"""Twenty clients for five minutes against the real command: no failure, memory flat."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest

CLIENTS = 20
SECONDS = float(os.environ.get("LOAD_SECONDS", "300"))
SETTLED = 60.0
MOST_GROWTH = 1.10
CLIPS = Path(__file__).parents[3] / "data" / "sample" / "v2" / "clips"
VQ2D = [sys.executable, "-m", "vq2d"]


@pytest.fixture
def served(tmp_path):
    """Process and address of `vq2d serve` on the sample as a memory."""
    memory = os.environ.get("LOAD_MEMORY") or str(tmp_path / "memory")
    subprocess.run([*VQ2D, "remember", str(CLIPS), "--memory", memory], check=True)
    command = [*VQ2D, "serve", "--memory", memory, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        (url,) = next(
            found.groups() for line in lines if (found := re.match(r"page +(\S+)/ ", line))
        )
        yield process, url
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 0


def resident_mb(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


class Visitor:
    """One client, which does as a page does, at random, and counts what it was answered."""

    def __init__(self, url, seed, counts, wrong):
        self.client = httpx2.Client(base_url=url, timeout=120)
        self.random = random.Random(seed)
        self.counts, self.wrong = counts, wrong

    def get(self, path, expected=(200,), **headers):
        reply = self.client.get(path, headers=headers)
        self.counts[path.split("?")[0].rpartition("/")[2][:12], reply.status_code] += 1
        if reply.status_code not in expected:
            self.wrong.append(f"{path}: {reply.status_code} {reply.text[:200]}")
        return reply

    def look(self, videos):
        video = self.random.choice(videos)
        url, frame = f"/api/videos/{video['id']}", self.random.randrange(video["num_frames"])
        start = self.random.randrange(1_000_000)
        self.random.choice([
            lambda: [self.get("/"), self.get("/static/main.js"), self.get("/api/answers")],
            lambda: [self.get(url), self.get(f"{url}/thumbnail.jpg")],
            lambda: [self.get(f"{url}/still.jpg?frame={max(0, frame - i)}") for i in range(5)],
            lambda: self.get(f"{url}/file", (206,), range=f"bytes={start}-{start + 200_000}"),
            lambda: self.get("/api/additions"),
        ])()  # fmt: skip

    def ask(self, videos):
        video = self.random.choice(videos)
        x, y = (self.random.uniform(0, video[side] - 120) for side in ("width", "height"))
        body = {
            "video": video["id"],
            "frame": self.random.randrange(video["num_frames"]),
            "box_xyxy": [x, y, x + 110, y + 110],
        }
        reply = self.client.post("/api/questions", json=body)
        self.counts["questions", reply.status_code] += 1
        if reply.status_code == 429:
            return time.sleep(float(reply.headers["retry-after"]))
        if reply.status_code != 202:
            return self.wrong.append(f"question: {reply.status_code} {reply.text[:200]}")
        name = reply.json()["id"]
        if self.random.random() < 0.2:
            self.client.delete(f"/api/questions/{name}")
        events = self.get(f"/api/questions/{name}/events").text
        end = re.findall(r"event: (\w+)", events)[-1]
        self.counts["ended", end] += 1
        if end not in ("done", "cancelled"):
            self.wrong.append(f"question ended as {end}: {events[-300:]}")
        return None

    def stay(self, until):
        try:
            while time.monotonic() < until:
                videos = self.get("/api/videos").json()
                for _ in range(6):
                    self.look(videos)
                self.ask(videos)
        except Exception as err:  # noqa: BLE001 - in a thread; the test fails by it
            self.wrong.append(repr(err))


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.timeout(SECONDS + 600)
def test_twenty_clients_for_five_minutes(served):
    process, url = served
    counts, wrong, started = Counter(), [], time.monotonic()
    visitors = [Visitor(url, i, counts, wrong) for i in range(CLIENTS)]
    threads = [
        threading.Thread(target=visitor.stay, args=(started + SECONDS,)) for visitor in visitors
    ]
    for thread in threads:
        thread.start()
    resident = {}
    while any(thread.is_alive() for thread in threads):
        resident[time.monotonic() - started] = resident_mb(process)
        time.sleep(5)
    settled = max(mb for at, mb in resident.items() if at <= max(SETTLED, min(resident)))
    report = {
        "answers": {" ".join(map(str, key)): n for key, n in sorted(counts.items(), key=str)},
        "MB after a minute, at most": round(settled),
        "MB at the end": round(resident_mb(process)),
        "MB every 30 s": [round(mb) for mb in list(resident.values())[::6]],
        "wrong": wrong[:10],
    }
    Path("runs").mkdir(exist_ok=True)
    Path("runs/load.json").write_text(json.dumps(report, indent=1))
    assert wrong == []
    assert counts["ended", "done"] > 0
    assert resident_mb(process) <= MOST_GROWTH * settled, report
