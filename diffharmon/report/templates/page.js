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

function slider(card, show) {
  const after = show === "real" && card.real ? "real" : "result";
  const under = make("img", { src: data.pictures[card.composite], alt: `${card.name}, composite`, loading: "lazy" });
  const over = make("img", { src: data.pictures[card[after]], alt: `${card.name}, ${after}`, className: "over", loading: "lazy" });
  const range = make("input", { type: "range", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", `${card.name}: composite on the left, ${after} on the right`);
  const box = make("div", { className: "slider" }, under, over,
    make("span", { className: "tag left", textContent: "composite" }),
    make("span", { className: "tag right", textContent: after === "real" ? "real photo" : "result" }), range);
  range.addEventListener("input", () => box.style.setProperty("--cut", `${range.value}%`));
  box.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const frame = box.getBoundingClientRect();
    range.value = (100 * (event.clientX - frame.left)) / frame.width;
    box.style.setProperty("--cut", `${range.value}%`);
  });
  return box;
}

function facts(card) {
  const name = make("div", { className: "name" }, make("span", { textContent: card.name }));
  if (card.gain !== null) {
    const shown = Number(fixed(card.gain)) || 0; // As it is read: a gain of 0.001 is no gain.
    const kind = shown > 0 ? "gain up" : shown < 0 ? "gain down" : "gain";
    name.append(make("span", { className: kind, textContent: `${shown > 0 ? "+" : ""}${fixed(shown)} ${card.metric}` }));
  }
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
  const [order, run, source, show, text] = ["order", "run", "source", "show", "text"].map(chosen);
  const cards = data.cards
    .filter((card) => (!run || card.run === run) && (!source || card.source === source))
    .filter((card) => card.name.toLowerCase().includes(text.toLowerCase()))
    .sort(orders[order]);
  place.replaceChildren(...cards.map((card) => make("article", { className: "card" }, slider(card, show), facts(card))));
  document.getElementById("shown").textContent = `${cards.length} of ${data.cards.length} pictures`;
}

if (place) {
  for (const id of ["run", "source"]) {
    const select = document.getElementById(id);
    const values = [...new Set(data.cards.map((card) => card[id]))].filter(Boolean);
    select.append(...values.map((value) => make("option", { value, textContent: value })));
    if (values.length < 2) select.parentElement.hidden = true;
  }
  if (!data.cards.some((card) => card.real)) document.getElementById("show").parentElement.hidden = true;
  for (const id of ["order", "run", "source", "show"]) document.getElementById(id).addEventListener("change", draw);
  document.getElementById("text").addEventListener("input", draw);
  draw();
}
