"use strict";
// The rows that changed: filters, and a page of entries at a time. Texts are shown as text only.
(() => {
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("rows_data").textContent), logs = JSON.parse(element("logs_data").textContent);
  const [comparison, direction, search, count, entries, back, on] = ["comparison", "direction", "search", "count", "entries", "back", "on"].map(element);
  const SIZE = 20;
  let start = 0;
  const add = (parent, name, text, kind) => {
    const child = parent.appendChild(document.createElement(name));
    if (text !== undefined) child.textContent = text;
    if (kind) child.className = kind;
    return child;
  };
  const fits = ([place, item, before, after], words) => (comparison.value === "" || place === +comparison.value) &&
    (!direction.value || Math.sign(after - before) === +direction.value) &&
    (!words || [item, ...data.texts[item]].some((text) => text.toLowerCase().includes(words)));
  function show([place, item, before, after]) {
    const facts = data.comparisons[place], [prompt, ...answers] = data.texts[item];
    const card = add(entries, "div", undefined, "card entry");
    add(card, "span", item, "id");
    const list = add(card, "dl");
    add(list, "dt", "metric");
    add(list, "dd", `${facts.metric}: ${before} \u2192 ${after}`);
    if (prompt) { add(list, "dt", "prompt"); add(list, "dd", prompt, "request"); }
    answers.forEach((answer, log) => {
      if (log && logs[log] !== facts.log) return;
      add(list, "dt", logs[log]);
      add(list, "dd", answer);
    });
  }
  function refresh() {
    const words = search.value.trim().toLowerCase(), matches = data.rows.filter((row) => fits(row, words));
    start = Math.max(0, Math.min(start, Math.floor((matches.length - 1) / SIZE) * SIZE));
    entries.replaceChildren();
    matches.slice(start, start + SIZE).forEach(show);
    const end = Math.min(start + SIZE, matches.length);
    count.textContent = matches.length ? `${start + 1} to ${end} of ${matches.length}` : "no such row";
    back.disabled = !start;
    on.disabled = end >= matches.length;
  }
  const restart = () => { start = 0; refresh(); };
  for (const control of [comparison, direction]) control.addEventListener("change", restart);
  search.addEventListener("input", restart);
  back.addEventListener("click", () => { start -= SIZE; refresh(); });
  on.addEventListener("click", () => { start += SIZE; refresh(); });
  refresh();
})();
