// What is shown: the canvas, the parts, the strip of pictures and all that follows the state.

import { at, areaAt, brush, byId, state, UNLABELLED } from "./state.js";
import { View } from "./view.js";

const LIVE_PIXELS = 512 * 512;
const NEIGHBOURS = 30;

export const canvas = byId("canvas");
export const view = new View(canvas);

let pending = false;
export function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    const brushes = state.tool === "brush" || state.tool === "eraser";
    const cursor = state.cursor && { ...state.cursor, size: brushes ? brush() : 1 };
    const path = state.stroke?.lasso && !state.path.length ? state.stroke.lasso : [...state.path];
    if (state.path.length && state.cursor) path.push([state.cursor.x, state.cursor.y]);
    view.draw({ opacity: state.peek ? 0 : byId("opacity").value / 100, cursor, path, closing: Boolean(state.stroke) });
  });
}

export function repaint() {
  view.paint(state.labels, state.set.colours);
  view.paintPreview(null);
  draw();
}

/** Shows what a click of the wand or the bucket would fill. */
export function preview() {
  const fills = state.tool === "wand" || state.tool === "bucket";
  if (!fills || !state.cursor || state.labels.length > LIVE_PIXELS) return view.paintPreview(null);
  const area = areaAt(Math.floor(state.cursor.x), Math.floor(state.cursor.y));
  return view.paintPreview(area, state.set.colours[state.part]);
}

export function where() {
  const label = state.cursor && at(Math.floor(state.cursor.x), Math.floor(state.cursor.y));
  if (label === undefined || label === null) return void (byId("where").textContent = "");
  const name = label === UNLABELLED ? "not labelled" : state.set.parts[label];
  byId("where").textContent = `${Math.floor(state.cursor.x)}, ${Math.floor(state.cursor.y)}: ${name}`;
  return undefined;
}

export function refresh() {
  const { set, index } = state;
  const done = set.labelled.filter(Boolean).length;
  byId("labelled").textContent = `labelled ${done} of ${set.count}`;
  Object.assign(byId("progress"), { max: set.count, value: done });
  byId("number").value = index + 1;
  byId("count").textContent = `of ${set.count}`;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === set.count - 1;
  byId("copy").disabled = index === 0;
  byId("undo").disabled = !state.undo.length;
  byId("redo").disabled = !state.redo.length;
  byId("save").textContent = !state.dirty && set.labelled[index] ? "Saved" : "Save";
  byId("save").disabled = !state.dirty;
  byId("zoom").textContent = `${view.scale >= 1 ? Math.round(view.scale * 10) / 10 : view.scale.toFixed(2)}×`;
  canvas.setAttribute("aria-label", `Picture ${index + 1} of ${set.count}, tool ${state.tool}, part ${set.parts[state.part]}`);
  for (const button of document.querySelectorAll("#strip button")) {
    button.classList.toggle("done", set.labelled[Number(button.dataset.index)]);
  }
  const counts = new Array(set.parts.length).fill(0);
  state.labels?.forEach((label) => { counts[label] += 1; });
  document.querySelectorAll("#parts em").forEach((cell, part) => { cell.textContent = share(counts[part], set.width * set.height); });
  where();
  draw();
}

const share = (count, all) => (count ? `${count * 100 < all ? "< 1" : Math.round((100 * count) / all)} %` : "");

export function listParts() {
  byId("parts").replaceChildren(...state.set.parts.map((name, part) => {
    const button = document.createElement("button");
    button.type = "button";
    const [swatch, text, pixels] = ["i", "b", "em"].map((tag) => document.createElement(tag));
    swatch.style.background = `rgb(${state.set.colours[part].join(" ")})`;
    text.textContent = name;
    button.append(swatch, text, pixels);
    if (part < 9) {
      const key = document.createElement("kbd");
      key.textContent = part + 1;
      button.append(key);
      button.setAttribute("aria-keyshortcuts", part + 1);
    }
    button.addEventListener("click", () => choosePart(part));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  choosePart(state.part);
}

export function choosePart(part) {
  if (part >= state.set.parts.length) return;
  state.part = part;
  document.querySelectorAll("#parts button").forEach((button, i) => button.setAttribute("aria-pressed", i === part));
  if (state.tool === "eraser") chooseTool("brush");
  preview();
  refresh();
}

export function chooseTool(tool) {
  endPath();
  state.tool = tool;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }
  for (const item of document.querySelectorAll("[data-for]")) item.hidden = !item.dataset.for.split(" ").includes(tool);
  preview();
  refresh();
}

export function strip() {
  const first = Math.max(0, Math.min(state.index - NEIGHBOURS, state.set.count - 2 * NEIGHBOURS - 1));
  const last = Math.min(state.set.count, first + 2 * NEIGHBOURS + 1);
  if (byId("strip").dataset.first !== String(first)) {
    byId("strip").dataset.first = first;
    byId("strip").replaceChildren(...Array.from({ length: last - first }, (_, i) => thumbnail(first + i)));
  }
  for (const button of document.querySelectorAll("#strip button")) {
    const current = Number(button.dataset.index) === state.index;
    button.setAttribute("aria-current", current);
    // Only sideways: on a phone the page itself must not jump.
    if (current) byId("strip").scrollLeft = button.offsetLeft - byId("strip").clientWidth / 2 + button.clientWidth / 2;
  }
}

function thumbnail(index) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.index = index;
  button.setAttribute("aria-label", `Picture ${index + 1}`);
  const image = new Image();
  Object.assign(image, { loading: "lazy", alt: "", src: `images/${index}` });
  button.append(image);
  return button;
}

/** Drops a lasso that is not closed. */
export function endPath() {
  state.path = [];
  draw();
}
