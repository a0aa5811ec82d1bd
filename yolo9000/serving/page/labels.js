// The two thresholds, as `predict` applies them, but here, so that sliding asks nobody.

// Place in its path of a box's label: the most general one that it may have, and each next one while its P is above the
// threshold.
export function labelOf({ path, first }, treeThreshold) {
  let place = first;
  while (place + 1 < path.length && path[place + 1].probability > treeThreshold) place++;
  return place;
}

export const scoreOf = (box, place) => Math.fround(Math.fround(box.objectness) * Math.fround(box.path[place].probability));

// Whether two labels can be of one thing: the same, siblings, or one above the other.
function related(a, b) {
  const nodeA = a.box.path[a.place].node;
  const nodeB = b.box.path[b.place].node;
  if (nodeA === nodeB) return true;
  const parent = ({ box, place }) => (place ? box.path[place - 1].node : -1);
  if (parent(a) === parent(b)) return true;
  const isOn = (node, { box, place }) => box.path.slice(0, place).some((step) => step.node === node);
  return isOn(nodeA, b) || isOn(nodeB, a);
}

// The boxes that are shown, the best score first: [{index, box, place, score}].
export function shownBoxes(boxes, threshold, treeThreshold, most) {
  const rows = boxes.map((box, index) => {
    const place = labelOf(box, treeThreshold);
    return { index, box, place, score: scoreOf(box, place) };
  });
  const order = [...rows].sort((a, b) => b.score - a.score || a.index - b.index);
  const dropped = new Set();
  const kept = [];
  for (const row of order) {
    if (row.score <= threshold || kept.length === most) break;
    if (dropped.has(row.index)) continue;
    kept.push(row);
    for (const other of row.box.overlaps) if (related(row, rows[other])) dropped.add(other);
  }
  return kept;
}
