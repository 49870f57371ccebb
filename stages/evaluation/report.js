"use strict";
// The browser of rows. Texts of models and users reach the page by textContent alone, never as markup.
(() => {
  const sections = JSON.parse(document.getElementById("rows").textContent);
  const tools = document.getElementById("tools");
  if (!tools) return;
  const PAGE = 25, MOST_WORDS = 700;
  const SHOW = { "": "everything", faulty: "a critique found a fault", changed: "texts differ", unchanged: "texts are equal",
    violated: "breaks a principle", evasive: "is evasive", flips: "the judge flips with the order", opposite: "under an opposite",
    ruled: "a rule decided", noise: "label turned round on purpose", unsafe: "a response is unsafe" };
  const [steps, principles, show, search] = ["step", "principle", "show", "search"].map((id) => document.getElementById(id));
  const list = document.getElementById("entries"), count = document.getElementById("count"), more = document.getElementById("more");

  const make = (tag, kind, ...children) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    node.append(...children);
    return node;
  };
  const chip = (text, kind = "") => make("span", `chip ${kind}`, text);
  // [principle, whether it was turned to its opposite, what else is to be said of it]
  const under = ([principle, opposite, more], kind = "") =>
    chip(`${opposite ? "not " : ""}${principle}${more === undefined ? "" : ` ${more}`}`, `${opposite ? "opposite" : ""} ${kind}`);
  const safety = (safe) => safe === null ? [] : ["\n", safe ? chip("safe", "good") : chip("unsafe", "bad")];
  const option = (value, text) => { const node = make("option", "", text); node.value = value; return node; };

  // Longest common subsequence over words; what both ends share is cut off first.
  function diff(before, after) {
    const a = before.match(/\s+|[^\s]+/g) || [], b = after.match(/\s+|[^\s]+/g) || [];
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
    const x = a.slice(head, a.length - tail), y = b.slice(head, b.length - tail);
    const parts = [["", a.slice(0, head).join("")]];
    const add = (tag, word) => {
      const last = parts[parts.length - 1];
      if (last[0] === tag) last[1] += word; else parts.push([tag, word]);
    };
    if (x.length > MOST_WORDS || y.length > MOST_WORDS) {
      add("del", x.join("")); add("ins", y.join(""));
    } else {
      const width = y.length + 1, best = new Uint16Array((x.length + 1) * width);
      for (let i = x.length - 1; i >= 0; i--) for (let j = y.length - 1; j >= 0; j--)
        best[i * width + j] = x[i] === y[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
      let i = 0, j = 0;
      while (i < x.length || j < y.length) {
        if (i < x.length && j < y.length && x[i] === y[j]) { add("", x[i]); i++; j++; }
        else if (i < x.length && (j === y.length || best[(i + 1) * width + j] >= best[i * width + j + 1])) add("del", x[i++]);
        else add("ins", y[j++]);
      }
    }
    add("", a.slice(a.length - tail).join(""));
    return parts;
  }

  function lit(text) {  // marks what was searched for
    const wanted = search.value.trim().toLowerCase(), pieces = [];
    if (!wanted) return [text];
    const low = text.toLowerCase();
    let from = 0, at;
    while ((at = low.indexOf(wanted, from)) >= 0) {
      pieces.push(text.slice(from, at), make("mark", "", text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    return [...pieces, text.slice(from)];
  }
  const changed = (before, after) => diff(before, after).flatMap(([tag, text]) => tag ? [make(tag, "", ...lit(text))] : lit(text));

  function draw(entry, section) {
    const dl = make("dl");
    const line = (name, kind, ...content) => dl.append(make("dt", "", name), make("dd", kind, ...content));
    for (const [role, text] of entry.prompt || []) line(role === "user" ? "request" : role, role === "user" ? "request" : "", ...lit(text));
    if (entry.rounds) {
      line("response", "", ...lit(entry.original));
      entry.rounds.forEach((round, i) => {
        const kept = round.response === round.previous;
        line(`critique ${i + 1}`, "critique", chip(round.principle), ...(round.faulty ? [] : [chip("no fault found", "good")]),
          ...(kept ? [chip("text kept")] : []), ...lit(round.critique));
        if (!kept) line(`revision ${i + 1}`, "", ...changed(round.previous, round.response));
      });
    }
    for (const answer of entry.answers || []) {
      line(answer.policy, "", ...lit(answer.response), "\n", ...answer.violated.map((p) => chip(`breaks ${p}`, "bad")),
        ...answer.judged.map((p) => chip(`judge: breaks ${p}`)), ...answer.marks.map((m) => chip(m, "bad")));
    }
    if (section.kind === "Pair") {
      line("chosen", "", ...lit(entry.chosen), ...safety(entry.safe[0]));
      line("rejected", "", ...lit(entry.rejected), ...safety(entry.safe[1]));
      line("label", "", `P(chosen is better) = ${entry.label}, margin ${entry.margin}`, ...(entry.noise ? [" ", chip("turned round on purpose", "bad")] : []));
      if (entry.override) line("decided by", "", chip(`rule: ${entry.override}`, "decides"));
      if (entry.under.length) line("principles", "", ...entry.under.map((p) => p[0] === entry.deciding ? under([p[0], p[1], "decides"], "decides") : under(p)));
    }
    for (const rating of entry.ratings || [])
      line(`score ${rating.score}`, "", ...lit(rating.response), ...(rating.under.length ? ["\n", ...rating.under.map((p) => under(p))] : []));
    if (entry.cells) {
      line("A", "", ...lit(entry.a));
      line("B", "", ...lit(entry.b));
      const body = make("table", "", make("tr", "", ...["principle", "A first", "B first", "verdict"].map((t) => make("th", "", t))));
      for (const [principle, ab, ba] of entry.cells) {
        const verdict = ab > 0 !== ba > 0 ? "flips" : ab > 0 ? "A" : "B";
        body.append(make("tr", "", ...[principle, ...[ab, ba].map((margin) => margin.toFixed(2).replace("-", "\u2212")), verdict].map((t, i) => make("td", i === 1 || i === 2 ? "number" : "", t))));
      }
      line("margins", "", body);
      for (const [principle, first, rationale] of entry.rationales) line(`${first} first`, "critique", chip(principle), ...lit(rationale));
    }
    if (section.kind === "Dropped") { line("row", "", ...lit(entry.id)); line("dropped by", "", entry.step); line("reason", "", ...lit(entry.reason)); }
    return make("article", "card entry", section.kind === "Dropped" ? "" : make("span", "id", entry.id), dl);
  }

  let found = [], drawn = 0;
  function drawMore() {
    const section = sections[steps.value];
    list.append(...found.slice(drawn, drawn + PAGE).map((entry) => draw(entry, section)));
    drawn = Math.min(drawn + PAGE, found.length);
    more.hidden = drawn >= found.length;
  }
  function refresh() {
    const section = sections[steps.value], wanted = search.value.trim().toLowerCase();
    found = section.entries.filter((entry) =>
      (!principles.value || entry.principles.includes(principles.value)) &&
      (!show.value || entry.flags.includes(show.value)) &&
      (!wanted || (entry.text ??= JSON.stringify(Object.values({ ...entry, flags: 0 })).toLowerCase()).includes(JSON.stringify(wanted).slice(1, -1))));
    const capped = section.entries.length < section.total ? `; the page holds the first ${section.entries.length} of ${section.total}` : "";
    count.textContent = `${found.length} of ${section.entries.length} entries${capped}`;
    list.replaceChildren();
    drawn = 0;
    drawMore();
  }
  function choose() {  // another step has other principles and other marks
    const section = sections[steps.value];
    const names = [...new Set(section.entries.flatMap((entry) => entry.principles))].sort();
    const flags = new Set(section.entries.flatMap((entry) => entry.flags));
    principles.replaceChildren(option("", "any principle"), ...names.map((name) => option(name, name)));
    show.replaceChildren(...Object.entries(SHOW).filter(([flag]) => !flag || flags.has(flag)).map(([flag, text]) => option(flag, text)));
    principles.hidden = !names.length;
    show.hidden = show.options.length < 2;
    refresh();
  }
  sections.forEach((section, i) => steps.append(option(i, `${section.step} (${section.total})`)));
  steps.addEventListener("change", choose);
  for (const control of [principles, show]) control.addEventListener("change", refresh);
  search.addEventListener("input", refresh);
  more.addEventListener("click", drawMore);
  choose();
})();
