// A box on the still of a screen: dragged by mouse or finger, moved and sized by arrow keys.
// "change" follows every change of it; "given" says that it is meant so: let go, or Enter pressed.

import { lay, make } from "./dom.js";

const LEAST = 4; // pixels of the video, each way
const CORNERS = ["nw", "ne", "sw", "se"];

export class BoxEditor extends EventTarget {
  constructor(screen) {
    super();
    this.screen = screen;
    this.box = null; // x1, y1, x2, y2 in pixels of the video
    const grips = CORNERS.map((corner) => make("div", { className: `grip ${corner}`, "data-corner": corner }));
    this.element = make("div", {
      className: "box", tabIndex: 0, role: "group", hidden: true, onkeydown: (event) => this.#key(event),
      "aria-label": "Box around the thing. Arrow keys move it, Shift with arrow keys changes its "
        + "size, Alt makes small steps, Enter asks, Delete removes it.",
    }, ...grips);
    screen.stage.append(this.element);
    screen.stage.classList.add("drawable");
    screen.stage.addEventListener("pointerdown", (event) => this.#begin(event));
    screen.stage.addEventListener("pointermove", (event) => this.#drag(event));
    screen.stage.addEventListener("pointerup", () => this.#end(true));
    screen.stage.addEventListener("pointercancel", () => this.#end(false));
    screen.addEventListener("frame", () => {
      if (this.box && this.at !== screen.frame) this.set(null);
    });
  }

  /** Set the box, or remove it; it holds for the frame that is shown. */
  set(box) {
    this.box = box;
    this.at = this.screen.frame;
    this.element.hidden = !box;
    if (box) lay(this.element, box, this.screen.info);
    this.dispatchEvent(new Event("change"));
  }

  /** Put a box in the middle, to be moved by keys. */
  async place() {
    if (!this.screen.isStill && !(await this.screen.show(this.screen.frame))) return;
    const { width, height } = this.screen.info;
    this.set([0.375 * width, 0.375 * height, 0.625 * width, 0.625 * height].map(Math.round));
    this.element.focus();
  }

  #begin(event) {
    if (event.button !== 0 || !this.screen.info) return;
    if (!this.screen.isStill) return void this.screen.show(this.screen.frame);
    const start = this.#point(event), corner = event.target.dataset.corner;
    const isInside = event.target === this.element;
    this.drag = { start, before: this.box, corner, isMove: isInside, id: event.pointerId };
    this.screen.stage.setPointerCapture(event.pointerId);
    if (!corner && !isInside) event.preventDefault();
  }

  #drag(event) {
    if (!this.drag || event.pointerId !== this.drag.id) return;
    const { start, before, corner, isMove } = this.drag, now = this.#point(event);
    const shift = [now[0] - start[0], now[1] - start[1]];
    if (isMove) return this.set(this.#moved(before, shift));
    if (!corner) return this.set(ordered([...start, ...now]));
    const x = corner.includes("w") ? 0 : 2, y = corner.includes("n") ? 1 : 3;
    const box = [...before];
    box[x] = now[0];
    box[y] = now[1];
    return this.set(ordered(box));
  }

  #end(isMeant) {
    if (!this.drag) return;
    const { before } = this.drag;
    this.drag = null;
    if (!this.box || this.box === before) return;
    const [x1, y1, x2, y2] = this.box;
    if (x2 - x1 < LEAST || y2 - y1 < LEAST) this.set(null);
    else if (isMeant) this.#give();
  }

  #give() {
    this.dispatchEvent(new Event("given"));
  }

  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (["Delete", "Backspace", "Escape"].includes(event.key)) {
      this.set(null);
    } else if (event.key === "Enter" && this.box) {
      this.#give();
    } else if (step && this.box) {
      const far = event.altKey ? 1 : Math.max(1, Math.round(this.screen.info.width / 100));
      const shift = step.map((v) => v * far);
      this.set(event.shiftKey ? this.#sized(this.box, shift) : this.#moved(this.box, shift));
    } else {
      return;
    }
    event.preventDefault();
  }

  #moved([x1, y1, x2, y2], [dx, dy]) {
    const { width, height } = this.screen.info;
    const x = Math.min(Math.max(dx, -x1), width - x2), y = Math.min(Math.max(dy, -y1), height - y2);
    return [x1 + x, y1 + y, x2 + x, y2 + y];
  }

  #sized([x1, y1, x2, y2], [dx, dy]) {
    const { width, height } = this.screen.info;
    return [x1, y1, Math.min(Math.max(x2 + dx, x1 + LEAST), width), Math.min(Math.max(y2 + dy, y1 + LEAST), height)];
  }

  /** Where a pointer is, in pixels of the video, to a tenth. */
  #point(event) {
    const { left, top, width, height } = this.screen.stage.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * this.screen.info.width;
    const y = ((event.clientY - top) / height) * this.screen.info.height;
    const within = (value, limit) => Math.round(10 * Math.min(Math.max(value, 0), limit)) / 10;
    return [within(x, this.screen.info.width), within(y, this.screen.info.height)];
  }
}

function ordered([x1, y1, x2, y2]) {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}
