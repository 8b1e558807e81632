// What the page does beyond being read. Texts from results become text nodes only.
const SVG = "http://www.w3.org/2000/svg";
const NARROW = "\u202f";
const REACH_PX = 60;

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const draw = (tag, attributes = {}) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const data = (element) => JSON.parse(element.textContent);

// The choice, which the address keeps behind `#?`
const choice = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
const keep = (key, values) => {
  choice.delete(key);
  for (const value of values) if (value) choice.append(key, value);
  const text = String(choice);
  history.replaceState(null, "", text ? `#?${text}` : "#");
};
addEventListener("hashchange", () => location.hash.startsWith("#?") && location.reload());

// Figures as texts, as `report/text/numbers.py` has them
const number = (value) => {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(Number(value.toPrecision(3))))));
  const [whole, rest] = value.toFixed(Math.min(places, 6)).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, NARROW) + (rest ? `.${rest}` : "");
};
const figure = (value, unit) =>
  unit === "ms" && value >= 1000 ? `${number(value / 1000)}${NARROW}s` : `${number(value)}${NARROW}${unit}`;
