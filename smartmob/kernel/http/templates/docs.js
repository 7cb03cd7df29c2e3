// The forms of the page of the API: each sends one request of the session and shows its answer.
const MAX_CHARACTERS = 20000;

for (const form of document.querySelectorAll("form.try")) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button"), answer = form.querySelector(".answer");
    button.disabled = true;
    try {
      answer.textContent = await send(form);
    } catch (error) {
      answer.textContent = `No answer: ${error.message}`;
    }
    answer.hidden = false;
    button.disabled = false;
  });
}

async function send(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("input")) {
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    else if (field.value !== "") query.append(field.name, field.value);
  }
  const body = form.querySelector("textarea");
  const options = { method: form.dataset.method, headers: { Accept: "application/json" } };
  if (body && body.value !== "") {
    options.body = body.value;
    options.headers["Content-Type"] = body.dataset.type;
  }
  const response = await fetch(query.size ? `${path}?${query}` : path, options);
  const text = await response.text();
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON */ }
  const rest = shown.length > MAX_CHARACTERS ? `\n… ${shown.length - MAX_CHARACTERS} characters more` : "";
  return `${response.status} ${response.statusText}\n${shown.slice(0, MAX_CHARACTERS)}${rest}`;
}
