// Videos that are added: dropped, chosen, or taken from the server's own list; how far each is.

import * as api from "./api.js";
import { clock, make, size } from "./dom.js";

const LOOK_MS = 1000;
const ON_ITS_WAY = ["waiting", "working", "cancelling"];

/** "remembered" follows when there is one video more, "trouble" (with `message`) a refusal. */
export class Adding extends EventTarget {
  constructor() {
    super();
    this.sending = []; // of this page: {name, share, stop}
    this.known = new Map(); // id of an addition to its last state
    this.input = make("input", {
      type: "file", accept: "video/*,.mkv,.mts,.m2ts,.ts,.flv,.wmv,.avi", multiple: true,
      onchange: () => { this.send([...this.input.files]); this.input.value = ""; },
    });
    this.files = make("ul", { className: "files", "aria-label": "Videos on this machine" });
    this.shelf = make("div", { hidden: true }, make("h3", {}, "On this machine"), this.files);
    this.details = make("details", { className: "adding", ontoggle: () => this.details.open && this.#list() },
      make("summary", {}, "Add videos"),
      make("label", { className: "drop" }, this.input, make("b", {}, "Choose videos"), " or drop them anywhere"),
      make("p", { className: "faint" }, "Each is copied into the memory's folder. Questions go first while it is remembered."),
      this.shelf);
    this.rows = make("ul", { className: "additions", "aria-label": "Videos on their way", hidden: true });
    this.element = make("div", {}, this.details, this.rows);
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    addEventListener("beforeunload", (event) => this.sending.length && event.preventDefault());
  }

  /** Send files one by one. */
  async send(files) {
    this.details.open = true;
    const isBusy = this.sending.length > 0;
    this.sending.push(...files.map((file) => ({ name: file.name, file, share: 0 })));
    this.#draw();
    while (!isBusy && this.sending.length) {
      const one = this.sending[0];
      await this.#sent(one).catch((error) => this.#trouble(error));
      this.sending = this.sending.filter((other) => other !== one);
      await this.look();
    }
  }

  /** Ask how far all are; again and again as long as something is on its way. */
  async look() {
    clearTimeout(this.timer);
    try {
      this.additions = await api.additions();
    } catch (error) {
      this.#trouble(error);
    }
    this.#draw();
    const isActive = this.additions?.some((one) => ON_ITS_WAY.includes(one.state));
    if (isActive || this.sending.length) this.timer = setTimeout(() => this.look(), LOOK_MS);
  }

  async #sent(one) {
    for (;;) {
      const wait = await api.sendVideo(one.file, (share, stop) => { Object.assign(one, { share, stop }); this.#draw(); });
      if (!wait || one.isStopped) return;
      await new Promise((go) => setTimeout(go, 1000 * wait));
    }
  }

  async #list() {
    const files = await api.files().catch((error) => { this.#trouble(error); return []; });
    this.shelf.hidden = files.length === 0;
    this.files.replaceChildren(...files.map((file) => make("li", {},
      make("span", { className: "grow" }, make("b", {}, file.name),
        ` ${file.folder}, ${size(file.bytes)}`, file.error ? make("span", { className: "wrong" }, ` ${file.error}`) : null),
      file.is_known ? make("span", { className: "faint" }, "remembered")
        : make("button", { type: "button", "aria-label": `Remember ${file.name}`, onclick: (event) => this.#remember(event.target, file) }, "Remember"))));
  }

  async #remember(button, file) {
    button.disabled = true;
    try {
      await api.addFile(file.id);
    } catch (error) {
      button.disabled = false;
      this.#trouble(error);
    }
    await this.look();
  }

  #draw() {
    const additions = this.additions ?? [];
    for (const one of additions) {
      const before = this.known.get(one.id);
      this.known.set(one.id, one.state);
      if (!before || before === one.state || ON_ITS_WAY.includes(one.state)) continue;
      if (one.state === "done") this.dispatchEvent(Object.assign(new Event("remembered"), { name: one.name }));
      if (this.details.open) this.#list();
    }
    this.#lay([...additions.map((one) => this.#row(one)), ...this.sending.map((one) => this.#sendingRow(one))]);
  }

  /** Show rows; those that are there already are only changed, so that focus stays where it is. */
  #lay(rows) {
    this.rows.hidden = rows.length === 0;
    const there = new Map([...this.rows.children].map((li) => [li.dataset.key, li]));
    this.rows.replaceChildren(...rows.map(({ key, name, text, share, isWrong, act }) => {
      const li = there.get(key) ?? make("li", { "data-key": key }, make("b", {}, name), make("progress", { max: 1, "aria-label": `How far ${name} is` }),
        make("span", { className: "grow" }), make("button", { type: "button" }));
      const [, bar, note, button] = li.children;
      bar.hidden = share === undefined;
      if (share === null) bar.removeAttribute("value");
      else if (share !== undefined) bar.value = share;
      if (note.textContent !== text) note.textContent = text;
      note.className = `grow ${isWrong ? "wrong" : ""}`;
      if (button.textContent !== act.label) button.textContent = act.label;
      button.setAttribute("aria-label", `${act.label} ${name}`);
      button.onclick = act.do;
      return li;
    }));
  }

  #row(one) {
    const share = one.num_frames ? one.frames_done / one.num_frames : null;
    const left = one.seconds_left === null ? "" : `, ${clock(one.seconds_left).split(".")[0]} left`;
    const text = {
      waiting: "waiting", cancelling: "being cancelled …", cancelled: "cancelled", done: "remembered",
      working: share === null ? "being read …" : `being remembered, ${Math.floor(100 * share)} %${left}`,
      failed: one.error,
    }[one.state];
    const isOn = ON_ITS_WAY.includes(one.state);
    const act = { label: isOn ? "Cancel" : "Dismiss", do: () => this.#dismiss(one.id) };
    return { key: one.id, name: one.name, text, share: isOn ? share : undefined, isWrong: one.state === "failed", act };
  }

  #sendingRow(one) {
    one.key ??= crypto.getRandomValues(new Uint32Array(2)).join("-");
    const stop = () => {
      one.isStopped = true;
      one.stop?.();
      if (one !== this.sending[0]) this.sending = this.sending.filter((other) => other !== one);
      this.#draw();
    };
    const text = one.stop ? `being sent, ${Math.floor(100 * one.share)} %` : "to be sent";
    return { key: one.key, name: one.name, text, share: one.share, act: { label: "Cancel", do: stop } };
  }

  async #dismiss(id) {
    await api.dismiss(id).catch((error) => this.#trouble(error));
    await this.look();
  }

  #trouble(error) {
    this.dispatchEvent(Object.assign(new Event("trouble"), { message: error.message }));
  }
}
