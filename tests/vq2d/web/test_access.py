"""Who may use the page: not other sites, not other names, not other machines without the token."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from tests.vq2d.web.asking import box_question
from tests.vq2d.web.conftest import URL, client_of
from vq2d.web.access import Access, is_loopback


def test_the_page_brings_its_policy_along(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    for name in ("style.css", "main.js"):
        assert client.get(f"/static/{name}").status_code == 200
    assert client.get("/static/../app.py").status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", ""]
)
def test_other_names_for_this_machine_are_refused(client, host):
    reply = client.get("/api/videos", headers={"host": host})
    assert reply.status_code == 421
    assert "not the page's own" in reply.json()["error"]
    assert "content-security-policy" in reply.headers


@pytest.mark.parametrize("host", ["localhost:8421", "127.0.0.1:8421", "[::1]:8421"])
def test_its_own_names_are_known(client, host):
    assert client.get("/api/videos", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_other_sites_can_neither_ask_nor_read(client, ids, headers):
    assert client.post("/api/questions", json=box_question(ids), headers=headers).status_code == 403
    assert client.get("/api/videos", headers=headers).status_code == 403


def test_the_page_itself_may_ask_and_be_linked_to(client, ids):
    own = {"origin": URL, "sec-fetch-site": "same-origin"}
    assert client.post("/api/questions", json=box_question(ids), headers=own).status_code == 202
    linked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=linked).status_code == 200


def test_off_this_machine_a_token_is_needed(memory):
    access = Access.at("0.0.0.0", 8421)
    assert access.token is not None
    assert access.token in access.url
    assert access.token not in repr(access)
    with client_of(memory, access, "http://192.168.1.7:8421", follow_redirects=False) as client:
        for path in ("/api/videos", "/docs", "/api/openapi.json"):
            assert client.get(path).status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert client.get(f"/api/videos?token={access.token}").status_code == 401
        opened = client.get(f"/?token={access.token}")
        assert opened.status_code == 303
        assert opened.headers["location"] == "/"
        assert "HttpOnly" in opened.headers["set-cookie"]
        assert client.get("/api/videos").status_code == 200
        assert client.get("/api/videos", headers={"host": "evil.example"}).status_code == 421
        client.cookies.clear()
        bearer = {"authorization": f"Bearer {access.token}"}
        assert client.get("/api/videos", headers=bearer).status_code == 200
        assert (
            client.get("/api/videos", headers={"authorization": "Bearer ä".encode()}).status_code
            == 401
        )


def test_no_token_is_needed_on_this_machine():
    assert Access.at("127.0.0.1", 1).token is None
    assert Access.at("localhost", 1).token is None
    assert Access.at("::1", 2).url == "http://[::1]:2/"
    assert not is_loopback("0.0.0.0")
    assert Access("127.0.0.1", 1).why_not(Headers({"host": "["}), is_page=True) is not None


def test_a_fault_of_ours_reaches_the_client_as_one_sentence(memory, monkeypatch):
    with client_of(memory, raise_server_exceptions=False) as client:

        def fail():
            raise ZeroDivisionError("/secret/path")

        monkeypatch.setattr(memory.store, "videos", fail)
        reply = client.get("/api/videos")
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("something unexpected went wrong")
