// Photos of the thing: chosen, dropped or pasted; a box on one says where it is in it.

import { BoxEditor } from "./box.js";
import { make } from "./dom.js";

const MOST = 4;

/** One photo; to a box it is a screen that always stands still. */
class Photo extends EventTarget {
  constructor(file, onRemove) {
    super();
    this.file = file;
    this.isStill = true;
    this.frame = 0;
    this.info = null; // its size, where this browser can show it
    const url = URL.createObjectURL(file);
    const image = make("img", { src: url, alt: file.name, draggable: false, onload: () => this.#fit(image), onerror: () => this.stage.remove() });
    image.decode().catch(() => {}).finally(() => URL.revokeObjectURL(url));
    this.stage = make("div", { className: "stage" }, image);
    this.editor = new BoxEditor(this);
    this.place = make("button", { type: "button", hidden: true, onclick: () => this.editor.place(), "aria-label": `Place a box on ${file.name}` }, "Place a box");
    this.element = make("li", {}, this.stage, make("span", { title: file.name }, file.name),
      make("div", { className: "row" }, this.place,
        make("button", { type: "button", onclick: onRemove, "aria-label": `Remove ${file.name}` }, "Remove")));
  }

  /** x1, y1, x2, y2 in pixels of the upright picture, or null. */
  get box() {
    return this.editor.box;
  }

  #fit(image) {
    this.info = { width: image.naturalWidth, height: image.naturalHeight };
    this.stage.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
    this.stage.style.maxWidth = `calc(40vh * ${image.naturalWidth / image.naturalHeight})`;
    this.place.hidden = false;
  }
}

export class Pictures extends EventTarget {
  constructor() {
    super();
    this.photos = []; // another array after every change
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
        event.stopPropagation(); // the page takes what is dropped elsewhere
        this.zone.classList.remove("over");
        this.add([...event.dataTransfer.files]);
      },
    }, this.input, make("b", {}, "Choose photos"), ` or drop them here, ${MOST} at most`);
    this.list = make("ul", { className: "photos", "aria-label": "Chosen photos" });
    const note = make("p", { className: "faint" }, "Where the thing does not fill a photo, drag a box around it.");
    this.element = make("div", {}, this.zone, note, this.list);
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length && !this.element.closest("[hidden]")) this.add(files);
    });
  }

  add(files) {
    this.#set([...this.photos, ...files.map((file) => this.#photo(file))].slice(0, MOST));
    this.input.value = "";
  }

  #photo(file) {
    const photo = new Photo(file, () => this.#set(this.photos.filter((other) => other !== photo)));
    photo.editor.addEventListener("change", () => this.#change([...this.photos]));
    return photo;
  }

  #set(photos) {
    this.list.replaceChildren(...photos.map((photo) => photo.element));
    this.#change(photos);
  }

  #change(photos) {
    this.photos = photos;
    this.dispatchEvent(new Event("change"));
  }
}
