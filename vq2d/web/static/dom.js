// Elements by name, properties and children; times as people read them.

export const $ = (selector) => document.querySelector(selector);

/** An element; a property that starts with "on" is a listener, "aria-" and "data-" an attribute. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(aria-|data-|role$|for$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Minutes, seconds and tenths: 123.4 is "2:03.4". */
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  return `${Math.floor(tenths / 600)}:${rest}.${tenths % 10}`;
}

/** Bytes as people read them. */
export function size(bytes) {
  const [unit, factor] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / factor).toFixed(bytes / factor < 10 ? 1 : 0)} ${unit}`;
}

const DAY = { weekday: "short", day: "numeric", month: "short", year: "numeric" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** Day and time of an ISO moment, in the zone of this browser. */
export function when(text, withSeconds = true) {
  const { second, ...short } = TIME;
  const date = new Date(text);
  const time = date.toLocaleTimeString("en-GB", withSeconds ? TIME : short);
  return `${date.toLocaleDateString("en-GB", DAY)}, ${time}`;
}

/** Lay an element over a box (x1, y1, x2, y2 in pixels of a video) of its positioned parent. */
export function lay(element, [x1, y1, x2, y2], { width, height }) {
  element.style.left = `${(100 * x1) / width}%`;
  element.style.top = `${(100 * y1) / height}%`;
  element.style.width = `${(100 * (x2 - x1)) / width}%`;
  element.style.height = `${(100 * (y2 - y1)) / height}%`;
}
