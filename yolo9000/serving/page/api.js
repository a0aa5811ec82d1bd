// Questions to the server. An answer that is none becomes an Error with the server's own sentence.

export class ServerError extends Error {
  constructor(reason, after) {
    super(reason.message);
    this.reason = reason.name;
    this.candidates = reason.candidates || [];
    this.after = Number(after) || 1; // seconds until it is worth trying again
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw answer?.error ? new ServerError(answer.error, response.headers.get("retry-after")) : new Error(`The server answered with status ${response.status}.`);
}

const query = (values) => new URLSearchParams(values).toString();

export const overview = () => ask("/api/tree");
export const outline = () => ask("/api/outline");
export const search = (q, limit, signal) => ask(`/api/search?${query({ q, limit })}`, { signal });
export const node = (number) => ask(`/api/nodes/${number}`);
export const find = (name) => ask(`/api/find?${query({ name })}`);
export const classes = (state) => ask(`/api/classes?${query({ state, limit: 1000 })}`);
export const factors = (photo, box, number) =>
  ask(`/api/photos/${encodeURIComponent(photo)}/factors?${query({ box, node: number })}`);

const TRIES = 6;

// The server lets in only as many photos as it can answer soon. It says when the others shall come again, and each adds up to
// a second by chance, so that they do not all come at once.
export async function sendPhoto(file, type, signal, onWait) {
  for (let tried = 1; ; tried++) {
    try {
      return await ask("/api/photos", { method: "POST", body: file, headers: { "content-type": type }, signal });
    } catch (error) {
      if (error.reason !== "busy" || tried === TRIES) throw error;
      onWait(error.after);
      await new Promise((go) => setTimeout(go, 1000 * (error.after + Math.random())));
      signal.throwIfAborted();
    }
  }
}
