// -- the items: filters, counts, pages of cards ---------------------------------------------------------
const PAGE = 24;
const ANY = "-1";

function browseItems(form) {
  const { columns, counts, texts, outcomes } = dataOf("item-data");
  const pictures = dataOf("pictures");
  const browser = document.getElementById("browser");
  const [list, status, pages] = [".items", ".status", ".pages"].map((name) => browser.querySelector(name));
  const fields = form.elements;
  const lowered = texts.map((text) => text.toLowerCase());
  const total = columns.outcome.length;
  let shown = [], page = 0, measured;

  const COUNTED = ["run", "eval", "condition", "relation"];
  function fill(select, values, any) {
    const before = select.value;
    select.replaceChildren(
      ...(any ? [element("option", { value: ANY }, any)] : []),
      ...values.map((value) => element("option", { value, dir: "auto" }, texts[value] || "the only one")));
    if ([...select.options].some((option) => option.value === before)) select.value = before;
  }
  const distinct = (values) => [...new Set(values)];
  const isOf = (name, value) => !fields[name].value || fields[name].value === ANY || Number(fields[name].value) === value;

  fill(fields.run, distinct(counts.map((row) => row[0])), "all runs");
  fill(fields.eval, distinct(counts.map((row) => row[1])), "all evals");
  fill(fields.relation, distinct(counts.map((row) => row[3])), "all relations");
  const changing = counts.find((row) => row[4][0] + row[4][1] > 0);
  if (changing) fields.eval.value = changing[1];
  function fillConditions() {
    const own = distinct(counts.filter((row) => isOf("run", row[0]) && isOf("eval", row[1])).map((row) => row[2]));
    fill(fields.condition, own, "all conditions");
    form.querySelector("[data-many=condition]").hidden = own.length < 2;
  }
  form.querySelector("[data-many=run]").hidden = distinct(counts.map((row) => row[0])).length < 2;
  fillConditions();

  const chips = form.querySelector("fieldset");
  [ANY, ...outcomes.keys()].forEach((value) => {
    const radio = element("input", { type: "radio", name: "outcome", value, checked: value === ANY });
    chips.append(element("label", {}, radio, value === ANY ? "all" : outcomes[value], element("span")));
  });
  const spans = [...chips.querySelectorAll("label span")];

  const ORDERS = {
    gain: (i) => columns.p_before[i] - columns.p_after[i],
    loss: (i) => columns.p_after[i] - columns.p_before[i],
    least: (i) => columns.p_after[i],
  };
  function choose() {
    const numbers = outcomes.map(() => 0);
    for (const row of counts) {
      if (COUNTED.every((name, place) => isOf(name, row[place]))) row[4].forEach((n, i) => { numbers[i] += n; });
    }
    spans[0].textContent = numbers.reduce((a, b) => a + b, 0).toLocaleString("en");
    outcomes.forEach((_, i) => { spans[i + 1].textContent = numbers[i].toLocaleString("en"); });
    const outcome = form.querySelector("[name=outcome]:checked").value;
    const sought = fields.text.value.trim().toLowerCase();
    shown = [];
    for (let i = 0; i < total; i += 1) {
      if (outcome !== ANY && columns.outcome[i] !== Number(outcome)) continue;
      if (!COUNTED.every((name) => isOf(name, columns[name][i]))) continue;
      if (sought && !["query", "answer", "before", "after", "image"].some((name) => lowered[columns[name][i]].includes(sought))) continue;
      shown.push(i);
    }
    const order = ORDERS[fields.order.value];
    if (order) {
      const keys = new Map(shown.map((i) => [i, order(i)]));
      shown.sort((a, b) => keys.get(a) - keys.get(b));
    }
    measured = sought ? undefined : outcome === ANY ? numbers.reduce((a, b) => a + b, 0) : numbers[Number(outcome)];
    page = 0;
    draw();
  }

  function draw() {
    const first = page * PAGE, last = Math.min(shown.length, first + PAGE);
    const of = measured !== undefined && measured > shown.length ? `, of ${measured.toLocaleString("en")} that were measured` : "";
    status.textContent = shown.length
      ? `Items ${first + 1} to ${last} of ${shown.length.toLocaleString("en")} on this page${of}.`
      : `No such item is on this page${of}.`;
    list.replaceChildren(...shown.slice(first, last).map(card));
    const nPages = Math.ceil(shown.length / PAGE);
    pages.hidden = nPages < 2;
    pages.querySelector("span").textContent = `page ${page + 1} of ${nPages}`;
    const [previous, next] = pages.querySelectorAll("button");
    previous.disabled = page === 0;
    next.disabled = page >= nPages - 1;
  }

  function answer(label, text, isRight, p) {
    const number = p === null ? "none" : p.toFixed(2);
    const bar = element("b");
    bar.style.width = `${100 * Math.min(1, Math.max(0, p ?? 0))}%`;
    return [
      element("dt", {}, label),
      element("dd", {},
        element("span", { class: isRight ? "ok" : "no" }, isRight ? "✓ " : "✗ ", element("bdi", {}, text || "another answer")),
        element("span", { class: "prob" }, `p(answer) ${number}`, element("i", { "aria-hidden": "true" }, bar))),
    ];
  }
  function card(i) {
    const text = (name) => texts[columns[name][i]];
    const outcome = columns.outcome[i];
    const picture = pictures.files[columns.picture[i]];
    const image = picture
      ? element("img", { src: `data:${pictures.type};base64,${picture}`, alt: `Picture ${text("image")}`, width: 112, height: 112, loading: "lazy", decoding: "async" })
      : element("div", { class: "missing", role: "img", "aria-label": `No picture of ${text("image")}` }, "no picture");
    const where = [distinct(columns.run).length > 1 ? text("run") : "", text("eval"), text("condition"), text("settled") && `${text("settled")} chosen`, text("split"), text("image"), text("place")];
    return element("li", { "data-item": i }, image,
      element("div", {},
        element("h3", {}, element("bdi", {}, text("query")), " ", element("bdi", { class: "relation" }, text("relation"))),
        element("dl", {},
          element("dt", {}, "right answer"), element("dd", {}, element("bdi", {}, text("answer"))),
          ...(text("options") ? [element("dt", {}, "options"), element("dd", {}, element("bdi", {}, text("options")))] : []),
          ...answer("unedited", text("before"), outcome === 1 || outcome === 2, columns.p_before[i]),
          ...answer("under the eval", text("after"), outcome === 0 || outcome === 2, columns.p_after[i]))),
      element("p", { class: "where" }, element("bdi", {}, where.filter(Boolean).join(" · "))));
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (["run", "eval"].includes(event.target.name)) fillConditions();
    choose();
  });
  pages.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step) return;
    page += step;
    draw();
    list.scrollIntoView({ block: "start" });
  });
  choose();
}

const filters = document.querySelector(".filters");
/** Once the page was painted, and before the library of the figures takes the browser's time. */
requestAnimationFrame(() => setTimeout(() => {
  try {
    if (filters) browseItems(filters);
  } finally {
    itemsAreThere();
  }
}));
