// The numbers of the page: units, columns and effects, and what is written of them.
const Q = (() => {
  "use strict";
  const data = JSON.parse(document.getElementById("numbers").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const words = (text) => {
    const view = new DataView(bytes(text).buffer);
    return Int16Array.from({ length: view.byteLength / 2 }, (_, k) => view.getInt16(2 * k, true));
  };
  const { columns, units, parts, measures } = data;
  const width = columns.length;
  const count = units.unit.length;
  const rowsAt = new Int32Array(count).fill(-1);
  data.rows.forEach((row, place) => { rowsAt[row] = place; });
  const detailAt = new Int32Array(count).fill(-1);
  data.detailed.forEach((row, place) => { detailAt[row] = place; });
  // A reader of one array: value(row, column), NaN where there is none.
  const scaled = (text, scale, places) => {
    const values = words(text);
    return (row, column) => {
      const place = places[row];
      const value = place < 0 ? -32768 : values[place * width + column];
      return value === -32768 ? NaN : value * scale[column];
    };
  };
  const shared = (text, places, scale) => {
    const values = bytes(text);
    return (row, column) => {
      const place = places[row];
      const value = place < 0 ? 255 : values[place * width + column];
      return value === 255 ? NaN : value / scale;
    };
  };
  const effect = scaled(data.effect, data.effectScale, rowsAt);
  const standardised = scaled(data.standardised, data.standardisedScale, rowsAt);
  const lower = scaled(data.lower, data.effectScale, detailAt);
  const upper = scaled(data.upper, data.effectScale, detailAt);
  const sameSign = shared(data.sameSign, detailAt, 250);
  const selectivity = shared(data.selectivity, detailAt, 250);
  const seeds = scaled(data.seeds, columns.map(() => 1), detailAt);
  const shares = words(data.share);
  const share = (row, part) => shares[row * parts.length + part] / 30000;
  const code = bytes(data.q);
  const q = (row, column) => {
    const place = rowsAt[row];
    const value = place < 0 ? 255 : code[place * width + column];
    return value === 255 ? { known: false, found: false, value: NaN } : { known: true, found: (value & 1) === 1, value: 10 ** (-(value >> 1) / 16) };
  };
  const ofPart = parts.map((_, part) => columns.flatMap(([p], k) => (p === part ? [k] : [])));
  const logits = columns.flatMap(([p], k) => (p < 0 ? [k] : []));

  // What is written.
  const plain = (value, digits) => {
    const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return (value < 0 && Number(text.replaceAll(",", "")) !== 0 ? "−" : "") + text;
  };
  const amount = (value, scale = 1) => {
    if (!Number.isFinite(value)) return "–";
    const shown = value * scale;
    const size = Math.abs(shown);
    const text = plain(shown, size >= 100 ? 0 : size >= 1 ? 1 : 2);
    return shown > 0 ? `+${text}` : text;
  };
  const percent = (value) => (Number.isFinite(value) ? `${Math.round(100 * value)}\u202f%` : "–");
  const trustWord = (trust) => (trust === null ? "unknown" : trust >= 0.6 ? "high" : trust >= 0.3 ? "medium" : "low");
  const title = (row) => (units.unit[row] >= 0 ? `Unit ${units.unit[row]}` : units.group[row] ?? `Group ${-units.unit[row]}`);
  const deed = (row, column) => {
    const [part, measure] = columns[column];
    const up = effect(row, column) >= 0;
    if (part < 0) return `${up ? "raises" : "lowers"} the logit of “${data.classes[measure]}”`;
    const m = measures[measure];
    const appears = m.name === "area" && units.appears[row].includes(part);
    const phrase = appears ? data.appears[up ? 0 : 1] : up ? m.up : m.down;
    return phrase.replace("{part}", () => parts[part].text);
  };
  const unitOf = (column) => {
    const [part, measure] = columns[column];
    return part < 0 ? { title: data.classes[measure], scale: 1, suffix: "\u202flogits" } : measures[measure];
  };
  const evidence = (row, column) => {
    const m = unitOf(column);
    let text = `${m.title} ${amount(effect(row, column), m.scale)}${m.suffix}`;
    const low = lower(row, column);
    if (Number.isFinite(low)) text += ` [${amount(low, m.scale)}, ${amount(upper(row, column), m.scale)}]`;
    const sure = sameSign(row, column);
    const images = seeds(row, column);
    if (Number.isFinite(sure) && images) text += `, in ${Math.round(sure * images)} of ${images} images`;
    return text;
  };
  // An element with attributes and children; text is always text.
  const make = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "hue") node.style.setProperty("--hue", value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  const sprite = (number, part, described) => {
    const s = data.sprites[number];
    const node = make("div", { class: `sprite s${number}`, role: "img", "data-sprite": number, "data-part": part, "aria-label": `${described} from ${s.from} to ${s.to}, ${s.cls} · seed ${s.seed}` });
    node.style.cssText = `--n:${s.n};--w:${s.w};--h:${s.h}${s.w > 112 ? ";--smooth:auto" : ""}`;
    return node;
  };
  const rowOf = new Map(units.anchor.map((anchor, row) => [anchor, row]));
  return {
    data, units, parts, measures, columns, count, ofPart, logits, rowOf,
    effect, standardised, lower, upper, sameSign, selectivity, seeds, share, q,
    known: (row) => rowsAt[row] >= 0, detailed: (row) => detailAt[row] >= 0,
    plain, amount, percent, trustWord, title, deed, evidence, unitOf, make, sprite,
  };
})();
