// How similar a video is to the question at each time: a curve, and a slider on it.

import { clock, draw, make } from "./dom.js";

const FPS = 5;
const COLUMNS = 1000; // at most so many points are drawn; each is the best of its frames

export class Timeline {
  /** `onSeek(frame)` is called for every frame that is chosen. */
  constructor(onSeek) {
    this.onSeek = onSeek;
    this.head = draw("line", { class: "head", y1: 0, y2: 100 });
    this.svg = draw("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    this.element = make("div", {
      className: "line", role: "slider", tabIndex: 0, "aria-label": "Similarity over time",
      onpointerdown: (event) => { this.element.setPointerCapture(event.pointerId); this.#seek(event); },
      onpointermove: (event) => event.buttons && this.#seek(event),
      onkeydown: (event) => this.#key(event),
    }, this.svg);
  }

  /** Draw the curve of a video and the sightings in it. */
  show(video, curve, sightings) {
    this.count = video.num_frames;
    this.element.setAttribute("aria-valuemin", 0);
    this.element.setAttribute("aria-valuemax", this.count - 1);
    this.svg.setAttribute("viewBox", `0 0 ${this.count} 100`);
    const band = (from, to, kind) => draw("rect", {
      class: kind, x: from, width: Math.max(to - from, this.count / 250), y: 0, height: 100,
    });
    const own = curve.own ? [band(...curve.own, "own")] : [];
    const seen = sightings.map((one) => band(one.first_frame, one.end_frame, "seen"));
    const path = draw("path", { d: outline(curve, this.count) });
    this.svg.replaceChildren(...own, ...seen, path, this.head);
  }

  /** Mark the time that is shown. */
  at(frame) {
    this.frame = frame;
    this.head.setAttribute("x1", frame + 0.5);
    this.head.setAttribute("x2", frame + 0.5);
    this.element.setAttribute("aria-valuenow", frame);
    this.element.setAttribute("aria-valuetext", clock(frame / FPS));
  }

  #seek(event) {
    const { left, width } = this.element.getBoundingClientRect();
    this.#go(Math.floor(((event.clientX - left) / width) * this.count));
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -25, PageUp: 25, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.#go(this.frame + by);
  }

  #go(frame) {
    this.onSeek(Math.min(Math.max(0, frame), this.count - 1));
  }
}

function outline({ frames, similarity }, count) {
  const best = new Map();
  frames.forEach((frame, i) => {
    const column = Math.floor((frame / count) * COLUMNS);
    const known = best.get(column);
    if (!known || known[1] < similarity[i]) best.set(column, [frame + 0.5, similarity[i]]);
  });
  const points = [...best.values()];
  const low = Math.min(...points.map((p) => p[1])), high = Math.max(...points.map((p) => p[1]));
  const y = (value) => (high > low ? 94 - (88 * (value - low)) / (high - low) : 50).toFixed(1);
  return points.map(([x, value], i) => `${i ? "L" : "M"}${x} ${y(value)}`).join("");
}
