// The page: tabs, and one chosen node that list, picture and panel share.

import * as api from "./api.js";
import { $, complain, count, dot, make, say } from "./elements.js";
import { showClasses, showNode } from "./node.js";
import { Outline } from "./outline.js";
import { PhotoPage } from "./photo.js";
import { Picture } from "./picture.js";
import { combobox } from "./search.js";
import { TreeList } from "./treelist.js";

let overview, outline, list, picture;
let asked = 0;
const wnids = new Map();

function openTab(name, { focus = false } = {}) {
  for (const each of ["tree", "photo"]) {
    const tab = $(`tab-${each}`), mine = each === name;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    $(`panel-${each}`).hidden = !mine;
    if (mine && focus) tab.focus();
  }
  complain(null);
}

function tabs() {
  const names = ["tree", "photo"];
  for (const [each, name] of names.entries()) {
    $(`tab-${name}`).addEventListener("click", () => openTab(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) { event.preventDefault(); openTab(names[(each + step + names.length) % names.length], { focus: true }); }
    });
  }
}

// Show a node everywhere; `from` is the part that was used, and stays as it is.
async function go(node, { from = "", focus = false, remember = true } = {}) {
  openTab("tree"); // at once: whoever goes on to the other tab meanwhile is not called back
  const mine = ++asked;
  try {
    const view = await api.node(node);
    if (mine !== asked) return; // something else was chosen since
    wnids.set(view.wnid, node);
    showNode(view, overview, (other) => go(other, { focus: true }));
    const place = outline.placeOf.get(node);
    if (place !== undefined) {
      if (from === "list") { list.items.get(list.chosen)?.setAttribute("aria-selected", "false"); list.chosen = place; list.items.get(place)?.setAttribute("aria-selected", "true"); }
      else list.reveal(place);
      if (from !== "picture") picture.reveal(place);
    }
    if (remember) history.pushState({ node }, "", `#${encodeURIComponent(view.wnid)}`);
    document.title = `${view.name} – WordTree explorer`;
    say(`${view.name}, ${view.path.at(-2) ? `a kind of ${view.path.at(-2).name}` : "at the top"}`);
    if (focus) {
      $("node-title").focus({ preventScroll: true });
      const box = $("node").getBoundingClientRect();
      if (box.top < 0 || box.top > innerHeight - 160) $("node").scrollIntoView({ block: "start" });
    }
  } catch (error) {
    complain(error);
  }
}

async function goToHash() {
  const wnid = decodeURIComponent(location.hash.slice(1));
  if (!wnid || wnid === "main") return; // the link to the content
  if (wnid === "photo") return openTab("photo");
  try {
    const node = wnids.get(wnid) ?? (await api.find(wnid)).node;
    await go(node, { remember: false });
  } catch (error) {
    complain(error);
  }
}

function filters() {
  $("filter").hidden = !overview.run;
  for (const radio of document.querySelectorAll('[name="filter"]')) {
    radio.addEventListener("change", async () => {
      list.setFilter(radio.value);
      picture.setFilter(radio.value);
      if (radio.value === "all") { $("classes").hidden = true; return; }
      const state = radio.value === "b" ? "boxes" : "labels";
      try {
        showClasses(await api.classes(state), state, (node) => go(node, { focus: true }));
        say($("classes-title").textContent);
      } catch (error) {
        complain(error);
      }
    });
  }
}

function legend() {
  const lines = overview.run
    ? [["boxes", "had boxes in training"], ["labels", "never had a box: learnt from whole labelled photos"], ["none", "not taught by name"]]
    : [];
  $("legend").replaceChildren(...lines.map(([state, text]) => make("li", {}, dot(state), text)));
  if (!overview.run) $("legend").append(make("li", { class: "quiet" }, "Neighbours have like colours."));
}

async function start() {
  tabs();
  try {
    [overview, outline] = await Promise.all([api.overview(), api.outline().then((columns) => new Outline(columns))]);
  } catch (error) {
    return complain(error);
  }
  const { run } = overview;
  $("lead").firstChild.textContent = `A tree of ${overview.nodes.toLocaleString("en")} kinds of things, from general (`;
  $("origin").textContent = run
    ? `net: ${run.name}${run.sources.length ? `, trained on ${run.sources.join(" and ")}` : ""}; ${count(run.boxed, "class", "classes")} with boxes, ${run.labelled.toLocaleString("en")} without`
    : `tree: ${overview.tree}, without a net`;
  list = new TreeList($("tree"), outline, { marks: Boolean(run), onChoose: (place) => go(outline.node[place], { from: "list" }) });
  picture = new Picture($("picture"), outline, { marks: Boolean(run), crumbs: $("crumbs"), note: $("picture-note"), onChoose: (place) => go(outline.node[place], { from: "picture" }) });
  $("node").classList.add("empty");
  combobox($("search"), { label: "Suggestions", states: Boolean(run), onChoose: (match) => go(match.node, { focus: true }) });
  filters();
  legend();
  new PhotoPage(overview, (node) => go(node, { focus: true }));
  window.addEventListener("popstate", goToHash);
  await goToHash();
  document.body.dataset.ready = "true";
}

start();
