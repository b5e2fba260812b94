"use strict";

/** An element with attributes and children; texts are texts, never markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

/** What a data block of the page holds. */
function dataOf(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Calls `show` once, when `target` comes near the part of the page that is seen. */
function whenNear(target, show) {
  const watch = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      watch.disconnect();
      show();
    }
  }, { rootMargin: "600px" });
  watch.observe(target);
}

document.documentElement.classList.add("scripted");

// -- light and dark -------------------------------------------------------------------------------
const themeButton = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemDark.matches;
}
function nameTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} page`);
}
themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
  dispatchEvent(new Event("themechange"));
});
systemDark.addEventListener("change", () => {
  nameTheme();
  dispatchEvent(new Event("themechange"));
});
nameTheme();

// -- tables that scroll say so --------------------------------------------------------------------------
for (const region of document.querySelectorAll(".scroll")) {
  new ResizeObserver(() => region.classList.toggle("cut", region.scrollHeight > region.clientHeight + 1)).observe(region);
}

// -- tables that sort -----------------------------------------------------------------------------
/** What a cell is sorted by: the number that it begins with, else its text. */
function sortKey(cell) {
  const text = cell ? cell.textContent.trim() : "";
  const number = /^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?/i.exec(text);
  return number ? Number(number[0].replaceAll(",", "")) : text;
}
function compareKeys(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b);
}
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = element("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
        rows.sort((a, b) => compareKeys(sortKey(a.cells[column]), sortKey(b.cells[column])) * (down ? -1 : 1));
        body.append(...rows);
      }
    });
  });
}
