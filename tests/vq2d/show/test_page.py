"""The page of a run: links, escapes, filters."""

from __future__ import annotations

import html.parser
from urllib.parse import unquote

from vq2d.show.page import Card, write_index


class Links(html.parser.HTMLParser):
    """Collects elements, links and text of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.tags, self.cards, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.links += [v for k, v in attrs if k in ("src", "href", "poster")]
        if attributes.get("class") == "card":
            self.cards.append(attributes)

    def handle_data(self, data):
        self.words.append(data)


def test_index_links_what_exists_and_escapes(tmp_path):
    folder = tmp_path / "queries"
    folder.mkdir()
    names = ["a 1#.png", "a 1#.mp4", "a 1#.jpg", "b&.png"]
    for name in names:
        (folder / name).write_bytes(b"x")
    nasty = '<script>"alert" & co</script>'
    entries = [
        Card(
            title=nasty,
            status="missed",
            summary=folder / names[0],
            video=folder / names[1],
            poster=folder / names[2],
            score=0.25,
            st_iou=float("nan"),
            reason="track: <b>lost</b>",
        ),
        Card(title="mug", status="unknown", summary=folder / names[3]),
        Card(title="cup", status="missed", reason="the clip is missing"),
    ]
    page = tmp_path / "index.html"
    write_index(
        entries,
        page,
        title="Run <1>",
        figures={"stAP<25>": "0.4 & more"},
        preset="<fast>",
        command='run --x "<a>"',
    )
    text = page.read_text()
    found = Links()
    found.feed(text)
    words = "".join(found.words)
    for phrase in (nasty, "track: <b>lost</b>", "Run <1>", "stAP<25>", "0.4 & more", "<fast>"):
        assert phrase in words
    assert 'run --x "<a>"' in words
    assert found.tags.count("script") == 1
    assert len(found.links) == 6  # a summary is linked twice: the image, and where it leads
    assert {unquote(link) for link in found.links} == {f"queries/{name}" for name in names}
    assert all((tmp_path / unquote(link)).is_file() for link in found.links)
    assert "http" not in text
    facts = [(c["data-status"], c["data-score"], c["data-st-iou"]) for c in found.cards]
    assert facts == [("missed", "0.25", ""), ("unknown", "", ""), ("missed", "", "")]
    assert "missed 2" in words
    assert "no truth 1" in words
    assert "the clip is missing" in words
    assert "found 0" not in words
    assert "score 0.250" in words


def test_index_of_nothing(tmp_path):
    write_index([], tmp_path / "index.html", title="empty", figures={})
    text = (tmp_path / "index.html").read_text()
    assert "all 0" in text
    assert '<ul class="figures">' not in text
