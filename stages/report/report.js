"use strict";
// The browser of rows. Texts of models and users reach the page by textContent alone, never as markup.
(() => {
  const data = document.getElementById("rows_data");
  if (!data) return;
  const sections = JSON.parse(data.textContent), blocks = document.getElementsByClassName("block");
  const PAGE = 25, MOST_WORDS = 700, KEPT = 8, SLICE = 12;  // opened blocks that are kept; milliseconds of work at a time
  const SHOW = { faulty: "a critique found a fault", changed: "texts differ", unchanged: "texts are equal",
    violated: "breaks a principle", evasive: "is evasive", flips: "the judge flips with the order", opposite: "under an opposite",
    ruled: "a rule decided", noise: "label flipped on purpose", unsafe: "a response is unsafe" };
  const [steps, principles, show, kinds, search, list, count, pages, page, last, back, next] = ["step", "principle", "show", "kind",
    "search", "entries", "count", "pages", "page", "last", "back", "next"].map((id) => document.getElementById(id));
  let first = 0;  // where each section's blocks begin
  for (const section of sections) { section.first = first; section.lower = []; first += Math.ceil(section.shown / section.block); }

  // A block's lines, each the JSON of one entry. Few are kept open; what a search needs, in lower case, is kept of all.
  const opened = new Map();
  function lines(section, number) {
    const at = section.first + number;
    if (!opened.has(at)) {
      const coded = atob(blocks[at].textContent), bytes = new Uint8Array(coded.length);
      for (let i = 0; i < coded.length; i++) bytes[i] = coded.charCodeAt(i);
      opened.set(at, new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text());
      if (opened.size > KEPT) opened.delete(opened.keys().next().value);
    }
    return opened.get(at);
  }
  async function lowercase(section, number) {
    if (!section.lower[number]) {
      const text = (await lines(section, number)).toLowerCase(), ends = new Uint32Array(section.block);
      let entry = 0;
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) ends[entry++] = at;
      ends[entry] = text.length;
      section.lower[number] = { text, ends };
    }
    return section.lower[number];
  }
  async function entryOf(section, index) {
    const number = Math.floor(index / section.block);
    const line = (await lines(section, number)).split("\n", index % section.block + 1).at(-1);
    const entry = Object.fromEntries(JSON.parse(line).map((value, i) => [section.fields[i], value]));
    for (const [field, keys] of Object.entries(section.nested))
      entry[field] = entry[field].map((values) => Object.fromEntries(values.map((value, i) => [keys[i], value])));
    return entry;
  }

  const make = (tag, kind, ...children) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    node.append(...children);
    return node;
  };
  const chip = (text, kind = "") => make("span", `chip ${kind}`, text);
  // [principle, whether it was replaced by its opposite, a remark]
  const under = ([principle, opposite, more], kind = "") =>
    chip(`${opposite ? "not " : ""}${principle}${more === undefined ? "" : ` ${more}`}`, `${opposite ? "opposite" : ""} ${kind}`);
  const safety = (safe) => safe === null ? [] : ["\n", safe ? chip("safe", "good") : chip("unsafe", "bad")];
  const option = (value, text) => { const node = make("option", "", text); node.value = value; return node; };

  // Longest common subsequence over words; what both ends share is cut off first.
  function diff(before, after) {
    const words = /^\s+|\S+\s*/g, a = before.match(words) || [], b = after.match(words) || [];
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

  function highlight(text) {  // marks what the search box holds
    const query = search.value.trim().toLowerCase(), pieces = [];
    if (!query) return [text];
    const low = text.toLowerCase();
    let from = 0, at;
    while ((at = low.indexOf(query, from)) >= 0) {
      pieces.push(text.slice(from, at), make("mark", "", text.slice(at, at + query.length)));
      from = at + query.length;
    }
    return [...pieces, text.slice(from)];
  }
  const changed = (before, after) => diff(before, after).flatMap(([tag, text]) => tag ? [make(tag, "", ...highlight(text))] : highlight(text));
  // A long revision takes a while to compare: its text is there at once, the marks come between two frames.
  let pending = [];
  function runPending() {
    const until = performance.now() + SLICE;
    while (pending.length && performance.now() < until) pending.shift()();
    if (pending.length) setTimeout(runPending);
  }

  function fold(name, text) {
    const details = make("details", "", make("summary", "", name), ...highlight(text));
    details.open = search.value.trim() !== "" && text.toLowerCase().includes(search.value.trim().toLowerCase());
    return details;
  }

  function margins(side, first, second, rows) {  // both orders of each question, and what they amount to
    const body = make("table", "", make("tr", "", ...[side, first, second, "verdict"].map((text) => make("th", "", text))));
    for (const [name, ...cells] of rows) {
      const verdict = cells.pop(), numbers = cells.map((margin) => make("td", "number", margin.toFixed(2).replace("-", "\u2212")));
      body.append(make("tr", "", make("td", "", name), ...numbers, make("td", verdict.startsWith("flips") ? "flip" : "", verdict)));
    }
    return make("div", "wide", body);
  }

  function draw(entry, section) {
    const dl = make("dl");
    const line = (name, kind, ...content) => dl.append(make("dt", "", name), make("dd", kind, ...content));
    for (const [role, text] of entry.prompt || []) line(role === "user" ? "request" : role, role === "user" ? "request" : "", ...highlight(text));
    if (entry.rounds) {
      line("response", "", ...highlight(entry.original));
      entry.rounds.forEach((round, i) => {
        const kept = round.response === round.previous;
        line(`critique ${i + 1}`, "critique", chip(round.principle), ...(round.faulty ? [] : [chip("no fault found", "good")]),
          ...(kept ? [chip("text kept")] : []), ...highlight(round.critique));
        if (kept) return;
        if (round.thoughts) line(`thoughts ${i + 1}`, "critique", fold("before the revision", round.thoughts));
        line(`revision ${i + 1}`, "", ...highlight(round.response));
        const place = dl.lastChild;
        pending.push(() => place.replaceChildren(...changed(round.previous, round.response)));
      });
    }
    for (const answer of entry.answers || []) {
      line(answer.policy, "", ...highlight(answer.response), "\n", ...answer.violated.map((p) => chip(`breaks ${p}`, "bad")),
        ...answer.judged.map((p) => chip(`judge: breaks ${p}`)), ...answer.marks.map((m) => chip(m, "bad")));
      if (answer.duels.length) line("judge's margins", "", margins("against", "shown first", "shown second", answer.duels));
    }
    if (section.kind === "Pair") {
      line("chosen", "", ...highlight(entry.chosen), ...safety(entry.safe[0]));
      line("rejected", "", ...highlight(entry.rejected), ...safety(entry.safe[1]));
      const noise = entry.noise ? [" ", chip("flipped on purpose", "bad")] : [];
      line("label", "", `P(chosen is better) = ${entry.label}, margin ${entry.margin}`, ...noise);
      if (entry.override) line("decided by", "", chip(`rule: ${entry.override}`, "decides"));
      const mark = (p) => p[0] === entry.deciding ? under([p[0], p[1], "decides"], "decides") : under(p);
      if (entry.under.length) line("principles", "", ...entry.under.map(mark));
    }
    for (const rating of entry.ratings || []) {
      const chips = rating.under.length ? ["\n", ...rating.under.map((p) => under(p))] : [];
      line(`score ${rating.score}`, "", ...highlight(rating.response), ...chips);
    }
    for (const [name, text] of entry.texts || []) line(name, "", ...highlight(text));
    if (section.kind === "Judgement" || section.kind === "Question") {
      line("A", "", ...highlight(entry.a));
      line("B", "", ...highlight(entry.b));
    }
    if ((entry.cells || []).length) line("margins for A", "", margins("principle", "A first", "B first", entry.cells));
    if ((entry.yes_no || []).length) line("log-odds of Yes", "", margins("principle", "of A", "of B", entry.yes_no));
    for (const [principle, first, rationale] of entry.rationales || [])
      line(`${first} first`, "critique", chip(principle), ...highlight(rationale));
    if (section.kind === "Dropped") {
      if (!entry.prompt.length && !entry.texts.length) line("record", "", ...highlight(entry.id));
      line("dropped by", "", entry.step);
      line("reason", "", chip(entry.reason, "bad"), ...(entry.detail ? ["\n", ...highlight(entry.detail)] : []));
    }
    return make("article", "card entry", make("span", "id", entry.id), dl);
  }

  let matches = [];
  let searches = 0, pagesShown = 0;  // count up, so that an older search or page stops when a newer one begins
  async function showPage() {
    const section = sections[steps.value], thisPage = ++pagesShown;
    const lastPage = Math.max(1, Math.ceil(matches.length / PAGE));
    const number = Math.min(Math.max(1, Math.floor(page.value) || 1), lastPage);
    const shown = matches.slice((number - 1) * PAGE, number * PAGE);
    const entries = await Promise.all(shown.map((index) => entryOf(section, index)));
    if (thisPage !== pagesShown) return;
    pending = [];
    list.replaceChildren(...entries.map((entry) => draw(entry, section)));
    page.value = number;
    [page.max, last.textContent, pages.hidden] = [lastPage, lastPage.toLocaleString("en"), lastPage < 2];
    [back.disabled, next.disabled] = [number < 2, number >= lastPage];
    setTimeout(runPending);
  }
  function goTo(number) { page.value = number; return showPage(); }
  function showCount(section, more = "") {
    const capped = section.shown < section.total ? `; the page holds the first ${section.shown} of ${section.total}` : "";
    count.textContent = `${matches.length} of ${section.shown} entries${capped}${more}`;
  }
  async function refresh() {
    const section = sections[steps.value], thisSearch = ++searches;
    const query = JSON.stringify(search.value.trim().toLowerCase()).slice(1, -1);  // as blocks hold it
    const sets = section.sets.map((names) => !principles.value || names.includes(principles.value));
    const flag = section.flags[show.value] || 0, kind = kinds.value === "" ? -1 : +kinds.value;
    const passesFilters = (i) => sets[section.of_set[i]] && (section.of_flags[i] & flag) === flag
      && (kind < 0 || section.of_kind[i] === kind);
    const fresh = [];
    let paused = performance.now(), early = false;
    for (let start = 0, number = 0; start < section.shown; start += section.block, number++) {
      const within = [];
      for (let i = 0, size = Math.min(section.block, section.shown - start); i < size; i++) if (passesFilters(start + i)) within.push(i);
      if (!query || !within.length) {
        for (const i of within) fresh.push(start + i);
        continue;
      }
      const { text, ends } = section.lower[number] || await lowercase(section, number);
      if (thisSearch !== searches) return;
      if (within.length < section.block / 4) {
        for (const i of within) if (text.slice(i ? ends[i - 1] : 0, ends[i]).includes(query)) fresh.push(start + i);
      } else {
        const fitting = new Set(within);
        for (let i = 0, at = text.indexOf(query); at >= 0; at = text.indexOf(query, ends[i++])) {
          while (ends[i] < at) i++;
          if (fitting.has(i)) fresh.push(start + i);
        }
      }
      if (performance.now() - paused < 60) continue;
      matches = fresh;  // a first search opens every block: show what it has so far
      showCount(section, ", still searching");
      if (!early && (early = fresh.length >= PAGE)) goTo(1);
      await new Promise((resume) => setTimeout(resume));
      if (thisSearch !== searches) return;
      paused = performance.now();
    }
    matches = fresh;
    showCount(section);
    await (early ? showPage() : goTo(1));
  }
  async function openAhead(section) {  // opens blocks while the page is idle, so that the first search is fast too
    for (let number = 0; number * section.block < section.shown && section === sections[steps.value]; number++)
      if (!section.lower[number]) {
        await lowercase(section, number);
        await new Promise((resume) => (window.requestIdleCallback || setTimeout)(resume));
      }
  }
  function chooseStep() {  // another step has other principles and other marks
    const section = sections[steps.value], names = [...new Set(section.sets.flat())].sort();
    const tally = (section, flag) => {
      let number = 0;
      for (const bits of section.of_flags) if (bits & section.flags[flag]) number++;
      return number;
    };
    const marks = Object.entries(SHOW).filter(([flag]) => section.flags[flag]);
    principles.replaceChildren(option("", "any principle"), ...names.map((name) => option(name, name)));
    show.replaceChildren(option("", "everything"), ...marks.map(([flag, text]) =>
      option(flag, `${text} (${tally(section, flag)})`)));
    kinds.replaceChildren(option("", section.kind === "Dropped" ? "any step" : "any kind"), ...section.kinds.map((name, i) => option(i, name)));
    [principles.hidden, show.hidden, kinds.hidden] = [!names.length, !marks.length, section.kinds.length < 2];
    const done = refresh();
    done.then(() => openAhead(section));
    return done;
  }
  sections.forEach((section, i) => steps.append(option(i, `${section.step} (${section.total})`)));
  steps.addEventListener("change", chooseStep);
  for (const control of [principles, show, kinds]) control.addEventListener("change", refresh);
  search.addEventListener("input", refresh);
  page.addEventListener("change", showPage);
  back.addEventListener("click", () => goTo(+page.value - 1));
  next.addEventListener("click", () => goTo(+page.value + 1));
  if (window.DecompressionStream) chooseStep();
  else count.textContent = "This browser is too old to unpack the rows; they are also in the run's parquet files.";
})();
