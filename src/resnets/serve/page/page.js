// The page of `resnets serve`: images in, answers out. It talks to the server that it came from and to no other.

import { csv, reader } from "./answers.js";
import { Camera } from "./camera.js";
import { Card, Drawing } from "./card.js";
import { element, make } from "./elements.js";
import { describe } from "./model_card.js";
import { describeModel, predict, useToken } from "./server.js";
import { upright } from "./upright.js";

const AT_ONCE = 4; // requests
const FEW = 4; // images, below which the table is near
const status = (text) => { element("status").textContent = text; };

let model, read;
let items = []; // {file, name, url, answer, error, again, card, row}, the last group that was added first
const waiting = [];
let working = 0;
let early = []; // files that came before the model was known

async function start() {
  try {
    await choose();
  } catch (error) {
    element("access").hidden = error.status !== 401;
    const isFirst = error.status === 401 && !element("token").value;
    return status(isFirst ? "" : error.status === 401 ? "This is not the token of the server." : error.message);
  }
  status("");
  element("access").hidden = true;
  listen();
  add(early);
  early = [];
}

// The model

async function choose(name) {
  model = await describeModel(name);
  read = reader(model.task);
  describe(model);
  if (camera.timer) watch(true);
  for (const item of items) {
    const before = item.card.element;
    item.answer = null; // it is one of another task, perhaps
    item.card = cardOf(item);
    before.replaceWith(item.card.element);
    ask(item);
  }
}

// Images

function cardOf(item) {
  return new Card(item, model, read, { onRemove: () => remove(item), onAgain: () => ask(item) });
}

function add(files) {
  if (!model) {
    early.push(...files);
    return;
  }
  const added = [...files].map((file) => ({ file, name: file.name, url: URL.createObjectURL(file) }));
  for (const item of added) {
    item.card = cardOf(item);
    item.row = make("tr", {}, make("td", { textContent: item.name }), make("td"));
  }
  items = [...added, ...items];
  element("answers").prepend(...added.map(({ card }) => card.element));
  element("rows").prepend(...added.map(({ row }) => row));
  added.forEach(ask);
  added.forEach(turn);
}

async function turn(item) {
  const shown = await upright(item.file);
  if (shown === item.file || item.removed) return;
  URL.revokeObjectURL(item.url);
  item.url = URL.createObjectURL(shown);
  item.card.image.src = item.url;
}

function ask(item) {
  Object.assign(item, { answer: null, error: "", again: false });
  update(item);
  waiting.push(item);
  if (working < AT_ONCE) work();
}

async function work() {
  working += 1;
  for (let item; (item = waiting.shift());) {
    const asked = model;
    let found;
    try {
      found = { answer: await predict(item.file, { model: asked.name }) };
    } catch ({ message, again }) {
      found = { error: message, again };
    }
    if (asked !== model) continue; // another model was chosen, and the image waits for its answer
    Object.assign(item, found);
    update(item);
  }
  working -= 1;
}

function words({ answer, error }) {
  return error || (answer ? read.sentence(answer) : "…");
}

function update(item) {
  if (item.removed) return;
  item.card.update();
  item.row.lastChild.textContent = words(item);
  item.row.lastChild.className = item.error ? "wrong" : "";
  report();
}

function report() {
  element("all").hidden = !items.length;
  element("jump").hidden = items.length < FEW;
  const done = items.filter(({ answer, error }) => answer || error);
  const failed = done.filter(({ error }) => error).length;
  if (done.length < items.length) status(`${done.length} of ${items.length} images answered …`);
  else if (items.length === 1) status(`${items[0].name}: ${words(items[0])}`);
  else status(items.length ? `${items.length} images answered${failed ? `, ${failed} of them with an error` : ""}.` : "");
}

function remove(item) {
  item.removed = true;
  items = items.filter((each) => each !== item);
  item.card.element.remove();
  item.row.remove();
  URL.revokeObjectURL(item.url);
  report();
  element("files").focus();
}

function download() {
  const url = URL.createObjectURL(new Blob([csv(items, read)], { type: "text/csv" }));
  make("a", { href: url, download: "predictions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Camera

const camera = new Camera(element("video"));
let taken = 0; // images of the camera

async function openCamera() {
  if (!element("camera").hidden) return closeCamera();
  try {
    await camera.open();
  } catch (error) {
    return status(error.message);
  }
  element("camera").hidden = false;
  element("open-camera").setAttribute("aria-expanded", true);
  element("still").focus();
}

function closeCamera() {
  camera.close();
  watch(false);
  element("camera").hidden = true;
  element("open-camera").setAttribute("aria-expanded", false);
  element("open-camera").focus();
}

function watch(on) {
  element("watch").setAttribute("aria-pressed", on);
  const drawing = new Drawing(element("video").parentElement, element("over"), model);
  camera.unwatch();
  if (on) return camera.watch((image) => look(image, drawing));
  drawing.clear();
  element("seen").replaceChildren();
}

async function look(image, drawing) {
  let shown;
  try {
    const answer = await predict(image, { model: model.name });
    const sentence = make("p", { className: "sentence", textContent: read.sentence(answer) });
    shown = [sentence, ...drawing.show(answer, read.bars(answer))];
  } catch (error) {
    drawing.clear();
    shown = [make("p", { className: "wrong", textContent: error.message })];
  }
  if (camera.timer) element("seen").replaceChildren(...shown);
  else drawing.clear();
}

// Everything that a person can do

// Files may come before the model is known, and a browser opens in place of the page what is dropped on one that does not listen.
element("files").onchange = ({ target }) => {
  add(target.files);
  target.value = "";
};
document.addEventListener("paste", ({ clipboardData }) => add(clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  add(event.dataTransfer.files);
});

function listen() {
  element("open-camera").onclick = openCamera;
  element("close-camera").onclick = closeCamera;
  element("still").onclick = async () => add([await camera.image(`camera ${(taken += 1)}.jpg`)]);
  element("watch").onclick = () => watch(!camera.timer);
  element("models").onchange = ({ target }) => choose(target.value).catch((error) => status(error.message));
  element("csv").onclick = download;
  element("clear").onclick = () => [...items].forEach(remove);
}

element("access").onsubmit = (event) => {
  event.preventDefault();
  useToken(element("token").value);
  start();
};
for (const button of document.querySelectorAll("[data-copies]")) {
  button.onclick = async () => {
    const text = element(button.dataset.copies);
    getSelection().selectAllChildren(text); // browsers give the clipboard to pages on localhost or https only
    await navigator.clipboard?.writeText(text.textContent);
    button.textContent = navigator.clipboard ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
}
start();
