// The canvas: where the picture lies in it, and how picture, labels and cursor are drawn.

import { centre, footprint } from "./raster.js";

const LARGEST = 96;
const GRID_FROM = 14;

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.mask = document.createElement("canvas");
    this.preview = document.createElement("canvas");
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.fitted = true;
  }

  /** Takes a picture (an element to draw, and its size). */
  show(picture, width, height) {
    this.picture = picture;
    for (const layer of [this.mask, this.preview]) Object.assign(layer, { width, height });
    Object.assign(this, { width, height });
    if (this.fitted) this.fit();
  }

  /** Follows the size of the canvas on the page. */
  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.ratio = ratio;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    if (this.picture && this.fitted) this.fit();
  }

  /** The whole picture, in the middle; enlarged by a whole number of screen pixels, so that it stays crisp. */
  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    const room = Math.min((clientWidth - 16) / this.width, (clientHeight - 16) / this.height);
    const ratio = this.ratio || 1;
    this.scale = room * ratio >= 1 ? Math.floor(room * ratio) / ratio : room;
    this.x = Math.round((clientWidth - this.width * this.scale) / 2);
    this.y = Math.round((clientHeight - this.height * this.scale) / 2);
    this.fitted = true;
  }

  /** Zooms by a factor; the point (in CSS pixels of the canvas) stays where it is. */
  zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const smallest = 0.5 * Math.min(this.canvas.clientWidth / this.width, this.canvas.clientHeight / this.height);
    const scale = Math.min(LARGEST, Math.max(Math.min(1, smallest), this.scale * factor));
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
  }

  /** Moves the picture, keeping a part of it in sight. */
  move(dx, dy) {
    const keep = 40;
    const bound = (value, size, room) => Math.min(room - keep, Math.max(keep - size, value));
    this.x = bound(this.x + dx, this.width * this.scale, this.canvas.clientWidth);
    this.y = bound(this.y + dy, this.height * this.scale, this.canvas.clientHeight);
    this.fitted = false;
  }

  /** The point of the picture below a pointer. */
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left - this.x) / this.scale, (event.clientY - box.top - this.y) / this.scale];
  }

  /** Colours the labels; colours is a list of [r, g, b], what is beyond it stays clear. */
  paint(labels, colours) {
    paintLayer(this.mask, (data, pixels) => {
      for (let at = 0; at < labels.length; at += 1) {
        const colour = colours[labels[at]];
        if (!colour) continue;
        data[at] = packed(colour, pixels);
      }
    });
  }

  /** Colours the area that a click would fill; null for none. */
  paintPreview(area, colour) {
    this.previewed = area !== null;
    if (!area) return;
    paintLayer(this.preview, (data, pixels) => {
      const value = packed(colour, pixels);
      for (let at = 0; at < area.length; at += 1) if (area[at]) data[at] = value;
    });
  }

  /** Draws everything; cursor is {x, y, size, colour} or null, path a lasso's points. */
  draw({ opacity, cursor, path, closing }) {
    const { context, ratio, scale } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.picture) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = false;
    const box = [this.x, this.y, this.width * scale, this.height * scale];
    context.drawImage(this.picture, ...box);
    context.globalAlpha = opacity;
    context.drawImage(this.mask, ...box);
    context.globalAlpha = 0.75;
    if (this.previewed) context.drawImage(this.preview, ...box);
    context.globalAlpha = 1;
    if (scale >= GRID_FROM) this.grid();
    if (cursor) this.cursor(cursor);
    if (path?.length) this.path(path, closing);
  }

  grid() {
    const { context } = this;
    context.beginPath();
    for (let x = 0; x <= this.width; x += 1) this.line(x, 0, x, this.height);
    for (let y = 0; y <= this.height; y += 1) this.line(0, y, this.width, y);
    this.ink("rgb(127 127 127 / .28)", 1);
  }

  /** The outline of the very pixels that the brush would change. */
  cursor({ x, y, size }) {
    const offsets = footprint(size);
    const [cx, cy] = centre(size, x, y);
    const taken = new Set(offsets.map(String));
    this.context.beginPath();
    for (const [dx, dy] of offsets) {
      const [px, py] = [cx + dx, cy + dy];
      if (!taken.has(`${dx},${dy - 1}`)) this.line(px, py, px + 1, py);
      if (!taken.has(`${dx},${dy + 1}`)) this.line(px, py + 1, px + 1, py + 1);
      if (!taken.has(`${dx - 1},${dy}`)) this.line(px, py, px, py + 1);
      if (!taken.has(`${dx + 1},${dy}`)) this.line(px + 1, py, px + 1, py + 1);
    }
    this.ink("rgb(0 0 0 / .75)", 3);
    this.ink("#fff", 1.25);
  }

  path(points, closing) {
    const { context } = this;
    context.beginPath();
    points.forEach(([x, y], index) => {
      const place = this.place(x, y);
      if (index) context.lineTo(...place);
      else context.moveTo(...place);
    });
    if (closing) context.closePath();
    this.ink("rgb(0 0 0 / .75)", 3);
    context.setLineDash([6, 4]);
    this.ink("#fff", 1.5);
    context.setLineDash([]);
    const [x, y] = this.place(...points[0]);
    context.beginPath();
    context.arc(x, y, 4, 0, 7);
    context.fillStyle = "#fff";
    context.fill();
    this.ink("rgb(0 0 0 / .75)", 1.5);
  }

  place(x, y) {
    return [this.x + x * this.scale, this.y + y * this.scale];
  }

  line(ax, ay, bx, by) {
    this.context.moveTo(...this.place(ax, ay));
    this.context.lineTo(...this.place(bx, by));
  }

  ink(style, width) {
    Object.assign(this.context, { strokeStyle: style, lineWidth: width });
    this.context.stroke();
  }
}

function paintLayer(layer, paint) {
  const context = layer.getContext("2d");
  const pixels = context.createImageData(layer.width, layer.height);
  paint(new Uint32Array(pixels.data.buffer), LITTLE);
  context.putImageData(pixels, 0, 0);
}

const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function packed([red, green, blue], little) {
  const value = little ? (255 << 24) | (blue << 16) | (green << 8) | red : (red << 24) | (green << 16) | (blue << 8) | 255;
  return value >>> 0;
}
