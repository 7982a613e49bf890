// What the server is asked for; a refusal becomes an Error with its one sentence.

async function send(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; is `vq2d serve` still running?");
  }
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(body.error ?? `The server answers ${reply.status}.`);
  return body;
}

export const videos = () => send("/api/videos");
export const video = (id) => send(`/api/videos/${id}`);
export const answers = () => send("/api/answers");
export const answer = (id) => send(`/api/answers/${id}`);
export const cancel = (id) => send(`/api/questions/${id}`, { method: "DELETE" });

export const fileOf = (id) => `/api/videos/${id}/file`;
export const thumbnailOf = (id) => `/api/videos/${id}/thumbnail.jpg`;
export const stillOf = (id, frame) => `/api/videos/${id}/still.jpg?frame=${frame}`;
export const pictureOf = (id) => `/api/answers/${id}/picture.jpg`;

/** Ask about a box (x1, y1, x2, y2 in pixels) in a frame; the id of the question. */
export async function askBox(videoId, frame, box) {
  const body = JSON.stringify({ video: videoId, frame, box_xyxy: box });
  const headers = { "content-type": "application/json" };
  return (await send("/api/questions", { method: "POST", headers, body })).id;
}

/** Ask with picture files; the id of the question. */
export async function askPictures(files) {
  const body = new FormData();
  for (const file of files) body.append("pictures", file);
  return (await send("/api/questions", { method: "POST", body })).id;
}

const KINDS = ["queued", "searching", "moment", "sighting", "done", "failed", "cancelled"];
const ENDS = ["done", "failed", "cancelled"];

/** Call `on(kind, data)` for each event of a question; gives what stops that. */
export function follow(id, on) {
  const source = new EventSource(`/api/questions/${id}/events`);
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      if (ENDS.includes(kind)) source.close();
      on(kind, JSON.parse(event.data));
    });
  }
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) on("lost", {});
  };
  return () => source.close();
}
