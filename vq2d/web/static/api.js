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

export const files = () => send("/api/files");
export const additions = () => send("/api/additions");
export const dismiss = (id) => send(`/api/additions/${id}`, { method: "DELETE" });

export const fileOf = (id) => `/api/videos/${id}/file`;
export const thumbnailOf = (id) => `/api/videos/${id}/thumbnail.jpg`;
export const stillOf = (id, frame) => `/api/videos/${id}/still.jpg?frame=${frame}`;
export const pictureOf = (id) => `/api/answers/${id}/picture.jpg`;

const JSON_BODY = { "content-type": "application/json" };

/** Remember a file of the server's own list. */
export const addFile = (id) => send("/api/additions", { method: "POST", headers: JSON_BODY, body: JSON.stringify({ file: id }) });

/**
 * Send a video; `on(share, stop)` is told how far it is and how to stop it. Gives how many seconds
 * to wait if there is no room yet; otherwise 0. (Only XMLHttpRequest tells how far it is.)
 */
export function sendVideo(file, on) {
  const question = new URLSearchParams({ name: file.name, modified_ms: Math.max(0, Math.trunc(file.lastModified)) });
  const request = new XMLHttpRequest();
  const stop = () => request.abort();
  return new Promise((go, fail) => {
    request.upload.onprogress = ({ loaded, total }) => on(total ? loaded / total : 0, stop);
    request.onerror = () => fail(new Error("The video could not be sent; is `vq2d serve` still running?"));
    request.onabort = () => go(0);
    request.onload = () => {
      if (request.status === 429) return go(Number(request.getResponseHeader("retry-after")) || 5);
      if (request.status < 400) return go(0);
      let said;
      try { said = JSON.parse(request.responseText).error; } catch { /* not one of ours */ }
      return fail(new Error(`${file.name}: ${said ?? `the server answers ${request.status}`}`));
    };
    request.open("POST", `/api/uploads?${question}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    on(0, stop);
    request.send(file);
  });
}

/** Ask about a box (x1, y1, x2, y2 in pixels) in a frame; the id of the question. */
export async function askBox(videoId, frame, box) {
  const body = JSON.stringify({ video: videoId, frame, box_xyxy: box });
  return (await send("/api/questions", { method: "POST", headers: JSON_BODY, body })).id;
}

/** Ask with photos, each a file and a box or null; the id of the question. */
export async function askPictures(photos) {
  const body = new FormData();
  for (const { file } of photos) body.append("pictures", file);
  body.append("boxes", JSON.stringify(photos.map(({ box }) => box)));
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
