// Drawings: values under the pointer and by keyboard, lines that their legend hides
const swatch = (group) => {
  const icon = draw("svg", { viewBox: "0 0 26 12", width: 26, height: 12, "aria-hidden": "true" });
  const path = group.querySelector("path[style]");
  const use = group.querySelector("use[style]");
  const line = path?.style.stroke && !path.closest("defs") ? path.style : null;
  if (line && line.stroke !== "none") {
    const style = `fill:none;stroke-width:2;stroke:${line.stroke};stroke-dasharray:${line.strokeDasharray || "none"}`;
    icon.append(draw("path", { d: "M1 6H25", style }));
  } else if (path && !path.closest("defs")) {
    icon.append(draw("rect", { x: 4, y: 1, width: 18, height: 10, style: `fill:${path.style.fill}` }));
  }
  if (use) {
    const marker = use.cloneNode();
    marker.setAttribute("x", 13);
    marker.setAttribute("y", 6);
    icon.append(marker);
  }
  return icon;
};

const legend = (name, svg, values, hidden, changed) => {
  const groups = (label) =>
    values.lines.flatMap((line, i) =>
      line.name === label ? [...svg.querySelectorAll(`[data-line="${i}"]`)] : []);
  const bar = make("div", { class: "legend", role: "group", "aria-label": "Lines" });
  for (const label of values.legend) {
    const drawn = groups(label);
    if (!drawn.length) continue;
    const button = make("button", { type: "button" }, swatch(drawn[0]), label || "all");
    const show = (shown) => {
      button.setAttribute("aria-pressed", shown);
      for (const group of drawn) group.style.display = shown ? "" : "none";
      if (shown) hidden.delete(label);
      else hidden.add(label);
      changed();
    };
    const key = `${name}:${label}`;
    show(!choice.getAll("hide").includes(key));
    button.addEventListener("click", () => {
      show(hidden.has(label));
      const others = choice.getAll("hide").filter((each) => each !== key);
      keep("hide", hidden.has(label) ? [...others, key] : others);
    });
    bar.append(button);
  }
  const drawnLegend = svg.querySelector("[data-legend]");
  const box = drawnLegend.getBBox();
  const { width, height } = svg.viewBox.baseVal;
  const top = box.y + box.height;
  drawnLegend.style.display = "none";
  svg.setAttribute("viewBox", `0 ${top} ${width} ${height - top}`);
  return bar;
};

const readable = (figureElement) => {
  const svg = figureElement.querySelector("svg");
  const values = data(figureElement.querySelector("script"));
  const hidden = new Set();
  const shown = () => values.lines.filter((line) => !hidden.has(line.name) && line.points.length);
  const title = figureElement.querySelector("figcaption b")?.textContent ?? "the drawing";
  const box = make("div", { class: "plot", tabindex: 0, role: "application",
    "aria-label": `Values of ${title}: arrow keys` });
  const note = make("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  const spoken = make("span", { class: "spoken", role: "status" });
  const ring = draw("circle", { r: 5, class: "ring" });
  let line = 0;
  let at = -1;
  const hide = () => {
    note.hidden = true;
    ring.remove();
    at = -1;
  };
  const show = ([x, y, text], name) => {
    const words = name && !text.startsWith(name) && shown().length > 1 ? `${name} · ${text}` : text;
    note.textContent = words;
    note.hidden = false;
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    svg.append(ring);
    const place = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
    const frame = box.getBoundingClientRect();
    const left = Math.min(Math.max(place.x - frame.left - note.offsetWidth / 2, 0), frame.width - note.offsetWidth);
    const above = place.y - frame.top - note.offsetHeight - 10;
    note.style.left = `${left}px`;
    note.style.top = `${above < 0 ? place.y - frame.top + 12 : above}px`;
    return words;
  };
  const nearest = (x, y, lines) => {
    const matrix = svg.getScreenCTM();
    let best = null;
    for (const one of lines) {
      for (const point of one.points) {
        const place = new DOMPoint(point[0], point[1]).matrixTransform(matrix);
        const far = Math.hypot(place.x - x, place.y - y);
        if (!best || far < best.far) best = { far, point, one };
      }
    }
    return best;
  };
  const under = (event) => {
    const best = nearest(event.clientX, event.clientY, shown());
    if (best && best.far <= REACH_PX) show(best.point, best.one.name);
    else hide();
  };
  box.addEventListener("pointermove", under);
  box.addEventListener("pointerdown", under);
  box.addEventListener("pointerleave", hide);
  box.addEventListener("blur", hide);
  box.addEventListener("keydown", (event) => {
    const lines = shown();
    if (event.key === "Escape") hide();
    if (!lines.length || event.ctrlKey || event.metaKey || event.altKey) return;
    line = Math.min(line, lines.length - 1);
    const last = lines[line].points.length - 1;
    const steps = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last };
    if (event.key in steps) {
      at = steps[event.key];
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const x = lines[line].points[Math.max(at, 0)][0];
      line = (line + (event.key === "ArrowDown" ? 1 : lines.length - 1)) % lines.length;
      const gaps = lines[line].points.map((point) => Math.abs(point[0] - x));
      at = gaps.indexOf(Math.min(...gaps));
    } else {
      return;
    }
    event.preventDefault();
    spoken.textContent = show(lines[line].points[at], lines[line].name);
  });
  svg.replaceWith(box);
  box.append(svg, note);
  if (values.legend.length > 1) box.before(legend(figureElement.dataset.plot, svg, values, hidden, hide));
  box.after(spoken);
};
