// The tree as a picture that can be zoomed: general on the left, exact on the right, as tall as there are kinds.
// Only what is taller than a pixel is drawn, so the work follows the pixels and not the 9,418 nodes.

import { count, make } from "./elements.js";

const COLUMN = 104; // least width of a level
const LEAST_TEXT = 13;
const READABLE = 15; // least height of the chosen one, if that can be had
const MILLISECONDS = 260;

export class Picture {
  constructor(canvas, outline, { onChoose, crumbs, note, marks }) {
    Object.assign(this, { canvas, outline, onChoose, crumbs, note, marks });
    this.filter = "all";
    this.focus = -1; // the node that fills the left column; -1 for the whole tree
    this.chosen = -1;
    this.hovered = -1;
    this.view = this.windowOf(-1);
    this.shapes = [];
    canvas.addEventListener("pointermove", (event) => this.hover(this.at(event)));
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("click", (event) => this.click(this.at(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.draw());
    }
    this.showCrumbs();
    this.say(-1);
  }

  windowOf(place) {
    const { outline } = this;
    return place < 0 ? { low: 0, high: outline.total, depth: -1 }
      : { low: outline.start[place], high: outline.start[place] + outline.leaves[place], depth: outline.depth[place] };
  }

  setFilter(filter) {
    this.filter = filter;
    this.draw();
  }

  // Go to a node: it, or its parent for a leaf, fills the left column.
  zoom(place) {
    if (place >= 0 && !this.outline.children[place]) place = this.outline.parent[place];
    this.focus = place;
    this.showCrumbs();
    const from = { ...this.view }, to = this.windowOf(place);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const begun = performance.now();
    cancelAnimationFrame(this.frame);
    const step = (now) => {
      const t = still ? 1 : Math.min(1, Math.max(0, now - begun) / MILLISECONDS);
      const eased = 1 - (1 - t) ** 3;
      for (const key of ["low", "high", "depth"]) this.view[key] = from[key] + (to[key] - from[key]) * eased;
      this.draw();
      if (t < 1) this.frame = requestAnimationFrame(step);
    };
    step(begun + (still ? MILLISECONDS : 0));
  }

  reveal(place) {
    this.chosen = place;
    // some levels above, so that one sees what it is beside, but not so many that it cannot be read
    const { outline } = this;
    const height = this.canvas.clientHeight || 500;
    let focus = outline.children[place] ? place : outline.parent[place];
    for (let levels = 1; focus >= 0 && levels < this.columns() - 1; levels++) {
      const up = outline.parent[focus];
      if ((outline.leaves[place] / (up < 0 ? outline.total : outline.leaves[up])) * height < READABLE) break;
      focus = up;
    }
    this.zoom(focus);
    this.say(place);
  }

  columns() {
    return Math.max(3, Math.min(7, Math.floor(this.canvas.clientWidth / COLUMN)));
  }

  draw() {
    const { canvas, outline, view } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const paint = canvas.getContext("2d");
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = { ground: colour("card"), ink: colour("ink"), soft: colour("soft"), line: colour("line"), boxes: colour("boxes"), labels: colour("labels"), accent: colour("accent"), dark: matchMedia("(prefers-color-scheme: dark)").matches };
    paint.fillStyle = this.colours.ground;
    paint.fillRect(0, 0, width, height);
    const wide = width / this.columns();
    const scale = height / (view.high - view.low);
    const base = view.depth < 0 ? view.depth + 1 : view.depth; // depth of the left column
    this.shapes = [];
    paint.font = "13px system-ui, sans-serif";
    paint.textBaseline = "middle";
    const visit = (place) => {
      const y = (outline.start[place] - view.low) * scale, tall = outline.leaves[place] * scale;
      if (y > height || y + tall < 0) return;
      const x = (outline.depth[place] - base) * wide;
      if (x >= width) return;
      if (x + wide > 0) this.shape(paint, place, x, y, wide, tall, height);
      const first = outline.firstChild[place];
      if (first < 0) return;
      let thin = null; // neighbours below a pixel become one mass
      for (let child = first; child < first + outline.children[place]; child++) {
        const childTall = outline.leaves[child] * scale;
        if (childTall >= 1) {
          visit(child);
          continue;
        }
        const childY = (outline.start[child] - view.low) * scale;
        if (thin && childY - thin.end < 1) thin.end = childY + childTall;
        else { this.mass(paint, thin, x + wide, wide); thin = { begin: childY, end: childY + childTall, child }; }
      }
      this.mass(paint, thin, x + wide, wide);
    };
    const begin = view.depth < 0 || this.focus < 0 ? outline.top : [outline.pathTo(this.focus)[0]];
    for (const place of begin) visit(place);
    const chosen = this.shapes.find((each) => each.place === this.chosen);
    if (chosen && chosen.tall < LEAST_TEXT) this.tag(paint, chosen, width, height);
  }

  // The name of the chosen one beside it, where it is too thin to hold it.
  tag(paint, shape, width, height) {
    const text = this.outline.name[shape.place];
    paint.font = "bold 13px system-ui, sans-serif";
    const wide = Math.min(paint.measureText(text).width + 14, width - 4);
    const x = shape.x + shape.wide + 6 + wide < width ? shape.x + shape.wide + 6 : shape.x - wide - 6;
    const y = Math.min(Math.max(shape.y + shape.tall / 2 - 11, 2), height - 24);
    paint.fillStyle = this.colours.ink;
    paint.fillRect(x, y, wide, 22);
    paint.fillStyle = this.colours.ground;
    paint.fillText(text, x + 7, y + 11, wide - 14);
  }

  mass(paint, thin, x, wide) {
    if (!thin || x >= this.canvas.clientWidth) return;
    paint.fillStyle = this.fill(thin.child);
    paint.globalAlpha = 0.5;
    paint.fillRect(x, thin.begin, wide - 1, Math.max(1, thin.end - thin.begin));
    paint.globalAlpha = 1;
  }

  fill(place) {
    const { outline, colours } = this;
    if (this.marks) {
      const state = outline.state[place];
      if (this.filter !== "all" && state !== this.filter) return colours.soft;
      if (state === "b") return colours.boxes;
      if (state === "l") return colours.labels;
      return colours.soft;
    }
    // related things look related: the hue follows the place in what is shown
    const middle = outline.start[place] + outline.leaves[place] / 2;
    const share = (middle - this.view.low) / (this.view.high - this.view.low);
    const hue = 20 + 290 * Math.min(1, Math.max(0, share));
    const light = colours.dark ? 24 + (outline.depth[place] % 2) * 5 : 86 - (outline.depth[place] % 2) * 5;
    return `hsl(${hue} ${colours.dark ? 32 : 58}% ${light}%)`;
  }

  shape(paint, place, x, y, wide, tall, height) {
    const { outline, colours } = this;
    const top = Math.max(y, 0), bottom = Math.min(y + tall, height);
    this.shapes.push({ place, x, y: top, wide, tall: bottom - top });
    const fill = this.fill(place);
    paint.fillStyle = fill;
    const gap = tall > 4 ? 1 : 0;
    paint.fillRect(x, top, wide - 1, Math.max(bottom - top - gap, 0.6));
    const strong = this.marks && (fill === colours.boxes || fill === colours.labels);
    if (place === this.chosen || place === this.hovered) {
      paint.strokeStyle = colours.ink;
      paint.lineWidth = place === this.chosen ? 3 : 1.5;
      paint.strokeRect(x + 1.5, top + 1.5, wide - 4, Math.max(bottom - top - 4, 1));
    }
    if (bottom - top < LEAST_TEXT) return;
    paint.fillStyle = strong ? (colours.dark ? "#0c1626" : "#ffffff") : colours.ink;
    if (place === this.chosen) paint.font = "bold 13px system-ui, sans-serif";
    const room = wide - 14;
    let text = outline.name[place];
    if (paint.measureText(text).width > room) {
      let length = text.length;
      while (length > 1 && paint.measureText(`${text.slice(0, length)}…`).width > room) length--;
      text = `${text.slice(0, length).trimEnd()}…`;
    }
    paint.fillText(text, x + 7, (top + bottom) / 2);
    paint.font = "13px system-ui, sans-serif";
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left - this.canvas.clientLeft, y = event.clientY - box.top - this.canvas.clientTop;
    return this.shapes.findLast((each) => x >= each.x && x < each.x + each.wide && y >= each.y && y < each.y + each.tall)?.place ?? -1;
  }

  hover(place) {
    if (place === this.hovered) return;
    this.hovered = place;
    this.say(place < 0 ? this.chosen : place);
    this.draw();
  }

  click(place) {
    if (place < 0) return;
    this.chosen = place;
    if (place === this.focus) this.zoom(this.outline.parent[place]); // the leftmost: back
    else this.zoom(place);
    this.onChoose(place);
  }

  key(event) {
    const { outline } = this;
    const beside = (step) => {
      const group = outline.childrenOf(this.chosen < 0 ? -1 : outline.parent[this.chosen]);
      return group[(group.indexOf(this.chosen) + step + group.length) % group.length];
    };
    const to = {
      ArrowDown: () => (this.chosen < 0 ? outline.top[0] : beside(1)),
      ArrowUp: () => (this.chosen < 0 ? outline.top[0] : beside(-1)),
      ArrowRight: () => (this.chosen < 0 ? outline.top[0] : outline.childrenOf(this.chosen)[0]),
      ArrowLeft: () => (this.chosen < 0 ? undefined : outline.parent[this.chosen]),
      Home: () => -1,
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const place = to();
    if (place === undefined) return;
    this.chosen = place;
    this.zoom(place < 0 ? -1 : outline.parent[place]);
    this.say(place);
    if (place >= 0) this.onChoose(place);
  }

  showCrumbs() {
    const steps = [-1, ...(this.focus < 0 ? [] : this.outline.pathTo(this.focus))];
    this.crumbs.replaceChildren(...steps.map((place, each) => {
      const name = place < 0 ? "everything" : this.outline.name[place];
      return make("li", {}, each === steps.length - 1
        ? make("span", { "aria-current": "true" }, name)
        : make("button", { type: "button", onclick: () => { this.zoom(place); if (place >= 0) { this.chosen = place; this.onChoose(place); } } }, name));
    }));
  }

  say(place) {
    const { outline } = this;
    if (place < 0) this.note.textContent = `${count(outline.size, "kind")} of things.`;
    else {
      const inside = outline.children[place] ? `: ${count(outline.leaves[place], "kind")} at its ends` : "";
      this.note.textContent = `${outline.name[place]}${inside}`;
    }
  }
}
