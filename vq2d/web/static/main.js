// The page: choose a video, pause, draw a box, which asks by itself, or give photos and ask; follow
// the answer.

import { Adding } from "./adding.js";
import * as api from "./api.js";
import { AnswerView } from "./answer.js";
import { isBelieved } from "./belief.js";
import { BoxEditor } from "./box.js";
import { $, clock, make, when } from "./dom.js";
import { Pictures } from "./pictures.js";
import { Screen } from "./screen.js";

const finder = new Screen("the video");
const box = new BoxEditor(finder);
const pictures = new Pictures();
const adding = new Adding();
const view = new AnswerView($("#shown"));
const isNarrow = matchMedia("(max-width: 979px)");
let running = null; // id of the question that is on its way
let stop = () => {};
let lastAsk = null; // what was asked last: a box, or photos
let isToBeRead = false; // whether the answer shall come into view as soon as there is one

function say(text, kind = "") {
  $("#status").className = `grow ${kind}`;
  $("#status").textContent = text;
}

const fail = (error) => say(error.message, "wrong");
const way = () => $("input[name=way]:checked").value;

function update() {
  const isVideo = way() === "video";
  $("#by-video").hidden = !isVideo;
  $("#by-pictures").hidden = isVideo;
  const given = isVideo ? box.box : pictures.photos;
  $("#ask").hidden = isVideo && (given === null || given === lastAsk);
  $("#ask").disabled = !given?.length || given === lastAsk;
  $("#cancel").hidden = running === null;
  $("#box-hint").textContent = box.box
    ? `Box at ${clock(finder.frame / 5)}, ${Math.round(box.box[2] - box.box[0])} × `
      + `${Math.round(box.box[3] - box.box[1])} pixels. This sighting itself is no answer. `
      + (box.box === lastAsk ? "A new box asks anew." : "Enter asks.")
    : "Pause where the thing is shown, then drag a box around it: letting go asks.";
}

function press(video) {
  for (const tile of $("#videos").children) {
    tile.setAttribute("aria-pressed", String(tile.dataset.id === video.id));
  }
}

async function choose(video) {
  press(video);
  box.set(null);
  await finder.load(video.id).catch(fail);
}

function tileOf(video) {
  return make("button", {
    type: "button", className: "tile", "data-id": video.id, "aria-pressed": "false",
    disabled: !video.is_there, title: video.name, onclick: () => choose(video),
  }, make("img", { src: video.is_there ? api.thumbnailOf(video.id) : "/static/icon.svg", alt: "", loading: "lazy" }),
  make("b", {}, video.name),
  video.is_there ? `${clock(video.duration_s)} · ${when(video.recorded_at, false)}` : "file is not there");
}

async function listVideos() {
  const videos = await api.videos();
  const seconds = videos.reduce((sum, video) => sum + video.duration_s, 0);
  const noun = videos.length === 1 ? "video" : "videos";
  $("#facts").textContent = videos.length
    ? `${videos.length} ${noun}, ${clock(seconds)} in all. Nothing leaves this machine.`
    : "The memory holds no video yet; add some here, or with `vq2d remember`.";
  $("#videos").replaceChildren(...videos.map(tileOf));
  const isThere = videos.some((video) => video.is_there);
  for (const part of ["#finder", "#boxing"]) $(part).hidden = !isThere;
  if (!videos.length) adding.details.open = true;
  const chosen = videos.find((video) => video.id === finder.info?.id);
  if (chosen) return press(chosen);
  if (isThere) await choose(videos.find((video) => video.is_there));
}

function askedCard(answer) {
  const { asked, last } = answer;
  const what = asked.video ? `${asked.name} at ${clock(asked.frame / 5)}`
    : asked.pictures === 1 ? "A photo" : `${asked.pictures} photos`;
  const found = last
    ? `${isBelieved(last) ? "Last seen" : "Probably not there; best guess:"} ${when(last.last_seen_at, false)}, ${last.name}` : "Not found";
  const image = make("img", { src: api.pictureOf(answer.id), alt: "", loading: "lazy", onerror: () => image.remove() });
  return make("button", {
    type: "button", className: "card asked", onclick: () => { location.hash = `answer=${answer.id}`; },
  }, make("span", { className: "picture" }, image), make("b", {}, what), found, make("br"),
  make("span", { className: "faint" }, `asked ${when(answer.asked_at, false)}`));
}

async function listAnswers() {
  const answers = await api.answers();
  $("#before").replaceChildren(...(answers.length ? answers.map(askedCard)
    : [make("p", { className: "faint" }, "Questions that were answered are kept here.")]));
}

function startAnswer() {
  stop();
  view.clear();
  $("#no-answer").hidden = true;
}

/** Follow a question from its first event on. */
function follow(id) {
  startAnswer();
  running = id;
  update();
  stop = api.follow(id, (kind, data) => hear(kind, data));
}

function hear(kind, data) {
  if (kind === "queued") say(data.before ? `Waiting behind ${data.before} …` : "Waiting …", "busy");
  if (kind === "searching") say("Searching the memory …", "busy");
  if (kind === "moment") { say("Seen; following it …", "busy"); view.showMoment(data); }
  if (kind === "sighting") { say("Looking for earlier sightings …", "busy"); view.add(data); }
  if (["queued", "searching", "moment", "sighting"].includes(kind)) return;
  running = null;
  if (kind !== "done") lastAsk = null;
  if (kind === "done") { view.finish(); say(view.sightings.length ? "Done." : "Not found."); }
  if (kind === "failed") say(data.error, "wrong");
  if (kind === "cancelled") say("Cancelled.");
  if (kind === "lost") say("This question is not known any more; ask it again.", "wrong");
  $("#no-answer").hidden = !$("#shown").hidden;
  if (kind === "done" && !view.sightings.length) bringIntoView();
  if (kind === "done") history.replaceState(null, "", `#answer=${data.answer}`);
  update();
  listAnswers().catch(fail);
}

/** Ask what is given; the question that is on its way is cancelled. */
async function ask() {
  const isVideo = way() === "video", mine = isVideo ? box.box : pictures.photos;
  lastAsk = mine;
  update();
  say("Sending …", "busy");
  stop();
  try {
    if (running !== null) await api.cancel(running).catch(() => {}); // it may be over
    running = null;
    const id = isVideo ? await api.askBox(finder.info.id, box.at, mine) : await api.askPictures(mine);
    if (lastAsk !== mine) return void api.cancel(id).catch(fail);
    history.replaceState(null, "", `#question=${id}`);
    isToBeRead = isNarrow.matches;
    follow(id);
  } catch (error) {
    if (lastAsk !== mine) return;
    lastAsk = null;
    fail(error);
    update();
  }
}

function bringIntoView() {
  if (isToBeRead) $("#answer").scrollIntoView({ block: "start" });
  isToBeRead = false;
}

async function open(id) {
  startAnswer();
  running = null;
  say("");
  const answer = await api.answer(id);
  for (const sighting of answer.sightings) view.add(sighting);
  view.finish();
  update();
  await listed.catch(() => {}); // what lies above has its height then
  $("#answer").scrollIntoView({ block: "nearest" });
}

/** What the address names: a question on its way, or an answer. */
function route() {
  const [kind, id] = location.hash.slice(1).split("=");
  if (!/^[0-9a-f]{8,64}$/.test(id ?? "")) return;
  if (kind === "question") follow(id);
  if (kind === "answer") open(id).catch(fail);
}

/** Files that are dropped anywhere: pictures are asked about, all else is a video to be added. */
function drop(event) {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  if (event.type !== "drop") return;
  const files = [...event.dataTransfer.files];
  const isPicture = (file) => file.type.startsWith("image/") || /\.(heic|heif|avif)$/i.test(file.name);
  if (files.some(isPicture)) {
    $("input[name=way][value=pictures]").click();
    pictures.add(files.filter(isPicture));
  }
  const videos = files.filter((file) => !isPicture(file));
  if (videos.length) {
    $("input[name=way][value=video]").click();
    adding.send(videos);
  }
}

$("#finder").append(finder.element);
$("#adding").append(adding.element);
$("#by-pictures").append(pictures.element);
$("#place-box").onclick = () => box.place();
$("#ask").onclick = ask;
$("#cancel").onclick = () => running && api.cancel(running).catch(fail);
for (const radio of document.querySelectorAll("input[name=way]")) radio.onchange = update;
box.addEventListener("change", () => { isToBeRead = false; update(); });
box.addEventListener("given", ask);
pictures.addEventListener("change", update);
view.screen.addEventListener("still", bringIntoView);
finder.addEventListener("trouble", () => say("This frame cannot be read; is the file still there?", "wrong"));
adding.addEventListener("trouble", fail);
adding.addEventListener("remembered", (event) => {
  say(`${event.name} is remembered.`);
  listVideos().catch(fail);
});
for (const kind of ["dragover", "drop"]) addEventListener(kind, drop);
addEventListener("hashchange", route);
update();
const listed = listVideos();
listed.catch(fail);
listAnswers().catch(fail);
adding.look();
route();
