// The API, as everybody has it. The key is in this tab's sessionStorage and in no address.

const KEY = "rdev-key";

/** What the API says is wrong, and what to do. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Calls the API; the answer's JSON. */
export async function call(method, path, { body, query, signal } = {}) {
  const response = await send(method, path, { body: body === undefined ? undefined : JSON.stringify(body), query, signal });
  const text = await response.text();
  return text ? JSON.parse(text) : {};
}

export const get = (path, query, signal) => call("GET", path, { query, signal });
export const post = (path, body = {}, signal) => call("POST", path, { body, signal });

/** The response as it is, if it is not a problem. */
export async function send(method, path, { body, query, signal, headers = {} } = {}) {
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") address.searchParams.set(name, value);
  }
  const secret = key.get();
  if (secret) headers.authorization = `Bearer ${secret}`;
  if (typeof body === "string") headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(address, { method, body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The gateway cannot be reached. This page tries again by itself.");
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) dispatchEvent(new CustomEvent("rdev:unauthenticated", { detail: problem }));
  throw problem;
}

async function problemOf(response) {
  try {
    const { code, detail } = await response.json();
    return new Problem(response.status, code, detail);
  } catch {
    return new Problem(response.status, "unknown", `The gateway answered ${response.status}.`);
  }
}

export const paths = {
  project: (project) => `/projects/${project}`,
  session: (project, session) => `/projects/${project}/sessions/${session}`,
  exec: (project, session, stream) => `/projects/${project}/sessions/${session}/execs/${stream}`,
};

/** Addresses within this page. */
export const links = {
  project: (project, view = "") => `#/p/${project}${view ? `/${view}` : ""}`,
  session: (project, session) => `#/p/${project}/s/${session}`,
  exec: (project, session, stream, view = "") => `#/p/${project}/s/${session}/x/${stream}${view ? `/${view}` : ""}`,
  conversation: (project, conversation) => `#/p/${project}/c/${conversation}`,
};
