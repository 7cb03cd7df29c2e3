// Requests to the service. Answers are JSON; the reason of a refused request is shown as the service words it.

import { connectionLost } from "./connection.js";

// An error that the user may read. `fields` has the message of each field of the form that is wrong, by its name.
export class RequestError extends Error {
  constructor(message, fields = {}) {
    super(message);
    this.fields = fields;
  }
}

// The service cannot be reached: the page shows that once, for all requests together.
class Offline extends RequestError {}

// Return the messages of a refusal by the names of fields: those of `errors`, or the name at the start of the detail.
function fieldsOf(problem) {
  const named = Object.fromEntries((problem?.errors ?? []).map(({ where, message }) => [String(where).replace(/^\$\.?/, "").split(/[.[]/)[0], message]));
  const [, name, message] = /^(\w+): (.+)$/s.exec(problem?.detail ?? "") ?? [];
  return Object.keys(named).length || !name ? named : { [name]: message };
}

const refusal = (problem, status) => new RequestError(problem?.detail ?? problem?.title ?? `The service answered ${status}.`, fieldsOf(problem));

export async function fetchJson(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json", ...(options.headers ?? {}) }, ...options });
  } catch {
    connectionLost();
    throw new Offline("The service cannot be reached.");
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
  if (!response.ok) throw refusal(document, response.status);
  return document;
}

export function sendJson(path, document, method = "POST") {
  return fetchJson(path, { method, body: document === undefined ? undefined : JSON.stringify(document), headers: { "Content-Type": "application/json" } });
}

// Yields the documents of an answer that has one on each line.
export async function* streamLines(path, document) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(document), headers: { "Content-Type": "application/json" } });
  if (!response.ok) throw refusal(await response.json().catch(() => ({})), response.status);
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
  if (error instanceof Offline) return;
  const box = document.getElementById("problems");
  if (error instanceof RequestError) box.textContent = error.message;
  else { box.textContent = `Error in this page: ${error}`; console.error(error); }
  box.scrollIntoView({ block: "nearest" });
}

function clearFieldErrors(form) {
  for (const note of form?.querySelectorAll(".field-error") ?? []) note.remove();
  for (const field of form?.querySelectorAll("[aria-invalid]") ?? []) { field.removeAttribute("aria-invalid"); field.removeAttribute("aria-describedby"); }
}

// Show the messages of an error beside the fields of a form; return whether the form has one of them.
function showFieldErrors(form, error) {
  let first = null;
  for (const [name, message] of Object.entries(error.fields ?? {})) {
    const field = form?.elements.namedItem(name);
    if (!(field instanceof HTMLElement)) continue;
    const note = document.createElement("span");
    Object.assign(note, { className: "field-error", id: `error-of-${name}`, textContent: message });
    note.setAttribute("role", "alert");
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", note.id);
    field.after(note);
    first ??= field;
  }
  first?.focus();
  return first !== null;
}

// Runs an action of the user and shows its error, beside the field of the form if it is about one; the button is disabled meanwhile.
export async function runAction(button, action) {
  const form = button?.closest("form");
  document.getElementById("problems").textContent = "";
  clearFieldErrors(form);
  if (button) button.disabled = true;
  try {
    return await action();
  } catch (error) {
    if (!showFieldErrors(form, error)) showError(error);
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}
