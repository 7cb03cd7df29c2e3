// Asking the service: answers are JSON, and what it refuses is shown in its own words.

export class Refused extends Error {}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json", ...(options.headers ?? {}) }, ...options });
  } catch {
    throw new Refused("The service cannot be reached.");
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new Refused("Sign in again.");
  }
  const text = await response.text();
  let document = null;
  try {
    document = text ? JSON.parse(text) : null;
  } catch {
    throw new Refused(`The service answered ${response.status} with something that is not JSON.`);
  }
  if (!response.ok) throw new Refused(document?.detail ?? document?.title ?? `The service answered ${response.status}.`);
  return document;
}

export function send(path, document, method = "POST") {
  return ask(path, { method, body: document === undefined ? undefined : JSON.stringify(document), headers: { "Content-Type": "application/json" } });
}

// Yields the documents of an answer that comes line by line.
export async function* lines(path, document) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(document), headers: { "Content-Type": "application/json" } });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refused(problem.detail ?? `The service answered ${response.status}.`);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (held + value).split("\n");
    held = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}

export function complain(error) {
  const place = document.getElementById("problems");
  if (error instanceof Refused) place.textContent = error.message;
  else { place.textContent = `The page made a mistake: ${error}`; console.error(error); }
  place.scrollIntoView({ block: "nearest" });
}

// Runs an action of the user; what goes wrong is told, and the button waits meanwhile.
export async function act(button, action) {
  document.getElementById("problems").textContent = "";
  if (button) button.disabled = true;
  try {
    return await action();
  } catch (error) {
    complain(error);
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}
