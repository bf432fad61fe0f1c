// Masks over film strips: label maps are read once and drawn as outlines at the size of the screen.
const Masks = (() => {
  "use strict";
  const step = Math.max(1, Math.floor(254 / Math.max(1, Q.parts.length - 1)));
  const maps = new Map();
  let mode = "outline";

  const load = (number) => {
    if (!maps.has(number)) {
      const source = Q.data.sprites[number].labels;
      maps.set(number, source ? read(source) : Promise.resolve(null));
    }
    return maps.get(number);
  };
  const read = async (source) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const labels = Int16Array.from({ length: canvas.width * canvas.height }, (_, k) => (pixels[4 * k] === 255 ? -1 : Math.round(pixels[4 * k] / step)));
    return { labels, width: canvas.width, height: canvas.height };
  };
  // The border of a part as one path; frames of a strip do not touch each other.
  const border = (map, part, frame) => {
    const { labels, width, height } = map;
    const path = new Path2D();
    const inside = (x, y, from) => x >= 0 && y >= 0 && x < width && y < height && Math.floor(x / frame) === Math.floor(from / frame) && labels[y * width + x] === part;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (labels[y * width + x] !== part) continue;
        if (!inside(x, y - 1, x)) { path.moveTo(x, y); path.lineTo(x + 1, y); }
        if (!inside(x, y + 1, x)) { path.moveTo(x, y + 1); path.lineTo(x + 1, y + 1); }
        if (!inside(x - 1, y, x)) { path.moveTo(x, y); path.lineTo(x, y + 1); }
        if (!inside(x + 1, y, x)) { path.moveTo(x + 1, y); path.lineTo(x + 1, y + 1); }
      }
    }
    return path;
  };
  const area = (map, wanted) => {
    const path = new Path2D();
    for (let y = 0; y < map.height; y++) {
      for (let x = 0, from = -1; x <= map.width; x++) {
        const hit = x < map.width && wanted(map.labels[y * map.width + x]);
        if (hit && from < 0) from = x;
        if (!hit && from >= 0) { path.rect(from, y, x - from, 1); from = -1; }
      }
    }
    return path;
  };
  const paint = async (node) => {
    const map = mode === "off" ? null : await load(Number(node.dataset.sprite));
    let canvas = node.querySelector("canvas");
    const part = Number(node.dataset.part);
    const shown = mode === "all" || part < Q.parts.length - 1;
    if (!map || mode === "off" || !shown) {
      canvas?.remove();
      return;
    }
    const box = node.getBoundingClientRect();
    const ratio = Math.min(2, devicePixelRatio || 1);
    if (!canvas) node.append(canvas = Q.make("canvas", { "aria-hidden": "true" }));
    canvas.width = Math.max(1, Math.round(box.width * ratio));
    canvas.height = Math.max(1, Math.round(box.height * ratio));
    canvas.dataset.mode = mode;
    const context = canvas.getContext("2d");
    const zoom = canvas.width / map.width;
    context.scale(zoom, canvas.height / map.height);
    const frame = map.width / Q.data.sprites[Number(node.dataset.sprite)].n;
    const outline = (k) => {
      const path = border(map, k, frame);
      context.lineCap = "round";
      context.lineWidth = (3.6 * ratio) / zoom;
      context.strokeStyle = "rgba(255,255,255,.75)";
      context.stroke(path);
      context.lineWidth = (1.9 * ratio) / zoom;
      context.strokeStyle = Q.parts[k].colour;
      context.stroke(path);
    };
    if (mode === "all") {
      context.globalAlpha = 0.62;
      Q.parts.slice(0, -1).forEach((p, k) => {
        context.fillStyle = p.colour;
        context.fill(area(map, (label) => label === k));
      });
    } else if (mode === "alone") {
      context.fillStyle = getComputedStyle(document.body).backgroundColor;
      context.globalAlpha = 0.86;
      context.fill(area(map, (label) => label !== part));
    } else outline(part);
  };
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { seen.add(target); paint(target); } else seen.delete(target);
    }
  }, { rootMargin: "200px" });
  const watched = new WeakSet();
  const watch = (root) => {
    for (const node of root.querySelectorAll(".sprite")) {
      if (!watched.has(node)) { watched.add(node); watcher.observe(node); }
    }
  };
  const repaint = () => {
    for (const node of seen) if (node.isConnected) paint(node); else seen.delete(node);
  };
  const choose = (wanted) => {
    mode = wanted;
    for (const button of document.querySelectorAll("[data-mask]")) button.setAttribute("aria-pressed", String(button.dataset.mask === mode));
    repaint();
  };
  for (const button of document.querySelectorAll("[data-mask]")) button.addEventListener("click", () => choose(button.dataset.mask));
  addEventListener("resize", () => requestAnimationFrame(repaint));
  watch(document);
  return { watch, repaint };
})();
