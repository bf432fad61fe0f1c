// Effects of one unit: a dot with its interval in each row, in standard deviations, grouped by part.
const Chart = (() => {
  "use strict";
  const { make, parts, columns } = Q;
  const FIRST = 18, MOST_CLASSES = 24;

  const rowsOf = (row, wanted) => wanted
    .map((column) => {
      const value = Q.standardised(row, column);
      const raw = Q.effect(row, column);
      // The interval is measured in the measure's unit; both share one factor.
      const factor = raw ? value / raw : 0;
      const ends = [Q.lower(row, column) * factor, Q.upper(row, column) * factor];
      return { column, value, ends: ends.every(Number.isFinite) && factor ? ends : null, q: Q.q(row, column) };
    })
    .filter(({ value }) => Number.isFinite(value));
  const limits = (rows) => {
    const ends = rows.flatMap(({ value, ends }) => (ends ? [value, ...ends] : [value]));
    const low = Math.min(0, ...ends), high = Math.max(0, ...ends);
    const room = 0.04 * (high - low || 1);
    return [low - room, high + room];
  };
  const ticks = ([low, high]) => {
    const raw = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toFixed(10)));
    return found;
  };
  const line = ({ column, value, ends, q }, name, [low, high], row) => {
    const at = (v) => `${((100 * (v - low)) / (high - low)).toFixed(2)}%`;
    const track = make("div", { class: "track", "aria-hidden": "true" }, make("i", { class: "zero" }));
    track.firstChild.style.left = at(0);
    if (ends) {
      const [a, b] = [Math.min(...ends), Math.max(...ends)];
      const whisker = make("i", { class: "whisker" });
      whisker.style.left = at(a);
      whisker.style.width = `${((100 * (b - a)) / (high - low)).toFixed(2)}%`;
      track.append(whisker);
    }
    const dot = make("i", { class: "mark-dot" });
    dot.style.left = at(value);
    track.append(dot);
    const m = Q.unitOf(column);
    const q_text = !q.known ? "no direction, no q" : q.value <= 2e-7 ? "q < 10⁻⁶" : `q ${q.value < 0.001 ? q.value.toExponential(0) : Q.plain(q.value, 3)}`;
    const share = Q.selectivity(row, column);
    const detail = `${Q.evidence(row, column)}; ${Q.plain(value, 2)} standard deviations; ${q_text}${Number.isFinite(share) ? `; ${Q.percent(share)} of the unit’s effect` : ""}`;
    return make("li", { class: `effect-row ${q.found ? "found" : "unsure"}`, title: detail, "data-column": column },
      make("span", { class: "name" }, name), track, make("span", { class: "value" }, `${Q.amount(Q.effect(row, column), m.scale)}${m.suffix.replace(/ of the .*/, "").replace("\u202flogits", "")}`));
  };
  const axis = (range) => make("div", { class: "effect-axis", "aria-hidden": "true" }, make("div", { class: "track" }, ...ticks(range).map((v) => {
    const tick = make("span", {}, String(v).replace("-", "−"));
    tick.style.left = `${(100 * (v - range[0])) / (range[1] - range[0])}%`;
    return tick;
  })));
  const head = (title, text) => make("figcaption", {}, make("b", {}, title), ` ${text}`);

  const drawParts = (figure, row, onPart) => {
    const all = rowsOf(row, columns.flatMap(([part], k) => (part >= 0 ? [k] : [])));
    if (!all.length) {
      figure.replaceChildren(head("Effects by part", Q.known(row) ? "Nothing could be measured." : "The effects of this unit are in tables/effects."));
      return;
    }
    const range = limits(all);
    const draw = (everything) => {
      const strongest = [...all].sort((a, b) => b.q.found - a.q.found || Math.abs(b.value) - Math.abs(a.value));
      const rows = everything ? strongest : strongest.slice(0, FIRST);
      const groups = new Map();
      for (const entry of rows) {
        const part = columns[entry.column][0];
        if (!groups.has(part)) groups.set(part, []);
        groups.get(part).push(entry);
      }
      const size = (entries) => Math.max(...entries.map(({ value, q }) => Math.abs(value) + (q.found ? 1000 : 0)));
      const ordered = [...groups].sort((a, b) => size(b[1]) - size(a[1]));
      const body = ordered.map(([part, entries]) => {
        const share = Q.share(row, part);
        const button = make("button", { type: "button", class: "part-button", "aria-label": `Outline ${parts[part].text} in the strips` }, make("i", { class: "swatch" }), parts[part].label, make("em", {}, Number.isFinite(share) ? Q.percent(share) : ""));
        button.addEventListener("click", () => onPart(part));
        const sorted = entries.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
        return make("section", { class: "effect-group", hue: parts[part].colour }, make("h5", {}, button),
          make("ol", {}, ...sorted.map((entry) => line(entry, Q.unitOf(entry.column).title, range, row))));
      });
      const more = make("button", { type: "button" }, everything ? "Show the strongest" : `Show all ${all.length} effects`);
      more.addEventListener("click", () => draw(!everything));
      figure.replaceChildren(
        head("Effects by part", "in scales of each measure (its standard deviation among base images, and no less than a clear change), with 95 % intervals; filled: q below 0.05. Right, the effect in the measure’s own unit. The share beside a part is how much of all that changes falls on it."),
        ...body, axis(range), ...(all.length > FIRST ? [make("p", { class: "more" }, more)] : []));
    };
    draw(false);
  };
  const drawLogits = (figure, row) => {
    const rows = rowsOf(row, Q.logits).sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    if (!rows.length) {
      figure.replaceChildren();
      return;
    }
    rows.splice(MOST_CLASSES);
    const range = limits(rows);
    figure.replaceChildren(head("What the classifier makes of it", "change of each class’s logit in the rendered pictures, in standard deviations; right, in logits."),
      make("ol", { class: "effect-group logits" }, ...rows.map((entry) => line(entry, Q.data.classes[columns[entry.column][1]], range, row))), axis(range));
  };
  return { drawParts, drawLogits };
})();
