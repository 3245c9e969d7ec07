"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector) => document.querySelector(selector);
const [left, right] = document.querySelectorAll(".pair img");
const answers = [];
let trials = [];
let shown = 0;

function below(count) {
  return crypto.getRandomValues(new Uint32Array(1))[0] % count;
}

function shuffle(list) {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = below(last + 1);
    [list[last], list[other]] = [list[other], list[last]];
  }
  return list;
}

// Every pair of runs comes about equally often: each round through the pairs takes another image.
function draw() {
  const turns = new Map(data.pairs.map((pair) => [pair, shuffle(data.images.map((_, image) => image))]));
  const asked = [];
  while (asked.length < data.trials) {
    for (const pair of shuffle([...data.pairs])) {
      const image = turns.get(pair).pop();
      if (image !== undefined && asked.length < data.trials) asked.push({ image, runs: pair, catch: "" });
    }
  }
  shuffle(asked);
  for (let number = 0; number < data.catch; number += 1) {
    const run = below(data.runs.length);
    asked.splice(below(asked.length + 1), 0, { image: below(data.images.length), runs: [run, run], catch: "left" });
  }
  for (const trial of asked) {
    trial.keys = trial.catch ? [`${trial.image}/${trial.runs[0]}`, `${trial.image}/spoiled`] : trial.runs.map((run) => `${trial.image}/${run}`);
    if (below(2)) {
      trial.runs = [...trial.runs].reverse();
      trial.keys.reverse();
      if (trial.catch) trial.catch = "right";
    }
  }
  return asked;
}

function show() {
  const trial = trials[answers.length];
  find("#undo").disabled = answers.length === 0;
  if (trial === undefined) {
    find("#trial").hidden = true;
    find("#end").hidden = false;
    find("#save").focus();
    return;
  }
  find("#place").textContent = `${answers.length + 1} of ${trials.length}`;
  find("#progress").max = trials.length;
  find("#progress").value = answers.length;
  find("#context img").src = data.pictures[`${trial.image}/composite`];
  [left.src, right.src] = trial.keys.map((key) => data.pictures[key]);
  document.activeElement.blur();
  window.scrollTo(0, 0);
  shown = performance.now();
}

function choose(choice) {
  const trial = trials[answers.length];
  if (trial === undefined || find("#trial").hidden) return;
  const [first, second] = trial.runs.map((run) => data.runs[run]);
  const seconds = Math.round((performance.now() - shown) / 100) / 10;
  answers.push({ image: data.images[trial.image], left: first, right: second, choice, axis: data.axis, catch: trial.catch, seconds });
  show();
}

function save() {
  const content = JSON.stringify({ format: data.format, judge: "people", answers }, null, 1);
  const link = document.createElement("a");
  const mark = [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = `answers-${mark}.json`;
  link.click();
  find("#saved").textContent = `Saved as ${link.download}, where your browser puts downloads.`;
}

trials = draw();
find("#count").textContent = String(trials.length);
find("#begin").addEventListener("click", () => {
  find("#start").hidden = true;
  find("#trial").hidden = false;
  show();
});
find("#undo").addEventListener("click", () => {
  answers.pop();
  show();
});
find("#save").addEventListener("click", save);
for (const button of document.querySelectorAll(".choice")) button.addEventListener("click", () => choose(button.dataset.choice));
document.addEventListener("keydown", (event) => {
  const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
  if (choice && !event.repeat && !find("#trial").hidden) {
    event.preventDefault();
    choose(choice);
  }
});
window.addEventListener("beforeunload", (event) => {
  if (answers.length && !find("#saved").textContent) event.preventDefault();
});
