// The tree as a list: the treeview pattern. Children are made when a line is opened, 200 at a time.

import { dot, make } from "./elements.js";
import { LETTERS } from "./outline.js";

const AT_ONCE = 200;

export class TreeList {
  constructor(root, outline, { onChoose, marks }) {
    Object.assign(this, { root, outline, onChoose, marks });
    this.filter = "all";
    this.items = new Map(); // place -> its line
    this.chosen = -1;
    root.addEventListener("keydown", (event) => this.key(event));
    this.draw();
  }

  draw() {
    this.items.clear();
    this.root.replaceChildren();
    this.add(this.root, -1, 0);
    const first = this.root.querySelector('[role="treeitem"]');
    if (first) first.tabIndex = 0;
  }

  setFilter(filter) {
    this.filter = filter;
    this.draw();
    if (filter !== "all") { // open the first ways down, so that one sees what is meant
      let opened = 0;
      for (let place = 0; place < this.outline.size && opened < 12; place++) {
        if (this.items.has(place) && this.outline.children[place]) { this.open(place); opened++; }
      }
    }
    if (this.chosen >= 0) this.reveal(this.chosen, { scroll: false });
  }

  // Append the lines of the children of a node, from the one of a number on.
  add(list, parent, from) {
    const places = this.outline.childrenOf(parent).filter((place) => this.outline.passing(place, this.filter));
    for (const [each, place] of places.slice(from, from + AT_ONCE).entries()) {
      list.append(this.line(place, from + each + 1, places.length));
    }
    if (places.length <= from + AT_ONCE) return;
    const more = make("li", { role: "treeitem", tabIndex: -1, "aria-level": this.level(parent) + 1 },
      make("div", { class: "row" }, make("span", { class: "twist" }), `… ${places.length - from - AT_ONCE} more`));
    const show = () => { more.remove(); this.add(list, parent, from + AT_ONCE); this.focus(places[from + AT_ONCE]); };
    more.addEventListener("click", (event) => { event.stopPropagation(); show(); });
    more.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); show(); } });
    list.append(more);
  }

  level(place) { return place < 0 ? 0 : this.outline.depth[place] + 1; }

  line(place, position, total) {
    const { outline } = this;
    const inside = outline.children[place];
    const item = make("li", {
      role: "treeitem", tabIndex: -1, "aria-level": this.level(place), "aria-setsize": total, "aria-posinset": position,
      "aria-selected": String(place === this.chosen), "aria-expanded": inside ? "false" : undefined,
    });
    const state = LETTERS[outline.state[place]];
    const words = { boxes: ", had boxes", labels: ", never had a box", none: "" }[state];
    item.setAttribute("aria-label", `${outline.name[place]}${words}${inside ? `, ${inside} kinds` : ""}`);
    const row = make("div", { class: "row" },
      make("span", { class: "twist", "aria-hidden": "true" }, inside ? "▶" : ""),
      this.marks && state !== "none" ? dot(state) : null,
      make("span", {}, outline.name[place]),
      inside ? make("span", { class: "count", "aria-hidden": "true", title: `${outline.leaves[place]} kinds at its ends` }, outline.leaves[place].toLocaleString("en")) : null);
    row.addEventListener("click", (event) => {
      if (inside && (event.target.classList.contains("twist") || place === this.chosen)) this.toggle(place);
      else { if (inside) this.open(place); this.onChoose(place); }
      this.focus(place);
    });
    item.append(row);
    item.place = place;
    this.items.set(place, item);
    return item;
  }

  isOpen(place) { return this.items.get(place)?.getAttribute("aria-expanded") === "true"; }

  open(place) {
    const item = this.items.get(place);
    if (!item || !this.outline.children[place] || this.isOpen(place)) return;
    item.setAttribute("aria-expanded", "true");
    if (item.lastElementChild.tagName === "UL") item.lastElementChild.hidden = false;
    else {
      const list = make("ul", { role: "group" });
      this.add(list, place, 0);
      item.append(list);
    }
  }

  toggle(place) {
    if (!this.isOpen(place)) return this.open(place);
    const item = this.items.get(place);
    item.setAttribute("aria-expanded", "false");
    item.lastElementChild.hidden = true;
  }

  // Open the way to a node and mark it.
  reveal(place, { scroll = true } = {}) {
    for (const step of this.outline.pathTo(place).slice(0, -1)) {
      this.open(step);
      const next = this.items.get(step)?.lastElementChild;
      while (next?.tagName === "UL" && !this.outline.pathTo(place).some((each) => this.outline.parent[each] === step && this.items.has(each))) {
        const more = [...next.children].at(-1); // the node is in a part that was not shown yet
        if (!more || more.place !== undefined) break;
        more.click();
      }
    }
    this.items.get(this.chosen)?.setAttribute("aria-selected", "false");
    this.chosen = place;
    const item = this.items.get(place);
    if (!item) return;
    item.setAttribute("aria-selected", "true");
    this.tabStop(item);
    if (scroll) {
      const box = this.root;
      const row = item.firstElementChild;
      const [outer, inner] = [box.getBoundingClientRect(), row.getBoundingClientRect()];
      box.scrollTop += inner.top - outer.top - box.clientHeight / 3;
      const beyond = inner.left + row.scrollWidth - outer.right; // deep in the tree, to the right
      box.scrollLeft = Math.max(0, beyond > 0 || box.scrollLeft ? box.scrollLeft + inner.left - outer.left - 44 : 0);
    }
  }

  tabStop(item) {
    for (const other of this.root.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    item.tabIndex = 0;
  }

  focus(place) {
    const item = this.items.get(place);
    if (!item) return;
    this.tabStop(item);
    item.focus({ preventScroll: true });
    item.firstElementChild.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  key(event) {
    const item = event.target.closest('[role="treeitem"]');
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const lines = [...this.root.querySelectorAll('[role="treeitem"]')].filter((each) => each.offsetParent !== null);
    const at = lines.indexOf(item);
    const go = (line) => { if (line) { this.tabStop(line); line.focus(); } };
    const place = item.place;
    const keys = {
      ArrowDown: () => go(lines[at + 1]),
      ArrowUp: () => go(lines[at - 1]),
      Home: () => go(lines[0]),
      End: () => go(lines.at(-1)),
      ArrowRight: () => (place === undefined || !this.outline.children[place] ? null : this.isOpen(place) ? go(lines[at + 1]) : this.open(place)),
      ArrowLeft: () => (this.isOpen(place) ? this.toggle(place) : go(item.parentElement.closest('[role="treeitem"]'))),
      Enter: () => { if (place !== undefined) { this.open(place); this.onChoose(place); } },
      " ": () => { if (place !== undefined) this.onChoose(place); },
    };
    if (event.key in keys) {
      event.preventDefault();
      keys[event.key]();
    } else if (event.key.length === 1) { // the next line that begins with the letter
      const found = [...lines.slice(at + 1), ...lines.slice(0, at + 1)].find((line) =>
        line.place !== undefined && this.outline.name[line.place].toLowerCase().startsWith(event.key.toLowerCase()));
      go(found);
    }
  }
}
