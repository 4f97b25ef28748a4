// What the console does in the browser beyond its theme. Every page works without it.
"use strict";

const BUSY_MS = 2000; // while something has just changed
const CALM_MS = 15000;
const CALM_AFTER = 5; // unchanged answers in a row

/** Whether somebody is using the place: where the focus is, or a row is ticked, it stays as it is. */
const isUsed = (place) => place.contains(document.activeElement) || place.querySelector("input:checked") !== null;

/** Put an answer in place; of a list with as many rows as before only the rows that have changed. */
function put(place, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const [old, now] = [place, fresh].map((one) => [...one.querySelectorAll("#result_list > tbody")]);
  if (old.length === 0 || old.length !== now.length) {
    const opened = place.querySelector("details[open]") !== null;
    place.innerHTML = text;
    if (opened) place.querySelector("details")?.setAttribute("open", "");
  } else {
    old.forEach((row, k) => {
      if (words(row) === words(now[k])) return;
      now[k].classList.add("console-changed");
      row.replaceWith(now[k]);
    });
  }
  place.dispatchEvent(new CustomEvent("console:changed", { bubbles: true }));
}

const words = (row) => row.textContent.replace(/\s+/g, " ") + [...row.querySelectorAll("a")].map((one) => one.getAttribute("href"));

/** Keep a part of the page up to date while somebody looks at it: see ledger.admin.live. */
function keepLive(place) {
  const address = place.dataset.address ?? window.location.href;
  const asked = { "X-Background": "1", "X-Part": place.dataset.live };
  let tag = "";
  let unchanged = 0;
  let timer = 0;

  const again = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(ask, unchanged >= CALM_AFTER ? CALM_MS : BUSY_MS);
  };
  async function ask() {
    try {
      const answer = await fetch(address, { headers: { ...asked, ...(tag && { "If-None-Match": tag }) }, redirect: "error", cache: "no-store" });
      if (answer.status === 200) {
        const first = tag === "";
        tag = answer.headers.get("ETag") ?? "";
        const used = isUsed(place);
        if (used) tag = ""; // put in place later
        else put(place, await answer.text());
        unchanged = first || used ? unchanged + 1 : 0;
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
