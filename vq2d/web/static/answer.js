// The answer: when and where the thing was last seen, played; earlier sightings as cards.

import * as api from "./api.js";
import { isBelieved, sureness } from "./belief.js";
import { clock, lay, make, when } from "./dom.js";
import { Screen } from "./screen.js";
import { Timeline } from "./timeline.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class AnswerView {
  constructor(place) {
    this.place = place;
    this.screen = new Screen("the answer");
    this.screen.boxAt = (frame, info) => this.#boxAt(frame, info);
    this.timeline = new Timeline((frame) => this.screen.scrub(frame));
    this.badge = make("span");
    this.headline = make("p", { className: "headline", "aria-live": "polite" });
    this.facts = make("p", { className: "faint" });
    this.again = make("button", { type: "button", onclick: () => this.#play() }, "Play this sighting");
    this.cards = make("div", { className: "cards" });
    this.legend = make("p", { className: "legend faint" });
    this.curve = make("div", {}, make("h3", {}, "Similarity over time"), this.timeline.element, this.legend);
    this.more = make("div", { hidden: true }, make("h3", {}, "All sightings, the last one first"), this.cards);
    this.player = make("div", {}, this.screen.element);
    place.append(this.player, this.headline, this.facts, make("div", { className: "row" }, this.again),
      this.curve, this.more);
    this.screen.addEventListener("frame", () => this.timeline.at(this.screen.frame));
    this.clear();
  }

  clear() {
    this.sightings = [];
    this.chosen = null;
    this.moment = null;
    this.place.hidden = true;
  }

  /** A moment and a box, before the track through them is known. */
  showMoment(moment) {
    if (this.sightings.length || this.moment) return;
    this.moment = moment;
    this.#reveal(true);
    this.headline.textContent = `Seen in ${moment.video.name} at ${clock(moment.at_s)} …`;
    this.facts.textContent = "It is being followed through the video.";
    for (const part of [this.curve, this.more, this.again]) part.hidden = true;
    this.#load(moment.video, moment.frame);
  }

  /** One more sighting; the first one is the answer. */
  add(sighting, isPlayed = true) {
    this.sightings.push(sighting);
    this.#reveal(true);
    if (this.sightings.length === 1) this.choose(sighting, isPlayed);
    this.#list();
  }

  /** All that was found is there. */
  finish() {
    if (this.sightings.length) return;
    this.#reveal(false);
    this.headline.textContent = "Not found";
    this.facts.textContent = "Nothing in the memory is similar enough. Try another moment, a tighter "
      + "box, or several photos.";
  }

  async choose(sighting, isPlayed = true) {
    this.chosen = sighting;
    const { video, curve } = sighting;
    const verb = sighting === this.sightings[0] ? "Last seen" : "Seen";
    this.headline.replaceChildren(this.badge,
      `${isBelieved(sighting) ? verb : "Best guess:"} ${when(sighting.last_seen_at)}`);
    const source = video.recorded_from === "file" ? " (by the date of the file)" : "";
    this.facts.textContent = `In ${video.name}, ${clock(sighting.start_s)} to ${clock(sighting.end_s)}`
      + `${source}; ${how(sighting)}.`;
    for (const part of [this.curve, this.again]) part.hidden = false;
    const inSame = this.sightings.filter((one) => one.video.id === video.id);
    this.timeline.show(video, curve, inSame);
    this.legend.replaceChildren(make("span", { className: "key" }, "seen"),
      curve.own ? make("span", { className: "key asked" }, "where you drew the box") : null ?? "");
    this.#list();
    if (await this.#load(video, sighting.end_frame - 1)) if (isPlayed && !CALM.matches) this.#play();
  }

  async #load(video, frame) {
    this.player.hidden = !video.is_there;
    if (!video.is_there) {
      this.facts.textContent += ` The file ${video.name} is not there any more, so it cannot be shown.`;
      return false;
    }
    await this.screen.load(video.id, frame);
    return true;
  }

  #play() {
    this.screen.playFrom(this.chosen.first_frame, this.chosen.end_frame);
  }

  #reveal(isFound) {
    this.place.hidden = false;
    for (const part of [this.player, this.curve, this.again]) part.hidden = !isFound;
    if (!isFound) this.more.hidden = true;
  }

  #boxAt(frame, info) {
    if (!this.chosen) {
      const { moment } = this;
      return moment && moment.video.id === info.id && moment.frame === frame ? moment.box_xyxy : null;
    }
    const held = this.sightings.find((one) => one.video.id === info.id
      && frame >= one.first_frame && frame < one.end_frame);
    return held ? held.boxes_xyxy[frame - held.first_frame] : null;
  }

  /** Say whether the thing is there: of the chosen sighting, and if not, of all of them. */
  #judge() {
    const isFound = isBelieved(this.chosen);
    this.badge.className = `badge ${isFound ? "found" : "guess"}`;
    this.badge.textContent = isFound ? "found" : this.sightings.some(isBelieved) ? "a guess" : "probably not there";
  }

  #list() {
    this.more.hidden = this.sightings.length < 2;
    this.cards.replaceChildren(...this.sightings.map((one) => this.#card(one)));
    if (this.chosen) {
      this.#judge();
      const inSame = this.sightings.filter((one) => one.video.id === this.chosen.video.id);
      this.timeline.show(this.chosen.video, this.chosen.curve, inSame);
    }
  }

  #card(sighting) {
    const { video } = sighting, last = sighting.end_frame - 1;
    const mark = make("span", { className: "mark" });
    lay(mark, sighting.boxes_xyxy.at(-1), video);
    const picture = make("span", { className: "picture" },
      make("img", { src: api.stillOf(video.id, last), alt: "", loading: "lazy" }), mark);
    return make("button", {
      type: "button", className: "card", onclick: () => this.choose(sighting),
      "aria-pressed": String(sighting === this.chosen),
    }, video.is_there ? picture : null, make("b", {}, when(sighting.last_seen_at)),
    `${video.name}, ${clock(sighting.start_s)} to ${clock(sighting.end_s)}`,
    make("br"), `${how(sighting)}${isBelieved(sighting) ? "" : ", a guess"}`);
  }
}

/** How sure a sighting is, in numbers. */
function how(sighting) {
  return [sureness(sighting), `score ${sighting.score.toFixed(2)}`].filter(Boolean).join(", ");
}
