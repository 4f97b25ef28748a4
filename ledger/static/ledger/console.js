// What the console does in the browser beyond its theme. Every page works without it.
"use strict";

const BUSY_MS = 2000; // while something has just changed
const CALM_MS = 15000;
const CALM_AFTER = 5; // unchanged answers in a row

/** Keep a part of the page up to date while somebody looks at it: see ledger.admin.live. */
function keepLive(place) {
  let tag = "";
  let unchanged = 0;
  let timer = 0;

  const again = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(ask, unchanged >= CALM_AFTER ? CALM_MS : BUSY_MS);
  };
  async function ask() {
    try {
      const answer = await fetch(place.dataset.live, { headers: { "X-Background": "1", ...(tag && { "If-None-Match": tag }) }, redirect: "error" });
      if (answer.status === 200) {
        const first = tag === "";
        tag = answer.headers.get("ETag") ?? "";
        if (!place.contains(document.activeElement)) place.innerHTML = await answer.text();
        else tag = ""; // somebody is using it: put in place later
        unchanged = first ? unchanged + 1 : 0;
      } else if (answer.status === 304) unchanged += 1;
      else return; // logged out, or no longer allowed: stop asking
    } catch {
      unchanged = CALM_AFTER; // the server is away: ask rarely
    }
    again();
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
  again();
}

document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll("[data-live]")) keepLive(place);
});
