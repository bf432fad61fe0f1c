// All units: sorted and searched over all of them, shown by pages.
(() => {
  "use strict";
  const { units, parts, make } = Q;
  const table = document.getElementById("all-units");
  const search = document.getElementById("units-search");
  const AT_ONCE = 50;
  const number = (value, digits = 2) => (value === null || !Number.isFinite(value) ? "–" : Q.plain(value, digits));
  const deed = (row) => (units.main[row] >= 0 ? Q.deed(row, units.main[row]) : "");
  const COLUMNS = [
    { title: "Unit", n: true, key: (k) => units.unit[k], cell: (k) => make("a", { href: `#${units.anchor[k]}` }, units.unit[k] >= 0 ? String(units.unit[k]) : Q.title(k)) },
    { title: "Part", key: (k) => parts[units.part[k]]?.label ?? null, cell: (k) => (units.part[k] >= 0 ? make("span", { hue: parts[units.part[k]].colour }, make("i", { class: "swatch" }), parts[units.part[k]].label) : "–") },
    { title: "Share", n: true, key: (k) => units.part_share[k], cell: (k) => (units.part_share[k] === null ? "–" : Q.percent(units.part_share[k])) },
    { title: "Named", key: (k) => (units.named[k] ? "named" : ""), cell: (k) => (units.named[k] ? "named" : "") },
    { title: "What it does", wide: true, key: deed, cell: deed },
    { title: "Size (sd)", n: true, key: (k) => (units.main[k] >= 0 && Q.known(k) ? Math.abs(Q.standardised(k, units.main[k])) : null), cell: (k) => (units.main[k] >= 0 && Q.known(k) ? Q.amount(Q.standardised(k, units.main[k])) : "–") },
    { title: "Strongest class", key: (k) => Q.data.classes[units.cls[k]] ?? null, cell: (k) => Q.data.classes[units.cls[k]] ?? "–" },
    { title: "Its logit", n: true, key: (k) => units.strongest_change[k], cell: (k) => Q.amount(units.strongest_change[k] ?? NaN) },
    { title: "Class changes", n: true, key: (k) => units.flips[k], cell: (k) => Q.percent(units.flips[k] ?? NaN) },
    { title: "Trust", n: true, key: (k) => units.trust[k], cell: (k) => make("span", {}, make("span", { class: `dot ${Q.trustWord(units.trust[k])}`, "aria-hidden": "true" }), number(units.trust[k])) },
    { title: "Follows", n: true, key: (k) => units.follow[k], cell: (k) => number(units.follow[k]) },
    { title: "Focused", n: true, key: (k) => units.focus[k], cell: (k) => number(units.focus[k]) },
    { title: "Plausible", n: true, key: (k) => units.plausible[k], cell: (k) => number(units.plausible[k]) },
    { title: "Picture changes", n: true, key: (k) => units.change[k], cell: (k) => number(units.change[k], 1) },
    { title: "From", n: true, key: (k) => units.low[k], cell: (k) => number(units.low[k]) },
    { title: "To", n: true, key: (k) => units.high[k], cell: (k) => number(units.high[k]) },
    { title: "Cluster", n: true, key: (k) => (units.cluster[k] < 0 ? null : units.cluster[k]), cell: (k) => (units.cluster[k] < 0 ? "–" : String(units.cluster[k])) },
    { title: "Images", n: true, key: (k) => units.seeds[k], cell: (k) => String(units.seeds[k]) },
    { title: "Pass", key: (k) => (units.confirmed[k] ? "confirmed" : "screened"), cell: (k) => (units.confirmed[k] ? "confirmed" : "screened") },
  ];
  const texts = Array.from({ length: Q.count }, (_, k) => [Q.title(k), units.layer[k], parts[units.part[k]]?.label, units.named[k] ? "named" : "", deed(k), Q.data.classes[units.cls[k]], `trust-${Q.trustWord(units.trust[k])}`, units.trusted[k] ? "trusted" : "untrusted", units.confirmed[k] ? "confirmed" : "screened"].join(" ").toLowerCase());
  let rows = Array.from({ length: Q.count }, (_, k) => k);
  let page = 0;
  let sorted = { column: 5, up: false };

  const headings = COLUMNS.map((column, k) => {
    const button = make("button", { type: "button" }, column.title);
    const heading = make("th", { scope: "col", class: column.n ? "n" : null }, button);
    button.addEventListener("click", () => {
      sorted = { column: k, up: sorted.column === k ? !sorted.up : !column.n || k === 0 };
      refresh();
    });
    return heading;
  });
  const show = () => {
    const last = Math.max(0, Math.ceil(rows.length / AT_ONCE) - 1);
    page = Math.max(0, Math.min(last, page));
    const from = page * AT_ONCE;
    table.tBodies[0].replaceChildren(...rows.slice(from, from + AT_ONCE).map((k) => make("tr", {}, ...COLUMNS.map((column) => make("td", { class: column.n ? "n" : column.wide ? "wide" : null }, column.cell(k))))));
    document.getElementById("units-page").textContent = rows.length ? `${from + 1}–${Math.min(from + AT_ONCE, rows.length)}` : "0";
    document.getElementById("units-count").textContent = `${rows.length.toLocaleString("en")} of ${Q.count.toLocaleString("en")} units`;
    document.querySelector('[data-page="-1"]').disabled = page === 0;
    document.querySelector('[data-page="1"]').disabled = page === last;
  };
  const refresh = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    // "trusted" is no part of "untrusted": words are found at their beginning.
    rows = [];
    for (let k = 0; k < Q.count; k++) if (wanted.every((word) => ` ${texts[k]}`.includes(` ${word}`))) rows.push(k);
    const { key } = COLUMNS[sorted.column];
    const keys = new Map(rows.map((k) => [k, key(k)]));
    const sign = sorted.up ? 1 : -1;
    rows.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      const none = (x === null) - (y === null);
      return none || (x === null ? 0 : sign * (typeof x === "string" ? x.localeCompare(y) : x - y)) || a - b;
    });
    headings.forEach((heading, k) => {
      if (k === sorted.column) heading.setAttribute("aria-sort", sorted.up ? "ascending" : "descending"); else heading.removeAttribute("aria-sort");
    });
    page = 0;
    show();
  };
  table.tHead.rows[0].replaceChildren(...headings);
  search.addEventListener("input", refresh);
  for (const button of document.querySelectorAll("[data-page]")) button.addEventListener("click", () => { page += Number(button.dataset.page); show(); });
  refresh();
})();
