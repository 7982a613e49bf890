"""The command `vq2d serve`: what it prints, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import threading

import httpx2
import pytest

from ren_core.engine.choice import Compute
from ren_core.errors import ConfigError
from tests.job import tiny_localizer
from tests.vq2d.memory.conftest import CONFIG
from vq2d.commands import serve, shared
from vq2d.web import desk, server


@pytest.fixture
def folder(memory, monkeypatch):
    monkeypatch.setattr(shared, "chosen_config", lambda _: ("tiny", CONFIG, Compute()))
    monkeypatch.setattr(shared, "build_localizer", lambda config, _: tiny_localizer(config))
    return str(memory.store.folder)


def test_it_says_where_the_page_is_and_serves_it(folder, monkeypatch, capsys):
    pages, opened = [], []

    def run(self, sockets):
        pages.append((self.config.app, sockets[0].getsockname()))

    monkeypatch.setattr(server.uvicorn.Server, "run", run)
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    assert serve.main(["--memory", folder, "--port", "0", "--open"]) == 0
    ((app, (host, port)),) = pages
    assert host == "127.0.0.1"
    assert f"page        http://127.0.0.1:{port}/  (Ctrl-C ends it)" in capsys.readouterr().out
    assert opened == [f"http://127.0.0.1:{port}/"]
    assert app.state.desk.memory.store.folder.name == "memory"
    assert serve.main(["--memory", folder, "--port", "0", "--host", "0.0.0.0"]) == 0
    assert "?token=" in capsys.readouterr().out


def test_what_cannot_be_served_is_refused(folder, tmp_path, monkeypatch, capsys):
    assert serve.main(["--memory", str(tmp_path / "nowhere")]) == 1
    assert "there is no memory in" in capsys.readouterr().err
    with server.listening("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert serve.main(["--memory", folder, "--port", port]) == 2
    assert f"nothing can listen on 127.0.0.1 port {port}" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="from 0 to 65535, got 70000"):
        server.listening("127.0.0.1", 70000)
    monkeypatch.setattr(serve, "NEEDED", ("fastapi", "no_such_package"))
    assert serve.main(["--memory", folder]) == 2
    assert "the page needs no_such_package, which is not installed" in capsys.readouterr().err


def test_the_page_is_imported_only_when_it_is_served():
    code = (
        "import sys, vq2d.commands.main, vq2d.commands.serve;"
        "sys.exit(any(name in sys.modules for name in ('fastapi', 'uvicorn', 'starlette')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_real_server_answers_and_ends(memory):
    access = server.Access.at("127.0.0.1", 0)
    with server.listening("127.0.0.1", 0) as listener:
        served = server.build_server(memory, access)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]})
        thread.start()
        reply = httpx2.get(f"http://127.0.0.1:{listener.getsockname()[1]}/api/videos")
        served.should_exit = True
        thread.join(20)
    assert reply.status_code == 200
    assert "server" not in reply.headers
    assert not thread.is_alive()


def test_streams_of_events_end_when_the_server_does(memory, monkeypatch):
    monkeypatch.setattr(desk.Desk, "_search", lambda _, asked: asked.is_cancelled.wait(20))
    with server.listening("127.0.0.1", 0) as listener:
        served = server.build_server(memory, server.Access.at("127.0.0.1", 0))
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/questions"
        video = memory.videos()[0].fingerprint
        question = {"video": video, "frame": 4, "box_xyxy": [10, 10, 30, 30]}
        name = httpx2.post(url, json=question).json()["id"]
        with httpx2.stream("GET", f"{url}/{name}/events") as reply:
            lines = reply.iter_lines()
            assert next(lines) == "id: 0"
            served.should_exit = True
            assert "event: cancelled" in list(lines)
        thread.join(20)
    assert not thread.is_alive()
