// What the theme leaves to eyes and mouse, for keyboards and screen readers: see docs/decisions/0073.
"use strict";

const PRESSED = ["Enter", " "];
const NATIVE = "a[href], button, input, select, textarea, summary, label";
const ICON = ".material-symbols-outlined";

/** Icons are letters of a font: nobody should hear "person_remove Requests". */
function hideIcons(place) {
  for (const icon of place.querySelectorAll(ICON)) icon.setAttribute("aria-hidden", "true");
}

/** What a control is called that shows only an icon: its title, or what the page's <template> calls the icon. */
function nameOf(control, names) {
  const icon = control.matches(ICON) ? control : control.querySelector(ICON);
  if (control.getAttribute("x-on:click")?.startsWith("openTheme")) return names.theme; // its icon changes
  return control.getAttribute("title") ?? names[icon?.textContent.trim()] ?? "";
}

function textOf(control) {
  if (control.matches(ICON)) return "";
  const copy = control.cloneNode(true);
  for (const icon of copy.querySelectorAll(ICON)) icon.remove();
  return copy.textContent.trim();
}

function giveNames(place, names) {
  for (const control of place.querySelectorAll("a, button, [role=button]")) {
    if (textOf(control) || control.hasAttribute("aria-label") || control.querySelector("img[alt], svg")) continue;
    const name = nameOf(control, names);
    if (name) control.setAttribute("aria-label", name);
  }
}

/** Elements that answer to a click only become buttons: in the order of Tab, and pressed with Enter or Space. */
function makePressable(place) {
  for (const one of place.querySelectorAll("[x-on\\:click]")) {
    if (one.hasAttribute("tabindex") || one.matches(NATIVE) || one.querySelector(NATIVE) || one.id === "changelist-filter-close") continue;
    one.setAttribute("role", "button");
    one.tabIndex = 0;
    if (one.matches(ICON)) one.removeAttribute("aria-hidden");
    one.addEventListener("keydown", (event) => {
      if (event.target !== one || !PRESSED.includes(event.key)) return;
      event.preventDefault();
      one.click();
    });
  }
}

/** The sheet with filters is a dialog: focus goes into it and comes back, Escape closes it (which the theme does). */
function tendFilters(names) {
  const sheet = document.getElementById("changelist-filter");
  const opener = document.querySelector("[x-on\\:click='filterOpen = true']");
  if (!sheet || !opener) return;
  sheet.setAttribute("role", "dialog");
  sheet.setAttribute("aria-modal", "true");
  sheet.setAttribute("aria-label", names.filters);
  const isOpen = () => sheet.offsetParent !== null || getComputedStyle(sheet).display !== "none";
  let wasOpen = false;
  new MutationObserver(() => {
    if (isOpen() === wasOpen) return;
    wasOpen = !wasOpen;
    const first = sheet.querySelector("a[href], button, input:not([type=hidden]), select, summary");
    (wasOpen ? first : opener)?.focus();
  }).observe(sheet, { attributes: true, attributeFilter: ["style"] });
  sheet.addEventListener("keydown", (event) => {
    if (event.key !== "Tab") return;
    const inside = [...sheet.querySelectorAll("a[href], button, input, select, [tabindex='0']")].filter((one) => one.offsetParent);
    const edge = event.shiftKey ? inside[0] : inside.at(-1);
    if (document.activeElement !== edge) return;
    event.preventDefault();
    (event.shiftKey ? inside.at(-1) : inside[0]).focus();
  });
}

/** Escape closes what covers a part of the page: menus close on a click beside them, the sidebar has a button. */
function closeOnEscape(event) {
  if (event.key !== "Escape") return;
  document.body.click();
  const close = document.querySelector("#nav-sidebar [x-on\\:click='sidebarMobileOpen = !sidebarMobileOpen']");
  if (close?.offsetParent) close.click();
}

function tend(place, names) {
  hideIcons(place);
  makePressable(place);
  giveNames(place, names);
}

document.addEventListener("DOMContentLoaded", () => {
  const names = document.getElementById("console-names")?.dataset ?? {};
  tend(document, names);
  document.addEventListener("console:changed", (event) => tend(event.target, names));
  tendFilters(names);
  document.getElementById("main")?.setAttribute("role", "main");
  const content = document.getElementById("content");
  if (content) content.tabIndex = -1; // where the skip link leads
  document.addEventListener("keydown", closeOnEscape);
});
