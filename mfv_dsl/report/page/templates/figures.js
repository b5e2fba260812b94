// -- figures, drawn by Plotly when they come into view ------------------------------------------------
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
let plotlyIsThere = null;
let itemsAreThere = () => undefined;
const untilItems = new Promise((resolve) => { itemsAreThere = resolve; });

/** Plotly, unpacked and read when the first figure needs it. */
function plotly() {
  plotlyIsThere ??= (async () => {
    await untilItems;
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = document.createElement("script");
    source.textContent = await new Response(unpacked).text();
    document.head.append(source);
    return window.Plotly;
  })();
  return plotlyIsThere;
}

function colour(name) {
  const probe = element("span", { style: `color: var(--${name})` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
function withAlpha(hex, alpha) {
  const part = (place) => parseInt(hex.slice(place, place + 2), 16);
  return `rgba(${part(1)}, ${part(3)}, ${part(5)}, ${alpha})`;
}
/** A text that Plotly takes for no markup. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
/** A text of at most so many letters: the middle goes, since names often differ at their ends. */
function shortened(text, most) {
  const letters = [...text];
  if (letters.length <= most) return plain(text);
  const end = Math.floor((most - 1) / 2);
  return plain(`${letters.slice(0, most - 1 - end).join("")}…${letters.slice(letters.length - end).join("")}`);
}
function layoutOf(more) {
  const axis = () => ({ gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true });
  const { xaxis = {}, yaxis = {}, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, autosize: true,
    font: { family: "system-ui, sans-serif", size: 13, color: colour("ink") },
    margin: { l: 56, r: 16, t: 8, b: 48 }, hoverlabel: { align: "left" },
    xaxis: { ...axis(), ...xaxis }, yaxis: { ...axis(), ...yaxis }, ...rest,
  };
}
const OPTIONS = {
  displaylogo: false, responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "pan2d", "zoom2d", "resetScale2d"],
};

/** Curves with bands; many of them begin with those over all relations alone. */
function lines(Plotly, place, data) {
  const traces = [];
  const some = data.series.length > 8 && data.series.some((one) => one.main);
  data.series.forEach((one, number) => {
    const hex = COLOURS[number % COLOURS.length];
    const shared = { legendgroup: String(number), visible: some && !one.main ? "legendonly" : true };
    if (one.low && one.low.some((value) => value !== null)) {
      traces.push({
        ...shared, type: "scatter", x: [...one.x, ...[...one.x].reverse()], y: [...one.high, ...[...one.low].reverse()],
        fill: "toself", fillcolor: withAlpha(hex, 0.14), line: { width: 0 }, hoverinfo: "skip", showlegend: false, mode: "lines",
      });
    }
    const stars = new Set(one.marked ?? []);
    traces.push({
      ...shared, type: "scatter", mode: "lines+markers", name: shortened(one.name, 40), x: one.x, y: one.y, text: one.text.map(plain),
      line: { color: hex, width: one.main ? 3 : 1.8, dash: DASHES[Math.floor(number / COLOURS.length) % DASHES.length] },
      marker: { color: hex, size: one.x.map((x) => (stars.has(x) ? 13 : 6)), symbol: one.x.map((x) => (stars.has(x) ? "star" : "circle")) },
      hovertemplate: `${plain(data.x)} %{x}: %{text}${data.percent ? " %" : ""}<extra>${plain(one.name)}</extra>`,
    });
  });
  const places = data.series.flatMap((one) => one.x);
  const whole = places.every(Number.isInteger) && Math.max(...places) - Math.min(...places) <= 16;
  const longest = Math.min(40, Math.max(...data.series.map((one) => one.name.length)));
  const across = Math.max(1, Math.floor((place.clientWidth - 80) / (longest * 7.5 + 50)));
  const legendHeight = data.series.length > 1 ? 20 * Math.min(8, Math.ceil(data.series.length / across)) : 0;
  return Plotly.react(place, traces, layoutOf({
    height: 370 + legendHeight, margin: { l: 56, r: 16, t: 8, b: 56 + legendHeight }, hovermode: "closest",
    showlegend: data.series.length > 1, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
    xaxis: { title: { text: plain(data.x), font: { size: 13 }, standoff: 6 }, ...(whole ? { dtick: 1 } : {}) },
    yaxis: { title: { text: plain(data.y), font: { size: 13 }, standoff: 10 }, ...(data.percent ? { tickformat: ".0%", range: [-0.02, 1.04] } : {}) },
  }), OPTIONS);
}

/** Values with intervals, one below the other; those of several runs in a row's own lane each. */
function intervals(Plotly, place, data) {
  const most = place.clientWidth < 560 ? 22 : 52;
  const several = data.series.length > 1;
  const rows = data.names.map((_, number) => number);
  const traces = data.series.map((one, number) => {
    const lane = several ? ((number + 0.5) / data.series.length - 0.5) * 0.6 : 0;
    const hue = several ? COLOURS[number % COLOURS.length] : colour("plot");
    return {
      type: "scatter", mode: "markers", name: shortened(one.name, 40), x: one.y, y: one.at.map((row) => row + lane),
      text: one.text.map(plain), customdata: one.at.map((row) => plain(data.names[row])), marker: { color: hue, size: several ? 7 : 9 },
      error_x: {
        type: "data", symmetric: false, color: hue, thickness: 1.6, width: 0,
        array: one.high.map((value, i) => value - one.y[i]), arrayminus: one.low.map((value, i) => one.y[i] - value),
      },
      hovertemplate: `%{customdata}: %{text} %<extra>${several ? plain(one.name) : ""}</extra>`,
    };
  });
  const all = (field) => data.series.flatMap((one) => one[field]);
  return Plotly.react(place, traces, layoutOf({
    height: (several ? 110 : 70) + (several ? 24 + 10 * data.series.length : 30) * rows.length, margin: { l: 8, r: 16, t: 8, b: several ? 72 : 40 },
    hovermode: "closest", showlegend: several, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
    xaxis: {
      tickformat: data.signed ? "+.0%" : ".0%", zerolinecolor: colour("quiet"),
      range: data.signed ? [Math.min(0, ...all("low")) - 0.02, Math.max(0, ...all("high")) + 0.02] : [-0.02, 1.04],
    },
    yaxis: {
      tickvals: rows, ticktext: data.names.map((name) => shortened(name, most)), range: [rows.length - 0.4, -0.6],
      zeroline: false, showgrid: false,
    },
  }), OPTIONS);
}

/** The part of a figure that has this class, made by `make` when it is first asked for. */
function part(place, name, make) {
  const found = place.querySelector(`:scope .${name}`);
  if (found) return found;
  const made = make();
  made.classList.add(name);
  place.append(made);
  return made;
}
function choice(label, names, changed) {
  const select = element("select", {}, ...names.map((name, i) => element("option", { value: i, dir: "auto" }, name)));
  select.addEventListener("change", () => changed());
  return element("label", {}, label, select);
}

/** What was answered, a condition at a time. */
function matrix(Plotly, place, data) {
  const again = () => matrix(Plotly, place, data);
  const picker = part(place, "head-picker", () => element("div", {}, choice("Condition", data.matrices.map((m) => m.name), again)));
  const canvas = part(place, "canvas", () => element("div"));
  const one = data.matrices[Number(picker.querySelector("select").value)];
  const numbers = (list) => list.map((_, i) => i);
  const most = place.clientWidth < 560 ? 9 : 18;
  return Plotly.react(canvas, [{
    type: "heatmap", z: one.z, x: numbers(one.across), y: numbers(one.down), zmin: 0, zmax: 1, xgap: 2, ygap: 2, showscale: false,
    colorscale: [[0, colour("faint")], [1, colour("plot")]],
    text: one.z.map((row) => row.map((share) => (share === null ? "" : (100 * share).toFixed(0)))),
    texttemplate: "%{text}", hovertemplate: "%{text} % of the answers<extra></extra>",
  }], layoutOf({
    height: 130 + (one.down.length > 10 ? 26 : 42) * one.down.length, margin: { l: 8, r: 8, t: 8, b: 8 },
    xaxis: { tickvals: numbers(one.across), ticktext: one.across.map((name) => `→ ${shortened(name, most)}`), side: "top", showgrid: false },
    yaxis: { tickvals: numbers(one.down), ticktext: one.down.map((name) => shortened(name, most)), autorange: "reversed", showgrid: false },
  }), OPTIONS);
}

/** The effects of all heads; a click, the arrow keys or the fields show one head's by relation. */
function heads(Plotly, place, data) {
  const parts = part(place, "parts", () => element("div"));
  const map = part(parts, "map", () => element("div", {}));
  const side = part(parts, "head-values", () => element("div"));
  const nLayers = data.mean.length, nHeads = data.mean[0].length;
  const measures = [...(data.relations.length > 1 ? [{ name: data.mean_name, aie: data.mean }] : []), ...data.relations];
  const form = part(side, "head-picker", () => {
    const number = (label, most) => element("label", {}, label, element("input", { type: "number", min: 0, max: most, value: 0 }));
    const made = element("div", {}, number("Layer", nLayers - 1), number("Head", nHeads - 1), choice("Colours show", measures.map((m) => m.name), () => draw()));
    const [layer, head] = made.querySelectorAll("input");
    const best = data.mean.flat().reduce((top, value, i, all) => (value !== null && (all[top] === null || value > all[top]) ? i : top), 0);
    [layer.value, head.value] = [Math.floor(best / nHeads), best % nHeads];
    made.addEventListener("input", () => draw());
    return made;
  });
  const [layerField, headField] = form.querySelectorAll("input");
  const values = part(side, "values", () => element("div", { "aria-live": "polite" }));
  const limited = (field, most) => Math.min(most, Math.max(0, Math.round(Number(field.value) || 0)));
  function pick(layer, head) {
    layerField.value = Math.min(nLayers - 1, Math.max(0, layer));
    headField.value = Math.min(nHeads - 1, Math.max(0, head));
    draw();
  }
  const shown = (value) => (value === null || value === undefined ? "none" : value.toFixed(3).replace(/^-(0\.0+)$/, "$1"));
  function draw() {
    const layer = limited(layerField, nLayers - 1), head = limited(headField, nHeads - 1);
    const rows = data.relations.map((one) => element("tr", {},
      element("th", { scope: "row", class: "word" }, element("bdi", {}, one.name)),
      element("td", {}, shown(one.aie[layer][head])),
      element("td", {}, one.low ? `[${shown(one.low[layer][head])}, ${shown(one.high[layer][head])}]` : "")));
    values.replaceChildren(element("div", { class: "scroll" }, element("table", {},
      element("caption", {}, `L${layer}H${head}: mean ${shown(data.mean[layer][head])}`),
      element("thead", {}, element("tr", {}, ...["relation", "effect", "95 % interval"].map((name, i) => element("th", { scope: "col", class: i ? "" : "word" }, name)))),
      element("tbody", {}, ...rows))));
    const measure = measures[Number(form.querySelector("select").value)];
    const most = Math.max(1e-9, ...measure.aie.flat().filter((value) => value !== null).map(Math.abs));
    return Plotly.react(map, [{
      type: "heatmap", z: measure.aie, zmid: 0, zmin: -most, zmax: most, xgap: nHeads > 24 ? 0 : 1, ygap: nLayers > 40 ? 0 : 1,
      colorscale: [[0, "#b35806"], [0.5, colour("faint")], [1, "#0072b2"]],
      colorbar: { thickness: 10, outlinewidth: 0, tickfont: { size: 11 } },
      hovertemplate: "L%{y}H%{x}: %{z:.3f}<extra></extra>",
    }], layoutOf({
      height: Math.min(760, 110 + Math.max(160, nLayers * 24)), margin: { l: 44, r: 8, t: 8, b: 40 },
      xaxis: { title: { text: "head", font: { size: 13 } }, showgrid: false, zeroline: false, dtick: nHeads <= 16 ? 1 : undefined },
      yaxis: { title: { text: "layer", font: { size: 13 } }, autorange: "reversed", showgrid: false, zeroline: false, dtick: nLayers <= 16 ? 1 : undefined },
      shapes: [{ type: "rect", x0: head - 0.5, x1: head + 0.5, y0: layer - 0.5, y1: layer + 0.5, line: { color: colour("ink"), width: 2 } }],
    }), OPTIONS);
  }
  if (!map.dataset.ready) {
    map.dataset.ready = "yes";
    map.tabIndex = 0;
    map.setAttribute("role", "application");
    map.setAttribute("aria-label", `Map of ${nLayers} layers and ${nHeads} heads; arrow keys move from head to head`);
    map.addEventListener("keydown", (event) => {
      const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
      if (!down && !right) return;
      event.preventDefault();
      pick(limited(layerField, nLayers - 1) + down, limited(headField, nHeads - 1) + right);
    });
    Promise.resolve(draw()).then(() => map.on("plotly_click", (event) => pick(event.points[0].y, event.points[0].x)));
    return undefined;
  }
  return draw();
}

const DRAW = { lines, intervals, matrix, heads };
const drawn = new Map();
const figures = dataOf("figures");
for (const figure of document.querySelectorAll("figure[data-figure]")) {
  const { kind, data } = figures[Number(figure.dataset.figure)];
  const place = figure.querySelector(".plot");
  if (kind === "matrix" || kind === "heads") {  // they have fields of their own
    place.setAttribute("role", "group");
  }
  whenNear(figure, async () => {
    try {
      const Plotly = await plotly();
      await DRAW[kind](Plotly, place, data);
      place.classList.add("drawn");
      drawn.set(place, () => DRAW[kind](Plotly, place, data));
    } catch (error) {
      place.replaceChildren(element("p", { class: "failed" }, `This browser cannot draw the figure (${error.message}); its numbers are below.`));
      figure.querySelector("details").open = true;
    }
  });
}
addEventListener("themechange", () => drawn.forEach((again) => again()));
