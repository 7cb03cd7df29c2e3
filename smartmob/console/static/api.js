// Requests to the service. Answers are JSON; the reason of a refused request is shown as the service words it.

export class RequestError extends Error {}

export async function fetchJson(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json", ...(options.headers ?? {}) }, ...options });
  } catch {
    throw new RequestError("The service cannot be reached.");
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new RequestError("Sign in again.");
  }
  const text = await response.text();
  let document = null;
  try {
    document = text ? JSON.parse(text) : null;
  } catch {
    throw new RequestError(`The service answered ${response.status} with something that is not JSON.`);
  }
  if (!response.ok) throw new RequestError(document?.detail ?? document?.title ?? `The service answered ${response.status}.`);
  return document;
}

export function sendJson(path, document, method = "POST") {
  return fetchJson(path, { method, body: document === undefined ? undefined : JSON.stringify(document), headers: { "Content-Type": "application/json" } });
}

// Yields the documents of an answer that has one on each line.
export async function* streamLines(path, document) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(document), headers: { "Content-Type": "application/json" } });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new RequestError(problem.detail ?? `The service answered ${response.status}.`);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

export function showError(error) {
  const box = document.getElementById("problems");
  if (error instanceof RequestError) box.textContent = error.message;
  else { box.textContent = `Error in this page: ${error}`; console.error(error); }
  box.scrollIntoView({ block: "nearest" });
}

// Runs an action of the user and shows its error; the button is disabled meanwhile.
export async function runAction(button, action) {
  document.getElementById("problems").textContent = "";
  if (button) button.disabled = true;
  try {
    return await action();
  } catch (error) {
    showError(error);
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}
