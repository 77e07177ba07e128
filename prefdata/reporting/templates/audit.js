// Sorts, filters and folds what the page already shows; without it all of the page can be read.
"use strict";
(() => {
  const PAGE = 100;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const cards = document.getElementById("cards");
  const form = document.getElementById("filter");
  const table = document.getElementById("table");
  const findings = all("article", cards);
  const rows = new Map(all("tbody tr", table || cards).map((row) => [row.dataset.for, row]));
  const fill = (text, values) => text.replace(/%[a-z]/g, (name) => values[name]);
  const numbers = new Set(["rank", "count", "share", "at"]);
  const down = new Set(["count", "share"]);

  const sort = (key, falling) => {
    const ordered = findings.slice().sort((one, other) => {
      const [a, b] = [one.dataset[key], other.dataset[key]];
      const way = numbers.has(key) ? a - b : a.localeCompare(b, document.documentElement.lang);
      return (falling ? -way : way) || one.dataset.at - other.dataset.at;
    });
    for (const one of ordered) {
      cards.append(one);
      table.tBodies[0].append(rows.get(one.id));
    }
    for (const head of all("thead th", table)) {
      if (head.dataset.sort === key) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    if (all("option", form.elements.order).some((one) => one.value === key)) form.elements.order.value = key;
  };

  const filter = () => {
    const severities = new Set(all("input[name=severity]:checked", form).map((one) => one.value));
    const family = form.elements.family.value;
    const words = form.elements.words.value.trim().toLowerCase();
    let shown = 0;
    for (const one of findings) {
      const fits = severities.has(one.dataset.severity) && (!family || one.dataset.family === family) &&
        (!words || one.textContent.toLowerCase().includes(words));
      one.hidden = rows.get(one.id).hidden = !fits;
      shown += fits;
    }
    const told = document.getElementById("shown");
    told.textContent = fill(told.dataset.text, {"%s": shown, "%a": findings.length});
  };

  const pager = (list) => {
    const items = [...list.children];
    if (items.length <= PAGE) return;
    const bar = document.createElement("div");
    const [back, on] = ["previous", "next"].map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = cards.dataset[name];
      return button;
    });
    const told = document.createElement("output");
    bar.className = "pager";
    bar.append(back, told, on);
    let first = 0;
    const show = () => {
      items.forEach((item, at) => { item.hidden = at < first || at >= first + PAGE; });
      const last = Math.min(first + PAGE, items.length);
      told.textContent = fill(cards.dataset.page, {"%f": first + 1, "%l": last, "%a": items.length});
      back.disabled = first === 0;
      on.disabled = last === items.length;
    };
    back.addEventListener("click", () => { first -= PAGE; show(); });
    on.addEventListener("click", () => { first += PAGE; show(); });
    list.after(bar);
    addEventListener("beforeprint", () => items.forEach((item) => { item.hidden = false; }));
    addEventListener("afterprint", show);
    show();
  };

  if (!form || !table) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name === "order") sort(event.target.value, down.has(event.target.value));
    else filter();
  });
  for (const button of all("[data-fold]", form)) {
    button.addEventListener("click", () => {
      for (const one of all("details", cards)) one.open = button.dataset.fold === "open";
    });
  }
  for (const head of all("th[data-sort]", table)) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(head.dataset.sort, now ? now === "ascending" : down.has(head.dataset.sort));
    });
  }
  table.querySelector("[data-sort=rank]").setAttribute("aria-sort", "ascending");
  all("ol.places", cards).forEach(pager);
  filter();
})();
