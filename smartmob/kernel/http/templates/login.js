// A shared link has its token behind the #, which a browser sends to no server; it is taken out of the address at once.
const shared = location.hash.slice(1);
if (shared) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("token").value = shared;
  document.querySelector("form").submit();
}
