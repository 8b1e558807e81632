// The table of cells: sorted, filtered, and two of them compared
const plain = (text) => text.toLowerCase().replace(/\s+/g, " ").trim();
const condition = (text, columns) => {
  const parts = text.match(/^(.*?)\s*(<=|>=|!=|≤|≥|=|<|>)\s*(.*)$/);
  if (!parts) return (cell) => plain(`${cell.name} ${cell.verdict} ${cell.reasons.join(" ")}`).includes(plain(text));
  const [, title, sign, wanted] = parts;
  const place = columns.findIndex((column) => plain(column.title) === plain(title));
  if (place < 0) throw new Error(`There is no column “${title}”.`);
  const amount = wanted.match(/^(-?\d+(?:\.\d+)?|-?\.\d+)\s*(ms|s|%)?$/i);
  const number = amount && Number(amount[1]) * (amount[2]?.toLowerCase() === "s" && columns[place].unit === "ms" ? 1000 : 1);
  const compares = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "=": (a, b) => a === b, "!=": (a, b) => a !== b };
  const holds = compares[{ "≤": "<=", "≥": ">=" }[sign] ?? sign];
  if (!["=", "!="].includes(sign) && !amount) throw new Error(`“${sign}” wants a number, not “${wanted}”.`);
  return (cell) => {
    const value = cell.values[place];
    if (value === null) return false; // unknown is neither below nor above anything
    if (typeof value === "number" && amount) return holds(value, number);
    return ["=", "!="].includes(sign) && holds(plain(String(value)), plain(wanted));
  };
};
const conditions = (text, columns) =>
  text.split(/[,;]|\sand\s/i).map((each) => each.trim()).filter(Boolean).map((each) => condition(each, columns));

const comparison = (base, chosen, all) => {
  const rows = all.metrics.map((metric, i) => {
    const one = ratio(chosen.repeats[i], base.repeats[i], all.confidence);
    if (!one) return null;
    const mean = (cell) => cell.repeats[i].reduce((sum, value) => sum + value, 0) / cell.repeats[i].length;
    const found = finding(one, metric.higher_is_better, all.margin, all.same_margins);
    return make("tr", {},
      make("th", { scope: "row", class: "text" }, metric.title),
      make("td", {}, figure(mean(base), metric.unit)),
      make("td", {}, figure(mean(chosen), metric.unit)),
      make("td", {}, percent(one)),
      make("td", { class: "text" },
        make("span", { class: `badge ${all.looks[found]}` }, `${all.marks[found]} ${found}`)));
  }).filter(Boolean);
  const heads = ["Figure", "A", "B", "B against A (95\u202f% interval)", "Of the figure"];
  const head = make("tr", {}, ...heads.map((text, i) =>
    make("th", { scope: "col", ...(i === 0 || i === 4 ? { class: "text" } : {}) }, text)));
  const failed = [["A", base], ["B", chosen]].filter(([, cell]) => cell.verdict === "fail");
  const doubts = failed.map(([side, cell]) => `${side} failed: ${cell.reasons.join(", ")}.`);
  return [
    make("p", {}, make("b", {}, "A "), base.name, make("br"), make("b", {}, "B "), chosen.name,
      ...(doubts.length ? [make("br"), make("span", { class: "badge fail" }, doubts.join(" "))] : [])),
    rows.length
      ? make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Two cells compared" },
          make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)))
      : make("p", {}, "There is no figure that both have."),
  ];
};

const sortable = (section) => {
  const all = data(section.querySelector("script"));
  const table = section.querySelector("table");
  const body = table.tBodies[0];
  const rows = all.cells.map(() => []);
  for (const row of body.rows) rows[row.dataset.cell].push(row);
  const box = section.querySelector(".scroll");

  const input = make("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false",
    placeholder: "verdict = pass, TTFT p95 < 500", "aria-describedby": "filter-state" });
  const state = make("p", { id: "filter-state", class: "sub", role: "status" });
  const names = all.columns.map((column) => column.title + (column.unit ? ` (${column.unit})` : "")).join(", ");
  const help = make("details", {}, make("summary", {}, "What can be asked"),
    make("p", {}, "Conditions, with commas between them, each a column, one of = != < <= > >= and a value; " +
      "a word without a sign is looked for in a cell’s name and checks. Times are in ms unless “s” follows. " +
      "A figure that isn’t known meets no condition. " +
      "A click on a heading sorts; the boxes pick two cells to compare; the address keeps all of it."),
    make("p", {}, `Columns: ${names}.`));
  const panel = make("div", { class: "two", "aria-live": "polite" });
  box.before(make("div", { class: "ask" }, make("label", { for: "filter" }, "Filter"), input), state, help, panel);

  const filter = () => {
    let tests = [];
    let wrong = "";
    try {
      tests = conditions(input.value, all.columns);
    } catch (error) {
      wrong = error.message;
    }
    let count = 0;
    all.cells.forEach((cell, i) => {
      const fits = tests.every((test) => test(cell));
      count += fits;
      for (const row of rows[i]) row.hidden = !fits;
    });
    input.setAttribute("aria-invalid", Boolean(wrong));
    state.textContent = wrong || `${count} of ${all.cells.length} cells`;
  };
  input.addEventListener("input", () => {
    filter();
    keep("filter", [input.value.trim()]);
  });

  const headings = [...table.tHead.rows[0].cells];
  const sort = (place, direction) => {
    const order = all.cells.map((_, i) => i);
    if (direction) {
      order.sort((a, b) => {
        const [one, other] = [all.cells[a].values[place], all.cells[b].values[place]];
        if (one === null || other === null) return (one === null) - (other === null); // unknown comes last
        const rank = typeof one === "number" && typeof other === "number"
          ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
        return direction * rank;
      });
    }
    body.append(...order.flatMap((i) => rows[i]));
    headings.forEach((heading, i) => {
      if (i === place && direction) heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
  };
  headings.forEach((heading, place) => {
    const button = make("button", { type: "button", class: "sort" }, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: -1, descending: 0 }[heading.getAttribute("aria-sort")] ?? 1;
      sort(place, next);
      keep("sort", next ? [`${all.columns[place].title}:${next}`] : []);
    });
  });

  let picks = choice.getAll("pick").map((name) => all.cells.findIndex((cell) => cell.name === name))
    .filter((i) => i >= 0).slice(0, 2);
  const boxes = all.cells.map((cell, i) => {
    const pick = make("input", { type: "checkbox", "aria-label": `Compare ${cell.name}` });
    rows[i][0].cells[0].prepend(pick);
    pick.addEventListener("change", () => {
      picks = pick.checked ? [...picks.slice(-1), i] : picks.filter((each) => each !== i);
      compare();
      keep("pick", picks.map((each) => all.cells[each].name));
    });
    return pick;
  });
  const compare = () => {
    boxes.forEach((pick, i) => (pick.checked = picks.includes(i)));
    panel.replaceChildren();
    if (picks.length === 1) panel.append(make("p", { class: "sub" }, "One cell is picked: pick a second one to compare them."));
    if (picks.length === 2) panel.append(...comparison(all.cells[picks[0]], all.cells[picks[1]], all));
  };

  input.value = choice.get("filter") ?? "";
  filter();
  const [title, direction] = (choice.get("sort") ?? "").split(/:(?=-?1$)/);
  const place = all.columns.findIndex((column) => column.title === title);
  if (place >= 0) sort(place, Number(direction));
  compare();
  if (["filter", "sort", "pick"].some((key) => choice.has(key))) section.scrollIntoView();
};
