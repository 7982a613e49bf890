// Photos of the thing: chosen, dropped or pasted.

import { make } from "./dom.js";

const MOST = 4;

export class Pictures extends EventTarget {
  constructor() {
    super();
    this.files = [];
    this.input = make("input", {
      type: "file", accept: "image/*,.heic,.heif,.avif", multiple: true,
      onchange: () => this.add([...this.input.files]),
    });
    this.zone = make("label", {
      className: "drop",
      ondragover: (event) => { event.preventDefault(); this.zone.classList.add("over"); },
      ondragleave: () => this.zone.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        this.zone.classList.remove("over");
        this.add([...event.dataTransfer.files]);
      },
    }, this.input, make("b", {}, "Choose photos"), ` or drop them here, ${MOST} at most`);
    this.list = make("ul", { className: "photos", "aria-label": "Chosen photos" });
    const note = make("p", { className: "faint" }, "The thing should fill the photo, or be cut out of it.");
    this.element = make("div", {}, this.zone, note, this.list);
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length && !this.element.closest("[hidden]")) this.add(files);
    });
  }

  add(files) {
    this.#set([...this.files, ...files].slice(0, MOST));
    this.input.value = "";
  }

  #set(files) {
    this.files = files;
    this.list.replaceChildren(...files.map((file) => this.#item(file)));
    this.dispatchEvent(new Event("change"));
  }

  #item(file) {
    const url = URL.createObjectURL(file);
    const image = make("img", {
      src: url, alt: "", onload: () => URL.revokeObjectURL(url), onerror: () => image.remove(),
    });
    const remove = () => this.#set(this.files.filter((other) => other !== file));
    return make("li", {}, image, make("span", { title: file.name }, file.name),
      make("button", { type: "button", onclick: remove, "aria-label": `Remove ${file.name}` }, "Remove"));
  }
}
