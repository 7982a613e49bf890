"""Style and behaviour of the report page; inlined, so that the page needs no other file."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --ink: #1d2127; --faint: #5d6673; --line: #dde1e6;
  --found: #0a7d5c; --missed: #b4480b; --unknown: #5d6673; --accent: #2b7fbd; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14161a; --card: #1d2026; --ink: #e8eaee; --faint: #9aa3b0; --line: #343943;
  --found: #2fc79b; --missed: #f59a4a; --unknown: #9aa3b0; --accent: #5bb0ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1760px; padding: 24px; background: var(--page);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { margin: 0 0 4px; font-size: 26px; }
h2 { margin: 0; font-size: 17px; overflow-wrap: anywhere; }
.facts { margin: 0; color: var(--faint); overflow-wrap: anywhere; }
code { font: 13px ui-monospace, monospace; }
.figures { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; padding: 0;
  list-style: none; }
.figures li { min-width: 112px; padding: 8px 14px; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; color: var(--faint); font-size: 13px; }
.figures b { display: block; color: var(--ink); font-size: 21px;
  font-variant-numeric: tabular-nums; }
.bar { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 8px;
  align-items: center; margin: 0 -24px 16px; padding: 10px 24px; background: var(--page);
  border-bottom: 1px solid var(--line); }
.bar button, .bar select { padding: 5px 12px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--card); color: inherit; font: inherit; cursor: pointer; }
.bar button[aria-pressed="true"] { border-color: var(--accent); background: var(--accent);
  color: var(--page); }
.bar label { margin-left: auto; color: var(--faint); }
.card { margin: 0 0 18px; padding: 14px 16px 16px; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; }
.card[hidden] { display: none; }
.head { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: baseline; }
.head .numbers { margin-left: auto; color: var(--faint); font-variant-numeric: tabular-nums; }
.numbers b { color: var(--ink); }
.status { padding: 1px 10px; border: 1px solid; border-radius: 99px; font-size: 13px;
  font-weight: 600; }
.found { color: var(--found); }
.missed { color: var(--missed); }
.unknown { color: var(--unknown); }
.reason { margin: 4px 0 0; color: var(--missed); overflow-wrap: anywhere; }
.media { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; margin-top: 12px; }
.media a { flex: 7 1 640px; min-width: 0; }
.media img { display: block; width: 100%; height: auto; border-radius: 6px; background: #fff; }
.media video { flex: 3 1 340px; min-width: 0; width: 100%; max-width: 660px; max-height: 620px;
  border-radius: 6px; background: #16181d; }
"""

SCRIPT = """
const cards = [...document.querySelectorAll(".card")];
const buttons = [...document.querySelectorAll(".bar button")];
const list = document.querySelector("main");
for (const button of buttons) button.onclick = () => {
  const wanted = button.dataset.show;
  for (const b of buttons) b.setAttribute("aria-pressed", String(b === button));
  for (const c of cards) c.hidden = wanted !== "all" && c.dataset.status !== wanted;
};
const value = (card, key) => card.dataset[key] === "" ? -Infinity : Number(card.dataset[key]);
document.querySelector(".bar select").onchange = event => {
  const [key, sign] = event.target.value.split(" ");
  const order = (a, b) => Number(sign) * (value(a, key) - value(b, key) || 0)
    || value(a, "order") - value(b, "order");
  list.append(...[...cards].sort(order));
};
"""
