// Pairs: filters by class, folding, and links that open what they lead to.
(() => {
  "use strict";
  const pairs = [...document.querySelectorAll(".cf-pair")];
  const form = document.getElementById("pair-filter");
  const count = document.getElementById("pair-count");
  const folds = pairs.map((pair) => pair.querySelector("details"));

  const apply = () => {
    if (!form) return;
    const { origin, target } = form.elements;
    let shown = 0;
    for (const pair of pairs) {
      pair.hidden = Boolean(
        (origin.value && pair.dataset.origin !== origin.value) || (target.value && pair.dataset.target !== target.value),
      );
      shown += pair.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${pairs.length} pairs`;
    // A choice that leaves a few pairs is a wish to see them.
    if ((origin.value || target.value) && shown <= 3) pairs.forEach((pair, k) => { if (!pair.hidden) folds[k].open = true; });
  };
  form?.addEventListener("change", apply);
  for (const button of form?.querySelectorAll("[data-fold]") ?? []) {
    button.addEventListener("click", () => pairs.forEach((pair, k) => {
      if (!pair.hidden) folds[k].open = button.dataset.fold === "open";
    }));
  }

  const reveal = () => {
    const body = document.getElementById(location.hash.slice(1));
    const pair = body?.closest(".cf-pair");
    if (!pair) return;
    if (pair.hidden) {
      form.reset();
      apply();
    }
    pair.querySelector("details").open = true;
    pair.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  // The same link twice changes no hash, yet what it leads to may have been closed since.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#pair-']");
    if (link && link.hash === location.hash) reveal();
  });

  // On paper everything is open; afterwards it is as it was.
  const every = [...document.querySelectorAll(".cf-pair details")];
  let before = null;
  addEventListener("beforeprint", () => {
    before = every.map((fold) => fold.open);
    every.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => every.forEach((fold, k) => { fold.open = before?.[k] ?? fold.open; }));
  apply();
  reveal();
})();
