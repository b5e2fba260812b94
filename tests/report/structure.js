/** What of a page's structure keeps it from being read by ear, as a list of texts. */
() => {
  const wrong = [];
  const all = (what) => [...document.querySelectorAll(what)];
  const levels = all("h1, h2, h3, h4").map((h) => Number(h.tagName[1]));
  levels.forEach((level, i) => {
    if (i && level > levels[i - 1] + 1) wrong.push(`h${level} follows h${levels[i - 1]}`);
  });
  if (levels.filter((level) => level === 1).length !== 1) wrong.push("there is not one h1");
  const must = (what, holds, told) => all(what).forEach((one) => holds(one) || wrong.push(`${one.outerHTML.slice(0, 80)} ${told}`));
  must("img", (one) => one.alt, "has no alt");
  must("select, input", (one) => one.labels.length, "has no label");
  must("button", (one) => one.textContent || one.ariaLabel, "has no name");
  must("thead th", (one) => one.scope === "col", "has another scope");
  must("tbody th", (one) => ["row", "rowgroup"].includes(one.scope), "has another scope");
  must("table", (one) => one.caption, "has no caption");
  must("[role=region], [role=img], [role=application], nav, form", (one) => one.ariaLabel, "has no name");
  must("[aria-labelledby]", (one) => document.getElementById(one.getAttribute("aria-labelledby")), "is named by nothing");
  must("a[href^='#']", (one) => document.querySelector(one.getAttribute("href")), "leads nowhere");
  const ids = all("body [id]:not(svg *)").map((one) => one.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is there twice");
  for (const what of ["header", "main", "nav", "footer"]) {
    if (all(`body ${what}`).length !== 1) wrong.push(`there is not one ${what}`);
  }
  if (document.documentElement.lang !== "en") wrong.push("the language is not said");
  return wrong;
}
