// Unit by unit: one page at a time, by link, by number, or by the one before and after.
(() => {
  "use strict";
  const { units, parts, make } = Q;
  const home = document.getElementById("pages");
  const pages = new Map([...home.querySelectorAll(".unit-page")].map((page) => [Number(page.dataset.row), page]));
  const order = [...pages.keys()];
  const section = document.getElementById("unit-pages");
  const input = document.getElementById("go-unit");
  const place = document.getElementById("unit-place");
  let current = -1;
  let made = null;

  // The page of a unit without pictures: its numbers alone.
  const slight = (row) => {
    const main = units.main[row];
    const trust = Q.trustWord(units.trust[row]);
    const similar = (Q.data.similar[row] ?? []).filter((k) => k >= 0 && k !== row).slice(0, 8);
    const text = units.confirmed[row] ? "It was confirmed, but is not among the units with pictures." : "It was only screened, on few images, and not picked for confirmation: take its numbers as a hint.";
    return make("article", { class: "card unit-page slight", id: units.anchor[row], "data-row": row, hue: main >= 0 ? parts[Q.columns[main][0]].colour : null },
      make("h3", {}, Q.title(row)),
      make("p", { class: "headline" }, main >= 0 ? `${units.confirmed[row] ? "Raising it" : "On the few images of the screening, raising it"} ${Q.deed(row, main)}.` : "No effect of it was found."),
      main >= 0 ? make("p", { class: "evidence" }, `${Q.evidence(row, main)}.`) : null,
      make("p", { class: "aside" }, `${text} Trust ${units.trust[row] === null ? "–" : Q.plain(units.trust[row], 2)} (${trust}); ${units.seeds[row]} base images.`),
      make("div", { class: "unit-charts" }, make("figure", { "data-chart": "parts" }), make("div", {}, make("figure", { "data-chart": "logits" }),
      similar.length ? make("div", { class: "relatives" }, make("div", {}, make("h4", {}, "Units like this one"), make("ul", {}, ...similar.map((k) => make("li", {}, make("a", { href: `#${units.anchor[k]}` }, Q.title(k)), " ", make("span", {}, units.main[k] >= 0 ? Q.deed(k, units.main[k]) : "")))))) : null)));
  };
  const outline = (page, part) => {
    for (const node of page.querySelectorAll(".sprite")) node.dataset.part = part;
    for (const button of page.querySelectorAll(".part-button")) button.removeAttribute("aria-pressed");
    Masks.repaint();
  };
  const draw = (page, row) => {
    if (page.dataset.drawn) return;
    page.dataset.drawn = "yes";
    Chart.drawParts(page.querySelector("[data-chart=parts]"), row, (part) => outline(page, part));
    Chart.drawLogits(page.querySelector("[data-chart=logits]"), row);
  };
  const open = (row) => {
    current = row;
    made?.remove();
    made = null;
    for (const [k, page] of pages) page.hidden = k !== row;
    let page = pages.get(row);
    if (!page) home.append(page = made = slight(row));
    draw(page, row);
    Masks.watch(page);
    input.value = units.unit[row] >= 0 ? units.unit[row] : Q.title(row);
    input.removeAttribute("aria-invalid");
    const at = order.indexOf(row);
    place.textContent = at >= 0 ? `${at + 1} of ${order.length} with pictures` : "without pictures";
  };
  const follow = () => {
    const row = Q.rowOf.get(decodeURIComponent(location.hash.slice(1)));
    if (row === undefined) return;
    open(row);
    section.scrollIntoView({ behavior: "instant" });
    const heading = (pages.get(row) ?? made).querySelector("h3");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  };
  const go = () => {
    const text = input.value.trim().toLowerCase().replace(/^unit\s*/, "");
    const row = units.unit.findIndex((unit, k) => (unit >= 0 ? String(unit) === text : Q.title(k).toLowerCase() === text));
    if (row >= 0) location.hash = units.anchor[row];
    else input.setAttribute("aria-invalid", "true");
  };
  input.addEventListener("change", go);
  for (const button of section.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      const at = order.indexOf(current);
      const next = at < 0 ? 0 : (at + Number(button.dataset.step) + order.length) % order.length;
      if (order.length) location.hash = units.anchor[order[next]];
    });
  }
  for (const page of pages.values()) {
    const button = page.querySelector("[data-all-strips]");
    const later = [...page.querySelectorAll("[data-later]")];
    const apply = (all) => later.forEach((strip) => { strip.hidden = !all; });
    apply(false);
    button?.addEventListener("click", () => {
      const all = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(all));
      button.textContent = all ? "Show fewer strips" : `Show all ${page.querySelectorAll(".unit-strip").length} strips`;
      apply(all);
    });
  }
  const legend = document.querySelector("[data-legend]");
  legend.append(...parts.slice(0, -1).map((p) => make("span", { hue: p.colour }, make("i", { class: "swatch" }), p.label)));
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => pages.forEach((page, row) => { page.hidden = false; draw(page, row); }));
  if (order.length) open(order[0]);
  else if (Q.count) open(0);
  follow();
})();
