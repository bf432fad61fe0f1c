// What is on the page, and what can be read from it.

import { sameColour, sameLabel } from "./raster.js";

export const UNLABELLED = 255;

export const byId = (id) => document.getElementById(id);

export const state = {
  set: null, index: 0, labels: null, pixels: null, part: 0, tool: "brush",
  undo: [], redo: [], dirty: false, saving: null, copying: null, cursor: null, path: [], stroke: null,
  peek: false, panning: false,
};

/** The size of the brush, in pixels of the picture. */
export const brush = () => Number(byId("size").value);

/** The label of a pixel; undefined outside the picture. */
export const at = (x, y) =>
  x >= 0 && y >= 0 && x < state.set.width && y < state.set.height ? state.labels[y * state.set.width + x] : undefined;

/** What the wand or the bucket would fill from a pixel; null outside the picture. */
export function areaAt(x, y) {
  const { width, height } = state.set;
  if (x < 0 || y < 0 || x >= width || y >= height) return null;
  return state.tool === "wand"
    ? sameColour(state.pixels, width, height, x, y, Number(byId("tolerance").value))
    : sameLabel(state.labels, width, height, x, y);
}
