// A video with its controls. What stands still comes from the server's own reader, frame by frame
// at 5 per second; <video> is for moving pictures only, and where it cannot play, stills move.

import * as api from "./api.js";
import { clock, lay, make } from "./dom.js";

const FPS = 5;
const REST_MS = 120; // a slider that rests so long gets its still

export class Screen extends EventTarget {
  constructor(label) {
    super();
    this.info = null; // of the server: id, width, height, num_frames, seconds_into_frame, ...
    this.frame = 0;
    this.isPlaying = false;
    this.isStill = false; // whether the still of this very frame is shown
    this.boxAt = () => null;
    this.film = make("video", { muted: true, playsInline: true, preload: "auto", tabIndex: -1 });
    this.still = make("img", { alt: "", hidden: true, draggable: false });
    this.mark = make("div", { className: "mark", hidden: true });
    this.stage = make("div", { className: "stage" }, this.film, this.still, this.mark);
    this.play = make("button", { type: "button", onclick: () => this.toggle() }, "▶");
    this.slider = make("input", {
      type: "range", min: 0, step: 1, "aria-label": `Time in ${label}`,
      oninput: () => this.scrub(Number(this.slider.value)),
    });
    this.time = make("output", {}, "0:00.0");
    const step = (by, sign, name) => make("button", {
      type: "button", "aria-label": name, title: name, onclick: () => this.show(this.frame + by),
    }, sign);
    const controls = make("div", { className: "controls" }, this.play,
      step(-1, "‹", "One frame back"), this.slider, step(1, "›", "One frame on"), this.time);
    this.element = make("div", { className: "player" }, this.stage, controls);
    this.#name();
  }

  /** Show a frame of a video. */
  async load(id, frame = 0) {
    this.#stop();
    const ticket = (this.ticket = {});
    if (this.info?.id !== id) {
      const info = await api.video(id);
      if (this.ticket !== ticket) return;
      this.info = info;
      this.film.removeAttribute("src");
      this.#fit();
      this.#offerFilm();
    }
    await Promise.all([this.show(frame), this.#filmKnown()]);
  }

  /** Stand still at a frame; once it is shown, true, unless another one was wanted meanwhile. */
  async show(frame) {
    this.#stop();
    this.#arrive(frame);
    const wanted = this.frame, id = this.info.id, next = new Image();
    next.src = api.stillOf(id, wanted);
    try {
      await next.decode();
    } catch {
      if (this.#isWanted(id, wanted)) this.#tell("trouble");
      return false;
    }
    if (!this.#isWanted(id, wanted)) return false;
    next.alt = `${this.info.name} at ${clock(wanted / FPS)}`;
    next.draggable = false;
    this.still.replaceWith(next);
    this.still = next;
    this.#settle(true);
    return true;
  }

  /** Move to a frame fast, as a slider does; the still follows when it rests. */
  scrub(frame) {
    this.#stop();
    this.#arrive(frame);
    if (!this.canPlay) return void this.show(frame);
    this.film.currentTime = this.#seconds(this.frame);
    this.#settle(false);
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.show(this.frame), REST_MS);
  }

  toggle() {
    if (this.isPlaying) return this.show(this.frame);
    const isAtEnd = this.frame >= this.info.num_frames - 1;
    return this.playFrom(isAtEnd ? 0 : this.frame);
  }

  /** Play from a frame; stand still at the last one before `end`. */
  playFrom(frame, end = this.info.num_frames) {
    this.#stop();
    this.#arrive(frame);
    this.isPlaying = true;
    this.end = end;
    this.#name();
    if (!this.canPlay) return void this.#playStills();
    this.film.currentTime = this.#seconds(this.frame);
    this.film.play().catch(() => this.isPlaying && this.show(this.frame));
    this.film.addEventListener("seeked", () => this.isPlaying && this.#settle(false), { once: true });
    const watch = () => {
      if (!this.isPlaying) return;
      const now = Math.floor(this.film.currentTime * FPS + 1e-3);
      if (now >= this.end || this.film.ended) return void this.show(this.end - 1);
      if (!this.film.seeking) this.#arrive(now);
      requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
  }

  get canPlay() {
    return this.film.readyState >= 1 && !this.film.error;
  }

  async #playStills() {
    const { id } = this.info;
    while (this.isPlaying && this.info.id === id && this.frame < this.end - 1) {
      const next = this.frame + 1, end = this.end;
      const [shown] = await Promise.all([this.show(next), new Promise((go) => setTimeout(go, 200))]);
      if (!shown || this.frame !== next || this.isPlaying) return;
      this.isPlaying = next < end - 1;
      this.end = end;
      this.#name();
    }
  }

  /** Give <video> its file as soon as there is one. */
  async #offerFilm() {
    const { id, file } = this.info;
    if (file === "ready") this.film.src = api.fileOf(id);
    if (file !== "making") return;
    await new Promise((go) => setTimeout(go, 2000));
    if (this.info.id !== id) return;
    this.info = await api.video(id).catch(() => this.info);
    this.#offerFilm();
  }

  /** Until <video> knows its file, but no longer than a second. */
  #filmKnown() {
    if (this.info.file !== "ready" || this.canPlay) return null;
    return new Promise((go) => {
      setTimeout(go, 1000);
      for (const kind of ["loadedmetadata", "error"]) this.film.addEventListener(kind, go, { once: true });
    });
  }

  #seconds(frame) {
    return frame / FPS + (this.info.seconds_into_frame ?? 0.1);
  }

  #isWanted(id, frame) {
    return this.info.id === id && this.frame === frame && !this.isPlaying;
  }

  #stop() {
    clearTimeout(this.rest);
    this.isPlaying = false;
    this.film.pause();
    this.#name();
  }

  /** Be at a frame: slider, clock, mark. */
  #arrive(frame) {
    const last = this.info.num_frames - 1;
    const before = this.frame;
    this.frame = Math.min(Math.max(0, frame), last);
    this.slider.value = this.frame;
    const text = `${clock(this.frame / FPS)} / ${clock(this.info.num_frames / FPS)}`;
    this.time.value = text;
    this.slider.setAttribute("aria-valuetext", text);
    const box = this.boxAt(this.frame, this.info);
    this.mark.hidden = !box;
    if (box) lay(this.mark, box, this.info);
    if (before !== this.frame) this.isStill = false;
    this.#tell("frame");
  }

  #settle(isStill) {
    this.isStill = isStill;
    this.still.hidden = !isStill;
    this.stage.dataset.frame = isStill ? this.frame : "";
    this.#tell(isStill ? "still" : "moving");
  }

  #fit() {
    const { width, height, num_frames: count } = this.info;
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.maxWidth = `calc(68vh * ${width / height})`;
    this.slider.max = count - 1;
    this.frame = -1;
  }

  #name() {
    const name = this.isPlaying ? "Pause" : "Play";
    this.play.textContent = this.isPlaying ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", name);
    this.play.title = name;
  }

  #tell(kind) {
    this.dispatchEvent(new Event(kind));
  }
}
