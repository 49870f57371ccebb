"use strict";
// The browser of rows. Texts of models and users reach the page by textContent alone, never as markup.
(() => {
  const data = document.getElementById("rows");
  if (!data) return;
  const sections = JSON.parse(data.textContent), blocks = document.getElementsByClassName("block");
  const PAGE = 25, MOST_WORDS = 700, KEPT = 8, SLICE = 12;  // opened blocks that are kept; milliseconds of work at a time
  const SHOW = { faulty: "a critique found a fault", changed: "texts differ", unchanged: "texts are equal",
    violated: "breaks a principle", evasive: "is evasive", flips: "the judge flips with the order", opposite: "under an opposite",
    ruled: "a rule decided", noise: "label turned round on purpose", unsafe: "a response is unsafe" };
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
  async function lowered(section, number) {
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
  // A long revision takes a while to compare: its text is there at once, the marks come between two frames.
  let later = [];
  function work() {
    const until = performance.now() + SLICE;
    while (later.length && performance.now() < until) later.shift()();
    if (later.length) setTimeout(work);
  }

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
        if (kept) return;
        line(`revision ${i + 1}`, "", ...lit(round.response));
        const place = dl.lastChild;
        later.push(() => place.replaceChildren(...changed(round.previous, round.response)));
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

  let found = [], asked = 0, turned = 0;  // `asked` tells a search, `turned` a page that a newer one is wanted
  async function turn() {
    const section = sections[steps.value], mine = ++turned;
    const pages_ = Math.max(1, Math.ceil(found.length / PAGE)), number = Math.min(Math.max(1, Math.floor(page.value) || 1), pages_);
    const entries = await Promise.all(found.slice((number - 1) * PAGE, number * PAGE).map((index) => entryOf(section, index)));
    if (mine !== turned) return;
    later = [];
    list.replaceChildren(...entries.map((entry) => draw(entry, section)));
    page.value = number;
    [page.max, last.textContent, pages.hidden] = [pages_, pages_.toLocaleString("en"), pages_ < 2];
    [back.disabled, next.disabled] = [number < 2, number >= pages_];
    setTimeout(work);
  }
  function go(number) { page.value = number; return turn(); }
  function tell(section, more = "") {
    const capped = section.shown < section.total ? `; the page holds the first ${section.shown} of ${section.total}` : "";
    count.textContent = `${found.length} of ${section.shown} entries${capped}${more}`;
  }
  async function refresh() {
    const section = sections[steps.value], mine = ++asked, wanted = JSON.stringify(search.value.trim().toLowerCase()).slice(1, -1);
    const sets = section.sets.map((names) => !principles.value || names.includes(principles.value));
    const flag = section.flags[show.value] || 0, kind = kinds.value === "" ? -1 : +kinds.value;
    const fits = (i) => sets[section.of_set[i]] && (section.of_flags[i] & flag) === flag && (kind < 0 || section.of_kind[i] === kind);
    const matching = [];
    let rested = performance.now(), early = false;
    for (let start = 0, number = 0; start < section.shown; start += section.block, number++) {
      const within = [];
      for (let i = 0, size = Math.min(section.block, section.shown - start); i < size; i++) if (fits(start + i)) within.push(i);
      if (!wanted || !within.length) {
        for (const i of within) matching.push(start + i);
        continue;
      }
      const { text, ends } = section.lower[number] || await lowered(section, number);
      if (mine !== asked) return;
      if (within.length < section.block / 4) {
        for (const i of within) if (text.slice(i ? ends[i - 1] : 0, ends[i]).includes(wanted)) matching.push(start + i);
      } else {
        const fitting = new Set(within);
        for (let i = 0, at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, ends[i++])) {
          while (ends[i] < at) i++;
          if (fitting.has(i)) matching.push(start + i);
        }
      }
      if (performance.now() - rested < 60) continue;
      found = matching;  // a first search opens every block: what is there already is shown
      tell(section, ", still searching");
      if (!early && (early = matching.length >= PAGE)) go(1);
      await new Promise((resume) => setTimeout(resume));
      if (mine !== asked) return;
      rested = performance.now();
    }
    found = matching;
    tell(section);
    await (early ? turn() : go(1));
  }
  async function warm(section) {  // blocks are opened while nobody asks for anything, so that the first search is quick too
    for (let number = 0; number * section.block < section.shown && section === sections[steps.value]; number++)
      if (!section.lower[number]) {
        await lowered(section, number);
        await new Promise((resume) => (window.requestIdleCallback || setTimeout)(resume));
      }
  }
  function choose() {  // another step has other principles and other marks
    const section = sections[steps.value], names = [...new Set(section.sets.flat())].sort();
    const tally = (values, fits) => { let n = 0; for (const value of values) if (fits(value)) n++; return n; };
    const marks = Object.entries(SHOW).filter(([flag]) => section.flags[flag]);
    principles.replaceChildren(option("", "any principle"), ...names.map((name) => option(name, name)));
    show.replaceChildren(option("", "everything"), ...marks.map(([flag, text]) =>
      option(flag, `${text} (${tally(section.of_flags, (bits) => bits & section.flags[flag])})`)));
    kinds.replaceChildren(option("", section.kind === "Dropped" ? "any step" : "any kind"), ...section.kinds.map((name, i) => option(i, name)));
    [principles.hidden, show.hidden, kinds.hidden] = [!names.length, !marks.length, section.kinds.length < 2];
    const done = refresh();
    done.then(() => warm(section));
    return done;
  }
  sections.forEach((section, i) => steps.append(option(i, `${section.step} (${section.total})`)));
  steps.addEventListener("change", choose);
  for (const control of [principles, show, kinds]) control.addEventListener("change", refresh);
  search.addEventListener("input", refresh);
  page.addEventListener("change", turn);
  back.addEventListener("click", () => go(+page.value - 1));
  next.addEventListener("click", () => go(+page.value + 1));
  if (window.DecompressionStream) choose(); else count.textContent = "This browser is too old to unpack the rows; they are also in the run's parquet files.";
})();
