// A search field that suggests while somebody types: the combobox pattern with a list of options.

import * as api from "./api.js";
import { dot, make, say } from "./elements.js";

const place = ({ above }) =>
  above.length ? `a kind of ${above.at(-1)}${above.length > 1 ? `, under ${above.slice(0, -1).join(" › ")}` : ""}` : "one of the most general things";

export function combobox(input, { onChoose, label, states = false, limit = 12 }) {
  const list = make("ul", { role: "listbox", id: `${input.id}-list`, "aria-label": label });
  list.hidden = true;
  input.after(list);
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list",
  })) input.setAttribute(name, value);
  let matches = [], active = -1, running = null, asked = "";

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const mark = (next) => {
    const options = [...list.querySelectorAll('[role="option"]')];
    if (!options.length) return;
    active = (next + options.length) % options.length;
    options.forEach((option, each) => option.setAttribute("aria-selected", String(each === active)));
    options[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[active].id);
  };

  const choose = (match) => {
    running?.abort();
    input.value = match.name;
    asked = match.name.trim();
    close();
    onChoose(match);
  };

  const option = (match, each) => {
    const also = match.matched !== match.name.toLowerCase() ? ` (also called “${match.matched}”)` : "";
    return make(
      "li", { role: "option", id: `${list.id}-${each}`, "aria-selected": "false",
        onmousedown: (event) => event.preventDefault(), onclick: () => choose(match) },
      states ? dot(match.state) : null, states ? " " : null,
      make("b", {}, match.name), also,
      make("small", {}, place(match)),
    );
  };

  const show = (answer) => {
    matches = answer.matches;
    const note = answer.alike && matches.length
      ? make("li", { class: "none", role: "presentation" }, "No such name. Did you mean:") : null;
    list.replaceChildren(...[note].filter(Boolean), ...matches.map(option));
    if (!matches.length) list.append(make("li", { class: "none", role: "option", "aria-disabled": "true", "aria-selected": "false" },
      `Nothing is called “${answer.query}”. Try another word for it, or a more general one.`));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    active = -1;
    say(matches.length ? `${matches.length} suggestions, arrow down to choose` : "Nothing found");
  };

  const look = async () => {
    const text = input.value.trim();
    if (text === asked) return;
    asked = text;
    running?.abort();
    if (!text) return close();
    running = new AbortController();
    try {
      const answer = await api.search(text, limit, running.signal);
      if (input.value.trim() === text) show(answer);
    } catch (error) {
      if (error.name !== "AbortError") {
        list.replaceChildren(make("li", { class: "none", role: "option", "aria-disabled": "true", "aria-selected": "false" }, error.message));
        list.hidden = false;
        input.setAttribute("aria-expanded", "true");
      }
    }
  };

  input.addEventListener("input", look);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", () => setTimeout(close, 120));
  input.addEventListener("click", () => { if (list.hidden && list.children.length && input.value.trim()) { list.hidden = false; input.setAttribute("aria-expanded", "true"); } });
  input.addEventListener("keydown", async (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) { asked = ""; await look(); }
      mark(active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (input.value.trim() !== asked || list.hidden) { asked = ""; await look(); }
      if (matches.length && document.activeElement === input) choose(matches[Math.max(active, 0)]);
    } else if (event.key === "Escape") close();
  });
  return { close, clear: () => { input.value = ""; asked = ""; close(); } };
}
