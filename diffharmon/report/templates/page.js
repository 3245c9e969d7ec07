"use strict";

// Tables: a click on a heading sorts by it; numbers by value, texts by alphabet, empty cells last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    heading.tabIndex = 0;
    heading.title = "sort by this column";
    heading.setAttribute("aria-sort", "none");
    const sort = () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
      const isNumber = [...body.rows].some((row) => row.cells[place].dataset.value !== undefined);
      const rows = [...body.rows].sort((a, b) => {
        if (!isNumber) return key(a).localeCompare(key(b), undefined, { numeric: true }) * (down ? -1 : 1);
        const [x, y] = [a, b].map((row) => Number(row.cells[place].dataset.value ?? NaN));
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return (x === y ? 0 : x < y ? -1 : 1) * (down ? -1 : 1);
      });
      body.append(...rows);
    };
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}

// Gallery: cards are made from the data at the end of the page.
const data = JSON.parse(document.getElementById("gallery-data").textContent);
const place = document.getElementById("cards");

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));

const partner = (card, run) => data.cards.find((other) => other.image === card.image && other.run === run);

function slider(card, left, show) {
  const other = left ? partner(card, left) : undefined;
  const before = other ? [other.result, other.run] : [card.composite, "composite"];
  const after = show === "real" && card.real ? [card.real, "real photo"] : [card.result, other ? card.run : "result"];
  const under = make("img", { src: data.pictures[before[0]], alt: `${card.name}, ${before[1]}`, loading: "lazy" });
  const over = make("img", { src: data.pictures[after[0]], alt: `${card.name}, ${after[1]}`, className: "over", loading: "lazy" });
  const range = make("input", { type: "range", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", `${card.name}: ${before[1]} on the left, ${after[1]} on the right`);
  const box = make("div", { className: "slider" }, under, over,
    make("span", { className: "tag left", textContent: before[1] }),
    make("span", { className: "tag right", textContent: after[1] }), range);
  range.addEventListener("input", () => box.style.setProperty("--cut", `${range.value}%`));
  box.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const frame = box.getBoundingClientRect();
    range.value = (100 * (event.clientX - frame.left)) / frame.width;
    box.style.setProperty("--cut", `${range.value}%`);
  });
  return box;
}

function gain(card) {
  const shown = Number(fixed(card.gain)) || 0; // As it is read: a gain of 0.001 is no gain.
  const kind = shown > 0 ? "gain up" : shown < 0 ? "gain down" : "gain";
  return make("span", { className: kind, textContent: `${shown > 0 ? "+" : ""}${fixed(shown)} ${card.metric}` });
}

function facts(card) {
  const name = make("div", { className: "name" }, make("span", { textContent: card.name }));
  if (card.gain !== null) name.append(gain(card));
  const parts = [card.run, card.source];
  if (card.value !== null && card.before !== null && card.before !== undefined) {
    parts.push(`${card.metric} ${fixed(card.before)} → ${fixed(card.value)}`);
  } else if (card.value !== null) parts.push(`${card.metric} ${fixed(card.value)}`);
  if (card.area !== null && card.area !== undefined) parts.push(`foreground ${fixed(100 * card.area, 1)} %`);
  return make("div", { className: "facts" }, name, make("div", { className: "note", textContent: parts.filter(Boolean).join(" · ") }));
}

const orders = {
  worst: (a, b) => (a.order ?? 0) - (b.order ?? 0),
  best: (a, b) => (b.order ?? 0) - (a.order ?? 0),
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.run.localeCompare(b.run),
  area: (a, b) => (a.area ?? 0) - (b.area ?? 0),
};

function draw() {
  const chosen = (id) => document.getElementById(id).value;
  const [order, run, source, left, show, text] = ["order", "run", "source", "left", "show", "text"].map(chosen);
  const cards = data.cards
    .filter((card) => (!run || card.run === run) && (!source || card.source === source))
    .filter((card) => card.name.toLowerCase().includes(text.toLowerCase()))
    .sort(orders[order]);
  place.replaceChildren(...cards.map((card) => make("article", { className: "card" }, slider(card, left, show), facts(card))));
  document.getElementById("shown").textContent = `${cards.length} of ${data.cards.length} pictures`;
}

// Worst, middle and best images of one run, all runs beside each other.
function ranked(run, count) {
  const own = data.cards.filter((card) => card.run === run).sort(orders.worst);
  const middle = Math.max(0, Math.ceil((own.length - count) / 2));
  const parts = [["worst", own.slice(0, count)], ["middle", own.slice(middle, middle + count)], ["best", own.slice(-count).reverse()]];
  const seen = new Set();
  return parts.flatMap(([kind, cards]) => cards.filter((card) => !seen.has(card.image) && seen.add(card.image)).map((card) => [kind, card]));
}

function picture(key, title, ...below) {
  return make("td", {}, make("img", { src: data.pictures[key], alt: title }), ...below);
}

function line(kind, card, runs) {
  const cells = runs.map((run) => partner(card, run)).map((other) =>
    other ? picture(other.result, `${other.name}, ${other.run}`, ...(other.gain === null ? [] : [gain(other)])) : make("td", { textContent: "–" }));
  const name = make("td", {}, make("strong", { textContent: card.name }), make("span", { className: "detail", textContent: kind }));
  const real = card.real ? [picture(card.real, `${card.name}, real photo`)] : [];
  return make("tr", {}, name, picture(card.composite, `${card.name}, composite`), ...cells, ...real);
}

function compare() {
  const chosen = (id) => document.getElementById(id).value;
  const [run, text] = [chosen("rank"), chosen("names").toLowerCase()];
  const named = data.cards.filter((card) => card.run === run && text && card.name.toLowerCase().includes(text));
  const lines = text ? named.map((card) => ["", card]) : ranked(run, Number(chosen("each")));
  const sections = new Set(lines.map(([, card]) => card.image.split("/")[0]));
  const runs = [...new Set(data.cards.filter((card) => sections.has(card.image.split("/")[0])).map((card) => card.run))];
  const titles = ["image", "composite", ...runs, ...(lines.some(([, card]) => card.real) ? ["real photo"] : [])];
  const head = make("thead", {}, make("tr", {}, ...titles.map((title) => make("th", { textContent: title }))));
  const body = make("tbody", {}, ...lines.map(([kind, card]) => line(kind, card, runs)));
  document.getElementById("matrix").replaceChildren(make("table", { className: "matrix" }, head, body));
}

if (place) {
  for (const id of ["run", "source"]) {
    const select = document.getElementById(id);
    const values = [...new Set(data.cards.map((card) => card[id]))].filter(Boolean);
    select.append(...values.map((value) => make("option", { value, textContent: value })));
    if (values.length < 2) select.parentElement.hidden = true;
  }
  const runs = [...new Set(data.cards.map((card) => card.run))];
  for (const id of ["left", "rank"]) {
    document.getElementById(id).append(...runs.map((value) => make("option", { value, textContent: value })));
  }
  if (runs.length < 2) document.getElementById("left").parentElement.hidden = true;
  for (const id of ["rank", "each"]) document.getElementById(id).addEventListener("change", compare);
  document.getElementById("names").addEventListener("input", compare);
  compare();
  if (!data.cards.some((card) => card.real)) document.getElementById("show").parentElement.hidden = true;
  for (const id of ["order", "run", "source", "left", "show"]) document.getElementById(id).addEventListener("change", draw);
  document.getElementById("text").addEventListener("input", draw);
  draw();
}
