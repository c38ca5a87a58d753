// Requests to the server that this page came from. Addresses are relative: the page may lie below any path.

let token = "";
let mostBytes = Infinity; // of a file

export function useToken(value) {
  token = value;
}

export const hasToken = () => token !== "";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
    this.again = [0, 429, 503, 504].includes(status); // whether the same request may succeed later
  }
}

const WORDS = {
  413: "This file is larger than the server accepts.",
  503: "The server is busy.",
  504: "The server did not answer in time.",
};

async function send(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Refused(0, "The server cannot be reached.");
  }
  const content = await response.json().catch(() => null);
  if (response.ok && content) return content;
  // The reason of an image that cannot be read goes on after its name.
  const reason = content?.error && ("path" in content ? `This file ${content.error}` : content.error);
  throw new Refused(response.status, WORDS[response.status] ?? reason ?? `The server answered with status ${response.status}.`);
}

export async function describeModel(name) {
  const found = await send(name ? `v1/model?model=${encodeURIComponent(name)}` : "v1/model");
  mostBytes = found.limits.max_body_bytes;
  return found;
}

// The answer for a file; `options` are parameters of /v1/predict.
export async function predict(file, options) {
  // It is not sent: a browser sends the whole of a file before it reads that it is refused, if the connection lasts that long.
  if (file.size > mostBytes) throw new Refused(413, WORDS[413]);
  const headers = { "Content-Type": "application/octet-stream" };
  return send(`v1/predict?${new URLSearchParams(options)}`, { method: "POST", body: file, headers });
}
