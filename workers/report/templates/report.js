(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Tables: a heading is a button; its column is sorted by data-value, or by what is written.
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text);
    return text === "" || text === "None" || text === "nan" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => (typeof a === typeof b && typeof a === "string" ? a.localeCompare(b) : a - b);
  const sortBy = (table, heading) => {
    const column = heading.cellIndex;
    const first = heading.classList.contains("n") ? "descending" : "ascending";
    const other = { ascending: "descending", descending: "ascending" };
    const order = heading.hasAttribute("aria-sort") ? other[heading.getAttribute("aria-sort")] : first;
    const sign = order === "ascending" ? 1 : -1;
    all("th", table).forEach((th) => th.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    for (const heading of all("thead th", table)) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, heading));
    }
  }
  for (const input of all("[data-filter]")) {
    const rows = all(`#${input.dataset.filter} tbody tr`);
    const count = document.querySelector(`[data-count=${input.dataset.filter}]`);
    const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join(" ").toLowerCase());
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, k) => {
        row.hidden = !words.every((word) => texts[k].includes(word));
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = `${shown} of ${rows.length}`;
    };
    input.addEventListener("input", apply);
    apply();
  }

  // Gallery: the first strips of each unit, all of one class, or all.
  const chooser = document.getElementById("gallery-class");
  const refresh = (card) => {
    const button = card.querySelector("[data-more-rows]");
    const wanted = chooser ? chooser.value : "";
    const open = wanted !== "" || !button || button.getAttribute("aria-expanded") === "true";
    for (const strip of all(".strip", card)) {
      strip.hidden = wanted ? strip.dataset.class !== wanted : !open && strip.hasAttribute("data-later");
    }
    if (button) button.hidden = wanted !== "";
  };
  const cards = all(".card");
  for (const card of cards) {
    const button = card.querySelector("[data-more-rows]");
    button?.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "Show fewer strips" : `Show all ${button.dataset.moreRows} strips`;
      refresh(card);
    });
    for (const strip of all(".strip", card)) {
      const light = (on) => all(`[data-row="${strip.id}"]`, card).forEach((line) => line.classList.toggle("lit", on));
      strip.addEventListener("pointerenter", () => light(true));
      strip.addEventListener("pointerleave", () => light(false));
    }
    refresh(card);
  }
  chooser?.addEventListener("change", () => cards.forEach(refresh));

  const more = document.getElementById("more-cards");
  if (more) {
    const step = Number(more.dataset.first);
    let shown = step;
    const show = (count) => {
      shown = Math.max(shown, count);
      cards.forEach((card, k) => { card.hidden = k >= shown; });
      more.hidden = shown >= cards.length;
      more.textContent = `Show more units (${cards.length - shown} left)`;
    };
    more.addEventListener("click", () => show(shown + step));
    const reveal = () => {
      const place = cards.findIndex((card) => `#${card.id}` === location.hash);
      if (place >= shown) {
        show(place + 1);
        cards[place].scrollIntoView();
      }
    };
    show(step);
    reveal();
    addEventListener("hashchange", reveal);
    addEventListener("beforeprint", () => show(cards.length));
  }

  // Where am I: the link of the section, and of the unit, that is in view.
  const follow = (selector, links, margin) => {
    const observer = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        const link = links.find((a) => a.hash === `#${target.id}`);
        if (link && isIntersecting) {
          links.forEach((a) => a.removeAttribute("aria-current"));
          link.setAttribute("aria-current", "true");
        }
      }
    }, { rootMargin: margin });
    all(selector).forEach((node) => observer.observe(node));
  };
  follow("main > section", all(".sections a"), "-20% 0px -70% 0px");
  follow(".card", all(".unit-nav a"), "-20% 0px -70% 0px");
})();
