// The map of all units: drawn on a canvas, walked by mouse, touch or arrow keys.
(() => {
  "use strict";
  const { units, parts, make } = Q;
  const canvas = document.getElementById("map-canvas");
  const tip = document.getElementById("map-tip");
  const context = canvas.getContext("2d");
  const points = [];
  for (let row = 0; row < Q.count; row++) {
    if (units.x[row] === null || units.y[row] === null) continue;
    const main = units.main[row];
    const part = units.part[row];
    const size = main >= 0 && Q.known(row) ? Math.abs(Q.standardised(row, main)) : 0;
    points.push({ row, x: units.x[row], y: units.y[row], part, size, sure: main >= 0 && Q.q(row, main).found });
  }
  if (!points.length) {
    document.getElementById("map").remove();
    document.querySelector('.sections a[href="#map"]')?.remove();
    return;
  }
  const extent = (key) => [Math.min(...points.map((p) => p[key])), Math.max(...points.map((p) => p[key]))];
  const [[x0, x1], [y0, y1]] = [extent("x"), extent("y")];
  const largest = Math.max(1e-9, ...points.map((p) => p.size));
  const base = points.length > 1500 ? 2.4 : points.length > 300 ? 3.2 : 4.2;
  for (const p of points) p.radius = base * (0.8 + 1.9 * Math.sqrt(p.size / largest));
  // What is small lies above what is large; what is not sure, below all.
  points.sort((a, b) => a.sure - b.sure || b.size - a.size);
  const off = new Set();
  const NOTHING = { label: "nothing changed", colour: "#9aa0a8" };
  let zoom = 1, centre = [0.5, 0.5], focus = null, box = { width: 1, height: 1 };

  const inner = (p) => [(p.x - x0) / (x1 - x0 || 1), 1 - (p.y - y0) / (y1 - y0 || 1)];
  const screen = (p) => {
    const [u, v] = inner(p);
    const room = 28;
    return [room + (box.width - 2 * room) * ((u - centre[0]) * zoom + 0.5), room + (box.height - 2 * room) * ((v - centre[1]) * zoom + 0.5)];
  };
  const visible = () => points.filter((p) => !off.has(p.part));
  const draw = () => {
    const ratio = devicePixelRatio || 1;
    box = canvas.getBoundingClientRect();
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const paper = getComputedStyle(canvas).getPropertyValue("--card").trim();
    for (const p of visible()) {
      const [x, y] = screen(p);
      const colour = (parts[p.part] ?? NOTHING).colour;
      const radius = p.radius * Math.min(2, Math.sqrt(zoom));
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.globalAlpha = p.sure ? 0.95 : 0.5;
      if (units.trusted[p.row]) {
        context.fillStyle = colour;
        context.fill();
        context.strokeStyle = paper;
        context.lineWidth = 0.8;
      } else {
        context.strokeStyle = colour;
        context.lineWidth = 1.3;
      }
      context.stroke();
    }
    context.globalAlpha = 1;
    if (focus) {
      const [x, y] = screen(focus);
      context.beginPath();
      context.arc(x, y, focus.radius * Math.min(2, Math.sqrt(zoom)) + 4, 0, 2 * Math.PI);
      context.strokeStyle = getComputedStyle(canvas).getPropertyValue("--ink").trim();
      context.lineWidth = 2;
      context.stroke();
    }
  };
  const point = (p) => {
    focus = p;
    draw();
    tip.hidden = !p;
    if (!p) return;
    const main = units.main[p.row];
    const strips = units.strips[p.row];
    tip.replaceChildren(
      make("b", {}, Q.title(p.row)),
      make("span", {}, main >= 0 ? ` ${Q.deed(p.row, main)}` : " nothing found"),
      ...(strips.length ? [Q.sprite(strips[0], p.part, Q.title(p.row))] : []),
      make("small", {}, `trust ${Q.trustWord(units.trust[p.row])}${units.confirmed[p.row] ? "" : " · screened only"}`));
    const [x, y] = screen(p);
    tip.dataset.x = x.toFixed(1);
    tip.dataset.y = y.toFixed(1);
    const wide = tip.offsetWidth, high = tip.offsetHeight;
    tip.style.left = `${Math.max(4, Math.min(box.width - wide - 4, x - wide / 2))}px`;
    tip.style.top = `${y + 18 + high < box.height ? y + 16 : Math.max(4, y - high - 16)}px`;
  };
  const nearest = (x, y, reach) => {
    let found = null, best = Infinity;
    for (const p of visible()) {
      const [a, b] = screen(p);
      const distance = Math.hypot(a - x, b - y);
      if (distance < best && distance < p.radius + reach) [best, found] = [distance, p];
    }
    return found;
  };
  const scale = (factor, at = [box.width / 2, box.height / 2]) => {
    if (!factor) [zoom, centre] = [1, [0.5, 0.5]];
    else {
      const next = Math.max(1, Math.min(40, zoom * factor));
      const way = [(at[0] / box.width - 0.5) * (1 / zoom - 1 / next), (at[1] / box.height - 0.5) * (1 / zoom - 1 / next)];
      centre = [0, 1].map((k) => Math.max(0, Math.min(1, centre[k] + way[k])));
      zoom = next;
    }
    point(focus);
  };
  const open = (p) => { location.hash = units.anchor[p.row]; };

  let drag = null;
  const at = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  canvas.addEventListener("pointerdown", (event) => { drag = { from: at(event), centre: [...centre], moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (drag && event.buttons) {
      const [dx, dy] = [x - drag.from[0], y - drag.from[1]];
      if (Math.hypot(dx, dy) > 5) drag.moved = true;
      if (drag.moved && zoom > 1) {
        centre = [drag.centre[0] - dx / box.width / zoom, drag.centre[1] - dy / box.height / zoom].map((v) => Math.max(0, Math.min(1, v)));
        draw();
        return;
      }
    }
    const hit = nearest(x, y, 12);
    canvas.style.cursor = hit ? "pointer" : zoom > 1 ? "grab" : "default";
    if (hit !== focus) point(hit);
  });
  canvas.addEventListener("pointerup", (event) => {
    const hit = drag && !drag.moved ? nearest(...at(event), event.pointerType === "touch" ? 20 : 12) : null;
    drag = null;
    // The first touch says what it is, the second opens it; a mouse has seen it before.
    if (hit && (event.pointerType !== "touch" || hit === focus)) open(hit);
    else if (hit) point(hit);
  });
  canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) point(null); });
  canvas.addEventListener("blur", () => point(null));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    scale(event.deltaY < 0 ? 1.25 : 0.8, at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      event.preventDefault();
      const from = focus ? screen(focus) : [box.width / 2, box.height / 2];
      let found = focus ? null : nearest(...from, Infinity), best = Infinity;
      for (const p of focus ? visible() : []) {
        const [x, y] = screen(p);
        const [dx, dy] = [x - from[0], y - from[1]];
        const ahead = dx * way[0] + dy * way[1];
        const aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        if (p !== focus && ahead > 0.5 && ahead + 2.5 * aside < best) [best, found] = [ahead + 2.5 * aside, p];
      }
      if (found) point(found);
    } else if (event.key === "Enter" && focus) open(focus);
    else if (event.key === "+" || event.key === "=") scale(1.6);
    else if (event.key === "-") scale(0.625);
    else if (event.key === "0") scale(0);
  });
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => scale(Number(button.dataset.zoom)));
  const legend = document.querySelector("[data-map-legend]");
  for (const part of [...parts.keys(), -1]) {
    const many = points.filter((p) => p.part === part).length;
    if (!many) continue;
    const { label, colour } = parts[part] ?? NOTHING;
    const button = make("button", { type: "button", "aria-pressed": "true", hue: colour, "data-part": part }, make("i", { class: "swatch" }), label, make("em", {}, String(many)));
    button.addEventListener("click", () => {
      if (off.has(part)) off.delete(part); else off.add(part);
      button.setAttribute("aria-pressed", String(!off.has(part)));
      if (focus && off.has(focus.part)) point(null); else draw();
    });
    legend.append(button);
  }
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
