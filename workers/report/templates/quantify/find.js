// Units by part: the bar of parts, the filters, and the lists that follow from them.
(() => {
  "use strict";
  const { units, parts, measures, columns, make } = Q;
  const form = document.getElementById("filters");
  const blocks = [...document.querySelectorAll(".part-block")];
  const chips = [...document.querySelectorAll(".part-chip")];
  const OVERVIEW = 2, AT_ONCE = 12;
  let chosen = -1;
  let shown = AT_ONCE;

  const field = (name) => form.elements[name];
  measures.forEach((m, k) => field("measure").append(make("option", { value: k }, m.title)));
  Q.data.classes.forEach((name, k) => field("class").append(make("option", { value: k }, name)));

  // The best column of a unit in a part, under the filters; null where the unit has nothing to show.
  const best = (row, part, measure, direction) => {
    let found = null;
    for (const column of Q.ofPart[part]) {
      const m = columns[column][1];
      if (measure !== "" && m !== Number(measure)) continue;
      const strength = Q.standardised(row, column);
      if (!Number.isFinite(strength) || (direction && Math.sign(strength) !== direction)) continue;
      // What has no direction has no test either: it is listed when it is asked for.
      if (!measures[m].signed && measure === "") continue;
      // Units that were only screened have no q: they are listed by the part that they change most.
      if (units.confirmed[row] ? measures[m].signed && !Q.q(row, column).found : units.part[row] !== part) continue;
      if (!found || Math.abs(strength) > found.strength) found = { row, part, column, strength: Math.abs(strength) };
    }
    if (found) {
      found.share = Q.share(row, part);
      found.clear = found.strength * found.share;
    }
    return found;
  };
  const moves = (row, name) => {
    const column = Q.logits.find((k) => columns[k][1] === Number(name));
    const found = column !== undefined && (units.confirmed[row] ? Q.q(row, column).found : units.cls[row] === Number(name));
    return found ? column : -1;
  };
  const list = (part) => {
    const measure = field("measure").value;
    const direction = Number(field("direction").value);
    const name = field("class").value;
    const kept = [];
    let hidden = 0;
    for (let row = 0; row < Q.count; row++) {
      const found = best(row, part, measure, direction);
      if (!found) continue;
      found.logit = name === "" ? -1 : moves(row, name);
      if (name !== "" && found.logit < 0) continue;
      if ((field("trusted").checked && !units.trusted[row]) || (field("confirmed").checked && !units.confirmed[row])) hidden += 1;
      else kept.push(found);
    }
    const key = { clear: "clear", strong: "strength", share: "share" }[field("order").value];
    kept.sort((a, b) => b[key] - a[key] || a.row - b.row);
    return { kept, hidden };
  };
  const card = ({ row, part, column, share, logit }) => {
    const href = `#${units.anchor[row]}`;
    const strips = units.strips[row];
    const trust = Q.trustWord(units.trust[row]);
    return make("li", { class: "find", hue: parts[part].colour, "data-row": row },
      strips.length ? make("a", { class: "film-link", href, tabindex: -1 }, Q.sprite(strips[0], part, Q.title(row))) : null,
      make("p", { class: "deed" }, make("a", { href }, Q.title(row)), ` ${Q.deed(row, column)}`),
      make("p", { class: "evidence" }, Q.evidence(row, column)),
      logit >= 0 ? make("p", { class: "evidence" }, Q.evidence(row, logit)) : null,
      make("p", { class: "tags" }, make("span", { class: `dot ${trust}` }), `trust ${trust} · ${Q.percent(share)} of its effect falls on ${parts[part].text}${units.confirmed[row] ? "" : " · screened only"}`));
  };
  const fill = (block, part) => {
    const { kept, hidden } = list(part);
    const limit = chosen < 0 ? OVERVIEW : shown;
    block.querySelector(".finds").replaceChildren(...kept.slice(0, limit).map(card));
    block.querySelector(".empty")?.remove();
    if (!kept.length) {
      const text = hidden ? `No unit passes all filters; ${hidden} ${hidden === 1 ? "is" : "are"} hidden by “trusted only” or “confirmed only”.` : `No unit is found to change ${parts[part].text} in this way.`;
      block.querySelector(".finds").after(make("p", { class: "empty" }, text));
    }
    const more = block.querySelector("[data-more-finds]");
    more.hidden = kept.length <= limit;
    more.textContent = chosen < 0 ? `All ${kept.length} units of ${parts[part].text}` : `Show more (${kept.length - limit} left)`;
    chips.find((chip) => Number(chip.dataset.part) === part && chip.dataset.part).querySelector("em").textContent = `${kept.length} ${kept.length === 1 ? "unit" : "units"}`;
    return { kept: kept.length, hidden };
  };
  const refresh = () => {
    let kept = 0, hidden = 0;
    for (const block of blocks) {
      const part = Number(block.dataset.part);
      const result = fill(block, part);
      block.hidden = chosen >= 0 ? part !== chosen : !result.kept;
      if (part === chosen) ({ kept, hidden } = result);
    }
    for (const chip of chips) {
      const mine = chip.dataset.part === undefined ? chosen < 0 : Number(chip.dataset.part) === chosen;
      if (mine) chip.setAttribute("aria-current", "true"); else chip.removeAttribute("aria-current");
    }
    const output = document.getElementById("find-count");
    const any = chosen >= 0 || blocks.some((block) => !block.hidden);
    output.textContent = !any ? "No unit passes all filters." : chosen < 0 ? "" : `${kept} shown${hidden ? `, ${hidden} hidden by trust or confirmation` : ""}`;
    Masks.watch(document.getElementById("find"));
    Masks.repaint();
  };
  const choose = (part) => {
    chosen = part;
    shown = AT_ONCE;
    refresh();
  };
  const follow = () => {
    const slug = decodeURIComponent(location.hash).replace(/^#part-/, "");
    const part = location.hash.startsWith("#part-") ? parts.findIndex((p) => p.slug === slug) : -1;
    if (part >= 0) choose(part);
    else if (location.hash === "#find" || location.hash === "") choose(-1);
    if (part >= 0 || location.hash === "#find") document.getElementById("find").scrollIntoView({ behavior: "instant" });
  };
  form.addEventListener("change", () => { shown = AT_ONCE; refresh(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const block of blocks) {
    block.querySelector("[data-more-finds]").addEventListener("click", () => {
      if (chosen < 0) location.hash = `#${block.id}`;
      else { shown += AT_ONCE; refresh(); }
    });
  }
  // Arrow keys walk along the bar of parts.
  document.querySelector(".part-bar").addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = chips.indexOf(document.activeElement);
    if (!way || at < 0) return;
    event.preventDefault();
    chips[(at + way + chips.length) % chips.length].focus();
  });
  // A cell of the heat map asks for units of its part that move its class.
  for (const link of document.querySelectorAll(".heat a[data-class]")) {
    link.addEventListener("click", () => {
      field("class").value = link.dataset.class;
      if (location.hash === link.hash) follow();
    });
  }
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => blocks.forEach((block) => { block.hidden = false; }));
  follow();
  if (chosen < 0) refresh();
})();
