// The colours that the user has chosen, before anything is drawn: light, dark, or those of the system.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("smartmob-theme"); } catch { /* the browser stores nothing */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
