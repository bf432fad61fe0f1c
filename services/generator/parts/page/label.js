// The labelling page: what the tools, keys and buttons do.

import { polygon, stroke } from "./raster.js";
import {
  canvas, choosePart, chooseTool, draw, endPath, listParts, preview, refresh, repaint, strip, view, where,
} from "./screen.js";
import { attempt, loadLabels, post, request, say } from "./server.js";
import { areaAt, at, brush, byId, state, UNLABELLED } from "./state.js";

const HISTORY_BYTES = 64 << 20;
const TOOLS = { b: "brush", e: "eraser", l: "lasso", w: "wand", g: "bucket" };
const pointers = new Map();

// ---- pictures

/** Saves what was changed; whatever is on its way is waited for. */
async function save() {
  await state.copying;
  while (state.saving) await state.saving.catch(() => undefined);
  if (!state.dirty) return;
  const { index, labels } = state;
  state.dirty = false;
  byId("save").textContent = "Saving …";
  const sent = labels.slice();
  state.saving = post(`labels/${index}`, "application/octet-stream", sent);
  try {
    await state.saving;
    state.set.labelled[index] = sent.some((label) => label !== UNLABELLED);
    say(`Picture ${index + 1} saved`);
  } catch (error) {
    state.dirty = true;
    throw error;
  } finally {
    state.saving = null;
    refresh();
  }
}

function decode(index) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`picture ${index + 1} cannot be read`));
    image.src = `images/${index}`;
  });
}

let opening = 0;
async function open(index) {
  if (index < 0 || index >= state.set.count) return;
  endPath();
  await save();
  opening += 1;
  const turn = opening;
  const [image, labels] = await Promise.all([decode(index), loadLabels(index)]);
  // What was drawn while the next picture was on its way belongs to this one.
  while (state.dirty) await save();
  if (turn !== opening) return;
  const { width, height } = state.set;
  const plain = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  plain.drawImage(image, 0, 0);
  state.pixels = plain.getImageData(0, 0, width, height).data;
  Object.assign(state, { index, labels, undo: [], redo: [], dirty: false });
  view.show(image, width, height);
  repaint();
  strip();
  refresh();
}

// ---- changes

function remember() {
  state.undo.push(state.labels.slice());
  const most = Math.max(20, Math.floor(HISTORY_BYTES / state.labels.length));
  if (state.undo.length > most) state.undo.shift();
  state.redo = [];
}

/** Makes a change that can be undone; change() edits the labels. */
function edit(change) {
  const before = state.labels.slice();
  change(state.labels);
  if (before.every((label, at) => label === state.labels[at])) return false;
  state.undo.push(before);
  state.redo = [];
  changed();
  return true;
}

function changed() {
  state.dirty = true;
  repaint();
  refresh();
}

function step(from, to) {
  if (!state[from].length) return;
  state[to].push(state.labels);
  state.labels = state[from].pop();
  changed();
}

function fillArea(area, value) {
  edit((labels) => area.forEach((inside, at) => { if (inside) labels[at] = value; }));
}

function closePath(value = state.path.value) {
  const points = state.path;
  endPath();
  const { width, height } = state.set;
  if (points.length > 2) edit((labels) => polygon(labels, width, height, points, value));
}

/** The label that a pointer or key sets: the right button and the eraser remove. */
const valueOf = (event) => (state.tool === "eraser" || event.button === 2 ? UNLABELLED : state.part);

function use(x, y, value) {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (state.tool === "wand" || state.tool === "bucket") {
    const area = areaAt(column, row);
    if (area) fillArea(area, value);
  } else if (state.tool === "lasso") {
    const [first] = state.path;
    if (first && state.path.length > 2 && Math.hypot(first[0] - x, first[1] - y) * view.scale < 9) closePath();
    else {
      state.path.push([x, y]);
      state.path.value = value;
    }
  } else {
    const { width, height } = state.set;
    edit((labels) => stroke(labels, width, height, [x, y], [x, y], brush(), value));
  }
  draw();
}

async function copyPrevious() {
  const { index } = state;
  if (index === 0) return;
  const loading = loadLabels(index - 1);
  // Saving waits for this.
  state.copying = loading.catch(() => undefined);
  const labels = await loading;
  if (index !== state.index) return;
  if (labels.every((label) => label === UNLABELLED)) say("The picture before has no labels", true);
  else edit((own) => own.set(labels));
}

// ---- pointers

function down(event) {
  canvas.focus({ preventScroll: true, focusVisible: false });
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  if (!state.labels) return;
  const [x, y] = view.point(event);
  if (pointers.size === 2) return cancelStroke();
  if (event.button === 1 || state.panning) return void (state.drag = [event.clientX, event.clientY]);
  if (event.altKey) return pick(Math.floor(x), Math.floor(y));
  const value = valueOf(event);
  if (state.tool === "brush" || state.tool === "eraser") {
    remember();
    state.stroke = { last: [x, y], value, changed: false };
    extend([x, y]);
  } else if (state.tool === "lasso") {
    state.stroke = { lasso: [[x, y]], value, from: [event.clientX, event.clientY] };
  } else use(x, y, value);
  return undefined;
}

function extend(point) {
  const { width, height } = state.set;
  const current = state.stroke;
  current.changed = stroke(state.labels, width, height, current.last, point, brush(), current.value) || current.changed;
  current.last = point;
  repaint();
}

function moved(event) {
  const before = pointers.get(event.pointerId);
  if (pointers.size === 2 && before) return pinch(event, before);
  if (before) pointers.set(event.pointerId, [event.clientX, event.clientY]);
  if (!state.labels) return undefined;
  if (state.drag) {
    view.move(event.clientX - state.drag[0], event.clientY - state.drag[1]);
    state.drag = [event.clientX, event.clientY];
    return draw();
  }
  const events = event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event];
  for (const each of events) {
    const point = view.point(each);
    if (state.stroke?.lasso) state.stroke.lasso.push(point);
    else if (state.stroke) extend(point);
  }
  const [x, y] = view.point(event);
  state.cursor = event.pointerType === "touch" ? null : { x, y };
  where();
  preview();
  return draw();
}

function up(event) {
  pointers.delete(event.pointerId);
  state.drag = null;
  const current = state.stroke;
  state.stroke = null;
  if (!current) return;
  if (current.lasso) {
    const far = Math.hypot(event.clientX - current.from[0], event.clientY - current.from[1]) > 4;
    const drawn = current.lasso.length > 4 && spread(current.lasso) * view.scale > 6;
    if ((far || drawn) && !state.path.length) {
      state.path = current.lasso;
      closePath(current.value);
    } else use(...current.lasso[0], current.value);
  } else if (current.changed) changed();
  else state.undo.pop();
}

const spread = (points) => Math.max(...points.map(([x, y]) => Math.hypot(x - points[0][0], y - points[0][1])));

function cancelStroke() {
  if (state.stroke && !state.stroke.lasso) {
    state.labels = state.undo.pop();
    repaint();
  }
  state.stroke = null;
}

/** Two fingers move and zoom. */
function pinch(event, before) {
  const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
  const now = [event.clientX, event.clientY];
  const box = canvas.getBoundingClientRect();
  const distance = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
  view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  const middle = [(now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top];
  if (distance(before) > 10) view.zoom(distance(now) / distance(before), ...middle);
  pointers.set(event.pointerId, now);
  refresh();
}

function pick(x, y) {
  const label = at(x, y);
  if (label !== undefined && label !== UNLABELLED) choosePart(label);
}

// ---- keys

function walk(dx, dy) {
  const { width, height } = state.set;
  const { x, y } = state.cursor || { x: width / 2, y: height / 2 };
  const bound = (value, size) => Math.min(size - 0.5, Math.max(0.5, Math.floor(value) + 0.5));
  state.cursor = { x: bound(x + dx, width), y: bound(y + dy, height) };
  preview();
  where();
  draw();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  "[": () => nudge(-1), "]": () => nudge(1), f: () => byId("fill").click(), c: () => byId("copy").click(),
  n: () => byId("next").click(), p: () => byId("previous").click(), s: () => attempt(save),
  0: () => byId("fit").click(), "+": () => byId("zoom-in").click(), "=": () => byId("zoom-in").click(),
  "-": () => byId("zoom-out").click(), "?": () => byId("help").showModal(), Escape: () => endPath(),
  Backspace: () => { state.path.pop(); draw(); },
};

function nudge(by) {
  const slider = byId(state.tool === "wand" ? "tolerance" : "size");
  slider.value = Number(slider.value) + (state.tool === "wand" ? 5 * by : by);
  slider.dispatchEvent(new Event("input"));
}

function key(event) {
  const writing = event.target.matches("input:not([type=range])");
  if (!state.labels || writing || byId("help").open) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    const undoing = { z: event.shiftKey ? ["redo", "undo"] : ["undo", "redo"], y: ["redo", "undo"] }[name];
    if (undoing) step(...undoing);
    else if (name === "s") attempt(save);
    else return;
    event.preventDefault();
    return;
  }
  if (event.altKey) return;
  const focused = document.activeElement === canvas;
  if (name in ARROWS && focused) walk(...ARROWS[name].map((by) => by * (event.shiftKey ? 8 : 1)));
  else if (name === "Enter" && state.path.length > 2 && event.target.tagName !== "BUTTON") closePath();
  else if (name === "Enter" && focused && state.cursor) use(state.cursor.x, state.cursor.y, valueOf({}));
  else if (name === " " && event.target.tagName !== "BUTTON") hold("panning", true);
  else if (name === "v") hold("peek", true);
  else if (/^[1-9]$/.test(name)) choosePart(Number(name) - 1);
  else if (name in TOOLS) chooseTool(TOOLS[name]);
  else if (name in KEYS) KEYS[name]();
  else return;
  event.preventDefault();
}

function hold(what, on) {
  state[what] = on;
  canvas.classList.toggle("moving", state.panning);
  draw();
}

// ---- the start

function listen() {
  const on = (id, action) => byId(id).addEventListener("click", () => attempt(action));
  on("previous", () => open(state.index - 1));
  on("next", () => open(state.index + 1));
  on("save", save);
  on("undo", () => step("undo", "redo"));
  on("redo", () => step("redo", "undo"));
  on("fit", () => { view.fit(); refresh(); });
  on("zoom-in", () => { view.zoom(1.25); refresh(); });
  on("zoom-out", () => { view.zoom(0.8); refresh(); });
  on("fill", () => edit((labels) => labels.forEach((label, i) => { if (label === UNLABELLED) labels[i] = state.part; })));
  on("copy", copyPrevious);
  on("clear", () => edit((labels) => labels.fill(UNLABELLED)));
  on("help-open", () => byId("help").showModal());
  byId("number").addEventListener("change", (event) => {
    const index = Math.min(state.set.count, Math.max(1, Number(event.target.value) || 1)) - 1;
    attempt(() => open(index)).finally(refresh);
  });
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => chooseTool(button.dataset.tool));
  }
  for (const [id, unit] of [["size", "px"], ["tolerance", ""], ["opacity", "%"]]) {
    const tell = () => { byId(`${id}-value`).textContent = `${byId(id).value} ${unit}`; preview(); draw(); };
    byId(id).addEventListener("input", tell);
    byId(`${id}-value`).textContent = `${byId(id).value} ${unit}`;
  }
  byId("strip").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) attempt(() => open(Number(button.dataset.index)));
  });
  byId("add").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(addPart);
  });
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); cancelStroke(); });
  canvas.addEventListener("pointerleave", () => { if (!state.stroke) { state.cursor = null; view.paintPreview(null); where(); draw(); } });
  canvas.addEventListener("dblclick", () => { if (state.path.length > 2) closePath(); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    view.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    refresh();
  }, { passive: false });
  document.addEventListener("keydown", key);
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") hold("panning", false);
    if (event.key.toLowerCase() === "v") hold("peek", false);
  });
  window.addEventListener("blur", () => { hold("panning", false); hold("peek", false); });
  window.addEventListener("beforeunload", (event) => { if (state.dirty) event.preventDefault(); });
  new ResizeObserver(() => { view.resize(); if (state.labels) refresh(); }).observe(canvas);
}

async function addPart() {
  const name = byId("new-part").value.trim().toLowerCase().replace(/\s+/g, "_");
  if (!name) return;
  const answer = await (await post("parts", "application/json", JSON.stringify({ name }))).json();
  Object.assign(state.set, { parts: answer.parts, colours: answer.colours });
  byId("new-part").value = "";
  listParts();
  choosePart(state.set.parts.length - 1);
}

async function start() {
  state.set = await (await request("set")).json();
  byId("folder").textContent = state.set.name;
  document.title = `Label parts: ${state.set.name}`;
  byId("size").max = Math.max(40, Math.ceil(Math.max(state.set.width, state.set.height) / 4));
  view.resize();
  listen();
  state.part = Math.min(1, state.set.parts.length - 1);
  const first = state.set.labelled.indexOf(false);
  await open(Math.max(0, first));
  listParts();
  chooseTool("brush");
  document.body.dataset.ready = "true";
}

attempt(start);
