"use strict";
// Filters of a sweep's report: which outcome's forest is shown, and which variants in it and in the attribution map.
(() => {
  const [outcome, kind, verdict, search, count, map] = ["outcome", "kind", "verdict", "search", "count", "map"].map((id) => document.getElementById(id));
  if (!outcome) return;
  const forests = [...document.getElementsByClassName("outcome")];
  const fits = ({ dataset }, judged) => (!kind.value || dataset.kind === kind.value) && (!verdict.value || judged === verdict.value) &&
    dataset.variant.toLowerCase().includes(search.value.trim().toLowerCase());

  // Rows of a drawing close up; a heading stays as long as one of its kind does.
  function close_up(drawing) {
    const rows = [...drawing.querySelectorAll(".row")], top = drawing.top ??= rows[0].transform.baseVal[0].matrix.f;
    const height = drawing.classList.contains("narrow") ? 86 : 27;
    const matches = rows.filter((row) => row.dataset.variant && fits(row, row.dataset.verdict));
    const kinds = new Set(matches.map((row) => row.dataset.kind));
    let y = top;
    for (const row of rows) {
      const visible = row.dataset.heading === undefined ? matches.includes(row) : kinds.has(row.dataset.heading);
      row.style.display = visible ? "" : "none";
      if (visible) { row.setAttribute("transform", `translate(0 ${y})`); y += height; }
    }
    const box = drawing.viewBox.baseVal;
    drawing.setAttribute("viewBox", `0 0 ${box.width} ${Math.max(y, top + height) + 10}`);
    return [matches, rows.filter((row) => row.dataset.variant).length];
  }
  function refresh() {
    forests.forEach((forest, i) => { forest.hidden = i !== +outcome.value; });
    const [matches, all] = [...forests[outcome.value].querySelectorAll("svg.forest")].map(close_up)[0];
    const names = new Set(matches.map((row) => row.dataset.variant));
    for (const row of map ? map.querySelectorAll("tr[data-variant]") : []) row.hidden = !names.has(row.dataset.variant);
    count.textContent = `${matches.length} of ${all} variants`;
  }
  for (const control of [outcome, kind, verdict]) control.addEventListener("change", refresh);
  search.addEventListener("input", refresh);
  refresh();
})();
