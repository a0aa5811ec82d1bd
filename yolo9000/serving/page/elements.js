// Making elements without markup in strings, so that a name is always text.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const svg = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

export const dot = (state) => make("span", { class: `dot ${state}`, "aria-hidden": "true" });
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
export const article = (name) => (/^[aeiou]/i.test(name) ? "an" : "a");
export const percent = (p) => (p >= 0.995 && p < 1 ? ">99 %" : p < 0.005 && p > 0 ? "<1 %" : `${Math.round(100 * p)} %`);

let clearing;
export function say(text) {
  const live = $("live");
  live.textContent = "";
  clearTimeout(clearing);
  clearing = setTimeout(() => (live.textContent = text), 30);
}

export function complain(error) {
  $("problem").textContent = error ? error.message : "";
  $("problem").hidden = !error;
}
