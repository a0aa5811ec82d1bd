// A photo: sent, drawn with its boxes, relabelled as the sliders move, and asked about box by box.

import * as api from "./api.js";
import { $, article, complain, count, make, percent, say, svg } from "./elements.js";
import { shownBoxes } from "./labels.js";
import { combobox } from "./search.js";

export class PhotoPage {
  constructor(overview, showNode) {
    this.overview = overview;
    this.showNode = showNode;
    this.found = null;
    this.chosen = -1;
    $("no-net").hidden = Boolean(overview.run);
    $("photo-tools").hidden = !overview.run;
    if (!overview.run) return;
    const limits = overview.photos;
    $("file").accept = limits.types.join(",");
    $("drop-hint").textContent = `The photo goes to this server and nowhere else. At most ${Math.round(limits.bytes / 1e6)} MB and ${Math.round(limits.pixels / 1e6)} million pixels.`;
    $("choose").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => { if ($("file").files[0]) this.send($("file").files[0]); $("file").value = ""; });
    this.listenToDrops();
    this.listenToCamera();
    for (const [id, value] of [["threshold", overview.threshold], ["tree-threshold", overview.tree_threshold]]) {
      $(id).value = value;
      $(id).addEventListener("input", () => this.relabel());
    }
    this.ask = combobox($("ask-input"), { label: "Things to ask about", limit: 8, onChoose: (match) => this.answer(match) });
  }

  listenToDrops() {
    const zone = $("drop");
    const isPhotoTab = () => !$("panel-photo").hidden;
    document.addEventListener("dragover", (event) => { if (isPhotoTab()) { event.preventDefault(); zone.classList.add("over"); } });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      if (!isPhotoTab()) return;
      event.preventDefault();
      zone.classList.remove("over");
      const file = event.dataTransfer.files[0];
      if (file) this.send(file);
      else complain(new Error("That was no file. Save the picture first, then drop the file here."));
    });
    document.addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
      if (isPhotoTab() && file) this.send(file);
    });
  }

  listenToCamera() {
    const video = $("video");
    const stop = () => {
      video.srcObject?.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
      $("camera-box").hidden = true;
    };
    $("camera").addEventListener("click", async () => {
      complain(null);
      try {
        if (!navigator.mediaDevices) throw new Error("The browser gives a camera to pages of this machine (localhost) or of https alone.");
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        $("camera-box").hidden = false;
        await video.play();
        $("shoot").focus();
      } catch (error) {
        stop();
        const words = { NotAllowedError: "The browser was not allowed to use the camera.", NotFoundError: "There is no camera." };
        complain(new Error(words[error.name] || error.message));
      }
    });
    $("cancel").addEventListener("click", () => { stop(); $("camera").focus(); });
    $("shoot").addEventListener("click", () => {
      const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      stop();
      canvas.toBlob((blob) => this.send(blob), "image/jpeg", 0.92);
    });
  }

  async send(file) {
    complain(null);
    const { types, bytes } = this.overview.photos;
    if (file.size > bytes) return complain(new Error(`The file has ${Math.round(file.size / 1e6)} MB; ${Math.round(bytes / 1e6)} are the most that is taken.`));
    if (!types.includes(file.type)) return complain(new Error("This is no photo that can be read. JPEG, PNG, WebP, GIF, BMP and TIFF can."));
    this.sending?.abort(); // the newest photo is meant
    const sending = (this.sending = new AbortController());
    $("status").textContent = "Looking at the photo …";
    $("panel-photo").setAttribute("aria-busy", "true");
    try {
      const found = await api.sendPhoto(file, file.type, sending.signal, (seconds) => {
        $("status").textContent = `Others have sent photos as well. Trying again in ${count(seconds, "second")} …`;
      });
      if (this.url) URL.revokeObjectURL(this.url);
      this.url = URL.createObjectURL(file);
      $("photo").src = this.url;
      $("photo").width = found.width;
      $("photo").height = found.height;
      this.found = found;
      this.never = new Set(found.never_boxed);
      this.chosen = -1;
      this.asked = null;
      $("answer").replaceChildren();
      this.ask.clear();
      $("result").hidden = false;
      $("drop").classList.add("small");
      this.relabel();
      if (this.shown.length) this.choose(this.shown[0].index, { focus: false });
    } catch (error) {
      if (error.name === "AbortError") return;
      $("status").textContent = "";
      complain(error);
    } finally {
      if (sending === this.sending) $("panel-photo").removeAttribute("aria-busy");
    }
  }

  relabel() {
    const threshold = Number($("threshold").value), treeThreshold = Number($("tree-threshold").value);
    $("threshold-value").textContent = threshold.toFixed(2);
    $("tree-threshold-value").textContent = percent(treeThreshold);
    $("tree-threshold").setAttribute("aria-valuetext", percent(treeThreshold));
    if (!this.found) return;
    this.treeThreshold = treeThreshold;
    this.shown = shownBoxes(this.found.boxes, threshold, treeThreshold, this.found.most);
    this.draw();
    const n = this.shown.length;
    const told = `${n ? count(n, "box", "boxes") : "No box"} above the score; the photo took ${this.found.seconds.toFixed(2)} s.${n ? "" : " Slide the first slider to the left to see what it was less sure of."}${this.found.cut ? " There were more boxes than are kept." : ""}`;
    if ($("status").textContent !== told) $("status").textContent = told; // said aloud only when it changes
    clearTimeout(this.telling);
    this.telling = setTimeout(() => say(`${count(this.shown.length, "box", "boxes")}: ${this.shown.slice(0, 5).map((row) => this.nameOf(row)).join(", ")}`), 500);
    if (this.chosen >= 0) this.describe();
  }

  nameOf(row) { return row.box.path[row.place].name; }

  starOf(row) { return this.never.has(row.box.path[row.place].node) ? "*" : ""; }

  draw() {
    const { width, height } = this.found;
    const layer = $("boxes");
    const focused = document.activeElement?.closest?.("g.box")?.dataset.index;
    layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    layer.replaceChildren();
    const unit = Math.max(width, height) / Math.max(320, Math.min(720, $("stage").clientWidth || 640)); // a pixel of the page
    const size = 14 * unit;
    const tags = [];
    // the largest first, so that small ones lie above and can be clicked
    const area = ({ box }) => (box.box_xyxy[2] - box.box_xyxy[0]) * (box.box_xyxy[3] - box.box_xyxy[1]);
    for (const row of [...this.shown].sort((a, b) => area(b) - area(a))) {
      const [x0, y0, x1, y1] = row.box.box_xyxy;
      const { colour } = row.box.path[row.place]; // relatives have related colours
      const chosen = row.index === this.chosen;
      const name = `${this.nameOf(row)}${this.starOf(row)}`;
      const group = svg("g", {
        class: "box", role: "button", tabindex: "0", "data-index": row.index, "aria-pressed": String(chosen),
        "aria-label": `${name}, score ${row.score.toFixed(2)}`,
      }, svg("rect", { class: "under", x: x0, y: y0, width: Math.max(x1 - x0, 1), height: Math.max(y1 - y0, 1) }),
      svg("rect", { class: "frame", x: x0, y: y0, width: Math.max(x1 - x0, 1), height: Math.max(y1 - y0, 1), stroke: colour }));
      const pick = () => this.choose(row.index);
      group.addEventListener("click", pick);
      group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(); } });
      layer.append(group);
      tags.push({ row, name: `${name} ${row.score.toFixed(2)}`, colour, x: x0, y: y0, chosen });
    }
    const placed = [];
    for (const tag of tags.sort((a, b) => b.row.score - a.row.score)) {
      const text = svg("text", { "font-size": size, "font-family": "system-ui, sans-serif", "font-weight": 600, fill: "#14171b" });
      text.textContent = tag.name;
      const holder = svg("g", { class: "tag", "aria-hidden": "true" });
      layer.append(holder);
      holder.append(text);
      const wide = text.getComputedTextLength() + 10 * unit, tall = size * 1.4;
      const x = Math.max(0, Math.min(tag.x, width - wide));
      // above the box if there is room, or the first place further down that no better label has
      let y = tag.y - tall >= 0 ? tag.y - tall : tag.y;
      const hits = () => placed.some((other) => x < other.x + other.wide && other.x < x + wide && y < other.y + other.tall && other.y < y + tall);
      for (let tries = 0; hits() && tries < 12; tries++) y = Math.min(y + tall * 0.55, height - tall);
      placed.push({ x, y, wide, tall });
      holder.prepend(svg("rect", { x, y, width: wide, height: tall, rx: 3 * unit, fill: tag.colour }));
      text.setAttribute("x", x + 5 * unit);
      text.setAttribute("y", y + size * 1.02);
    }
    if (focused !== undefined) layer.querySelector(`[data-index="${focused}"]`)?.focus({ preventScroll: true });
    $("star-hint").hidden = !this.shown.some((row) => this.starOf(row));
    const buttons = this.shown.map((row) => make("li", {}, make("button", {
      type: "button", "aria-pressed": String(row.index === this.chosen), onclick: () => this.choose(row.index),
    }, `${this.nameOf(row)}${this.starOf(row)}`, make("small", {}, row.score.toFixed(2)))));
    $("box-list").replaceChildren(...(buttons.length ? buttons : [make("li", { class: "quiet" }, "None at this score. Slide to the left for more.")]));
  }

  choose(index, { focus = true } = {}) {
    const changed = index !== this.chosen;
    this.chosen = index;
    this.draw();
    this.describe();
    if (changed && this.asked) this.answer(this.asked);
    if (focus && matchMedia("(max-width: 1080px)").matches) $("box-title").focus();
  }

  // Why the box has its name: P at every level of its path, and where the label stops.
  describe() {
    const row = this.shown.find((each) => each.index === this.chosen);
    $("ask").hidden = !row;
    if (!row) {
      $("box-title").textContent = "This box is not shown now";
      $("box-body").replaceChildren(make("p", {}, "Its score is below the first slider, or a better box covers it. Click another one."));
      return;
    }
    const { path } = row.box;
    const name = this.nameOf(row);
    const next = path[row.place + 1];
    const line = percent(this.treeThreshold);
    $("box-title").textContent = `Why “${name}”?`;
    const why = next
      ? ["The label stops at ", make("b", {}, name), `: the best next step would be `, make("b", {}, next.name), `, and the net is only ${percent(next.probability)} sure of it. Your line is at ${line}.`]
      : [make("b", {}, name), path[row.place].children ? "" : " is as exact as the tree gets", `. The net is ${percent(path[row.place].probability)} sure; your line is at ${line}.`];
    const low = path[row.place].probability <= this.treeThreshold
      ? make("p", { class: "hint" }, "It is below the line even so: a box always gets the most general name that it may have.") : null;
    const bars = make("ol", { class: "bars", "aria-label": "How sure the net is, from general to exact" }, path.map((step, place) => {
      const fill = make("span", { class: "fill" }), mark = make("span", { class: "line" });
      fill.style.width = `${100 * step.probability}%`;
      mark.style.left = `${100 * this.treeThreshold}%`;
      const kind = place < row.place ? "named" : place === row.place ? "named label" : "beyond";
      return make("li", { class: kind },
        make("button", { type: "button", title: "See it in the tree", onclick: () => this.showNode(step.node) }, `${step.name}${this.never.has(step.node) ? "*" : ""}`),
        make("span", { class: "bar", "aria-hidden": "true" }, fill, mark),
        make("span", { class: "number" }, percent(step.probability)));
    }));
    $("box-body").replaceChildren(...[
      make("p", {}, ...why), low, bars,
      make("p", { class: "hint" }, "The upright line is your second slider. A label goes down as long as the bar reaches beyond it."),
      make("p", {}, "Score ", make("b", {}, row.score.toFixed(2)), ` = ${percent(row.box.objectness)} sure that there is a thing × ${percent(path[row.place].probability)} sure that it is ${article(name)} ${name}.`),
    ].filter(Boolean));
  }

  async answer(match) {
    this.asked = match;
    if (this.chosen < 0) return;
    try {
      const found = await api.factors(this.found.photo, this.chosen, match.node);
      let soFar = 1;
      const weakest = found.factors.reduce((low, each) => (each.probability < low.probability ? each : low), found.factors[0]);
      const rows = found.factors.map((each) => {
        soFar *= each.probability;
        return make("li", { class: each === weakest && each.probability < 0.5 && found.factors.length > 1 ? "weak" : "" },
          make("span", {}, make("b", {}, each.name), each.given ? `, if it is ${article(each.given)} ${each.given}` : ""),
          make("span", {}, `× ${each.probability.toFixed(each.probability < 0.01 ? 4 : 2)}`),
          make("span", { class: "so-far" }, `= ${soFar < 0.001 ? soFar.toExponential(1) : soFar.toFixed(3)}`));
      });
      $("answer").replaceChildren(
        make("p", { class: "product" }, `Is it ${article(found.name)} `, make("b", {}, found.name), "? The net is ", make("b", {}, found.probability < 0.005 ? `${(100 * found.probability).toPrecision(2)} %` : percent(found.probability)), " sure, given that there is a thing."),
        make("ol", { class: "times", "aria-label": "The choices that multiply" }, rows),
        make("p", { class: "hint" }, "Each line is one choice on the way down the tree. They multiply, so one doubtful step makes all below it doubtful."));
    } catch (error) {
      $("answer").replaceChildren(make("p", { class: "problem" }, error.message));
    }
  }
}
