// Pure functions on label maps: a map is a Uint8Array of width * height, row by row.

/** Pixels below a round brush, as offsets from the pixel at its centre: [[dx, dy], ...]. */
export function footprint(size) {
  const radius = size / 2;
  // The centre of an even brush lies between pixels.
  const shift = size % 2 ? 0 : 0.5;
  const reach = Math.ceil(radius);
  const found = [];
  for (let y = -reach; y <= reach; y += 1) {
    for (let x = -reach; x <= reach; x += 1) {
      if (Math.hypot(x + shift, y + shift) <= radius) found.push([x, y]);
    }
  }
  return found;
}

/** The pixel that a brush of this size is centred on, for a point in the picture. */
export function centre(size, x, y) {
  return size % 2 ? [Math.floor(x), Math.floor(y)] : [Math.round(x), Math.round(y)];
}

/** Draws a line with a brush; whether anything changed. */
export function stroke(map, width, height, from, to, size, value) {
  const offsets = footprint(size);
  const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
  let changed = false;
  for (let step = 0; step <= steps; step += 1) {
    const part = step / steps;
    const point = [from[0] + part * (to[0] - from[0]), from[1] + part * (to[1] - from[1])];
    const [cx, cy] = centre(size, ...point);
    for (const [dx, dy] of offsets) {
      const x = cx + dx;
      const y = cy + dy;
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      const at = y * width + x;
      changed ||= map[at] !== value;
      map[at] = value;
    }
  }
  return changed;
}

/** Fills the pixels whose centres lie in a polygon, by the even-odd rule. */
export function polygon(map, width, height, points, value) {
  const ys = points.map(([, y]) => y);
  const first = Math.max(0, Math.floor(Math.min(...ys)));
  const last = Math.min(height - 1, Math.ceil(Math.max(...ys)));
  for (let row = first; row <= last; row += 1) {
    const y = row + 0.5;
    const cuts = [];
    points.forEach(([ax, ay], index) => {
      const [bx, by] = points[(index + 1) % points.length];
      if (ay <= y !== by <= y) cuts.push(ax + ((y - ay) * (bx - ax)) / (by - ay));
    });
    cuts.sort((a, b) => a - b);
    for (let pair = 0; pair + 1 < cuts.length; pair += 2) {
      const from = Math.max(0, Math.ceil(cuts[pair] - 0.5));
      const to = Math.min(width, Math.ceil(cuts[pair + 1] - 0.5));
      if (to > from) map.fill(value, row * width + from, row * width + to);
    }
  }
}

/** Pixels connected with the start for which same(index) holds: a Uint8Array of 0 and 1. */
export function region(width, height, x, y, same) {
  const found = new Uint8Array(width * height);
  const stack = [y * width + x];
  found[stack[0]] = 1;
  const visit = (at) => {
    if (!found[at] && same(at)) {
      found[at] = 1;
      stack.push(at);
    }
  };
  while (stack.length) {
    const at = stack.pop();
    const column = at % width;
    if (column > 0) visit(at - 1);
    if (column < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at < width * (height - 1)) visit(at + width);
  }
  return found;
}

/** The area of one colour around a pixel; pixels is RGBA, tolerance a distance in RGB. */
export function sameColour(pixels, width, height, x, y, tolerance) {
  const start = 4 * (y * width + x);
  const limit = tolerance * tolerance;
  return region(width, height, x, y, (at) => {
    let sum = 0;
    for (let c = 0; c < 3; c += 1) sum += (pixels[4 * at + c] - pixels[start + c]) ** 2;
    return sum <= limit;
  });
}

/** The area of one label around a pixel. */
export function sameLabel(map, width, height, x, y) {
  const label = map[y * width + x];
  return region(width, height, x, y, (at) => map[at] === label);
}
