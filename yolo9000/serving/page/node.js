// What is known about one node, in sentences.

import { $, article, count, dot, make } from "./elements.js";

const chip = (each, go, note) =>
  make("li", {}, make("button", { type: "button", onclick: () => go(each.node) },
    each.state && each.state !== "none" ? dot(each.state) : null, each.name, note ? make("small", {}, note) : null));

const more = (shown, total) => (total > shown ? make("p", { class: "hint" }, `${count(total - shown, "other")} not shown; the list has them all.`) : null);

function trained(view, run) {
  if (!run) return null;
  const kinds = `${count(view.below.boxes, "kind")} below had boxes, ${count(view.below.labels, "kind")} below never had one.`;
  const score = view.score
    ? make("p", { class: "hint" }, `Found how well: ${view.score.ap50.toFixed(2)} of 1 (average precision over ${count(view.score.boxes, "thing")} in photos it had never seen).`)
    : null;
  const { boxes, images, about } = view.taught || {};
  const thing = `${article(view.name)} ${view.name}`;
  const drawn = run.sources.includes("scenes of pictograms");
  const frames = drawn ? `Drawn scenes came with a frame around each ${view.name}`
    : `People drew ${boxes ? count(boxes, "frame") : "a frame"} around ${thing} in photos`;
  const photo = drawn ? "drawn picture" : "photo";
  const many = `${about ? "about " : ""}${count(images || 0, photo)}`;
  const text = {
    boxes: [make("b", {}, "Had boxes in training. "), `${frames}, so the net was told where it is and what it is.`,
      images ? ` Besides, ${many} had this label as a whole.` : ""],
    labels: [make("b", {}, "Never had a box. "),
      `The net only saw ${images ? many : `whole ${photo}s`} with this label${images ? " as a whole" : ""}: it was told what is in them, never where.`],
    none: view.below.nodes
      ? [make("b", {}, "Not taught by this name. "), "The net knows it from its kinds: ", kinds]
      : [make("b", {}, "Not taught. "), `No training ${photo} had this name.`],
  }[view.state];
  return make("div", { class: `fact ${view.state}` }, make("p", {}, ...text),
    view.state !== "none" && view.below.boxes + view.below.labels ? make("p", { class: "hint" }, kinds) : null, score);
}

export function showNode(view, overview, go) {
  const parent = view.path.at(-2);
  $("node").classList.remove("empty");
  $("node-title").textContent = view.name;
  const path = make("ol", { class: "path", "aria-label": "The way from general to exact" },
    view.path.map((step, each) => make("li", {}, each === view.path.length - 1
      ? make("span", { "aria-current": "true" }, step.name)
      : make("button", { type: "button", onclick: () => go(step.node) }, step.name))));
  const about = parent
    ? make("p", {}, "A kind of ", make("b", {}, parent.name), `, ${count(view.depth, "step")} below the top.`,
      view.below.leaves ? ` It has ${count(view.children_total, "kind")}${view.below.leaves > view.children_total ? `, which branch into ${count(view.below.leaves, "exact one")}` : ""}.` : " It is as exact as the tree gets.")
    : make("p", {}, "One of the most general things. ", `It has ${count(view.below.leaves, "exact kind")} below it.`);
  const names = make("dl", {});
  const also = [...new Set([...view.also, ...Object.values(view.classes)])].filter((name) => name !== view.name);
  if (also.length) names.append(make("dt", {}, "Also called"), make("dd", {}, also.slice(0, 12).join(", ")));
  const sets = Object.entries(view.classes).map(([source, name]) => `${source} (“${name}”)`);
  if (sets.length) names.append(make("dt", {}, "A class of"), make("dd", {}, sets.join(", ")));
  names.append(make("dt", {}, "In WordNet"), make("dd", {}, make("code", {}, view.synset || view.wnid), view.synset ? ", " : "", view.synset ? make("code", {}, view.wnid) : null));
  $("node-body").replaceChildren(...[
    path, about, trained(view, overview.run),
    view.siblings.length ? make("h3", {}, parent ? `Other kinds of ${parent.name} (its siblings, ${view.siblings_total})` : `Beside it at the top (${view.siblings_total})`) : make("p", { class: "hint" }, parent ? `The only kind of ${parent.name} in this tree.` : ""),
    view.siblings.length ? make("ul", { class: "chips" }, view.siblings.map((each) => chip(each, go))) : null,
    more(view.siblings.length, view.siblings_total),
    view.children.length ? make("h3", {}, `Kinds of ${view.name} (${view.children_total})`) : null,
    view.children.length ? make("ul", { class: "chips" }, view.children.map((each) => chip(each, go))) : null,
    more(view.children.length, view.children_total),
    make("h3", {}, "Names"), names,
    make("p", { class: "hint" }, "WordNet is a dictionary of meanings. It gives each meaning of a word a name and a number, as one word can mean several things."),
  ].filter(Boolean));
}

export function showClasses(answer, state, go) {
  $("classes").hidden = false;
  $("classes-title").textContent = state === "labels"
    ? `${count(answer.total, "class", "classes")} that never had a box` : `${count(answer.total, "class", "classes")} that had boxes`;
  const scored = answer.classes.some((each) => each.ap50 !== null);
  $("classes-about").textContent = (state === "labels"
    ? "The net learnt them from whole labelled photos alone; nobody drew a frame around one."
    : "For these, people drew a frame around each thing in the training photos.")
    + (scored ? " The number says how well they are found, from 0 to 1 (average precision)." : "");
  $("classes-list").replaceChildren(...answer.classes.map((each) => chip(each, go, each.ap50 === null ? null : each.ap50.toFixed(2))));
}
