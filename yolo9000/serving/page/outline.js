// The whole tree in columns, one entry a node, parents first and the children of a node beside each other.

export const LETTERS = { b: "boxes", l: "labels", n: "none" };

export class Outline {
  constructor(columns) {
    Object.assign(this, columns);
    const size = this.node.length;
    this.size = size;
    this.placeOf = new Map(this.node.map((node, place) => [node, place]));
    this.firstChild = new Int32Array(size).fill(-1);
    this.depth = new Int16Array(size);
    this.boxedBelow = new Int32Array(size); // the node itself counts
    this.labelledBelow = new Int32Array(size);
    this.start = new Float64Array(size); // leaves before it, from the top of the picture
    this.top = [];
    this.total = 0;
    for (let place = 0; place < size; place++) {
      const parent = this.parent[place];
      if (parent < 0) {
        this.top.push(place);
        this.start[place] = this.total;
        this.total += this.leaves[place];
        continue;
      }
      this.depth[place] = this.depth[parent] + 1;
      if (this.firstChild[parent] < 0) {
        this.firstChild[parent] = place;
        this.start[place] = this.start[parent];
      } else this.start[place] = this.start[place - 1] + this.leaves[place - 1];
    }
    for (let place = size - 1; place >= 0; place--) {
      this.boxedBelow[place] += this.state[place] === "b";
      this.labelledBelow[place] += this.state[place] === "l";
      const parent = this.parent[place];
      if (parent < 0) continue;
      this.boxedBelow[parent] += this.boxedBelow[place];
      this.labelledBelow[parent] += this.labelledBelow[place];
    }
  }

  // The places of the children: of -1 those of the top nodes.
  childrenOf(place) {
    if (place < 0) return this.top;
    const first = this.firstChild[place];
    return first < 0 ? [] : Array.from({ length: this.children[place] }, (_, each) => first + each);
  }

  pathTo(place) {
    const path = [];
    for (let step = place; step >= 0; step = this.parent[step]) path.unshift(step);
    return path;
  }

  // How many nodes of a filter ("all", "b", "l") are here or below.
  passing(place, filter) {
    return filter === "b" ? this.boxedBelow[place] : filter === "l" ? this.labelledBelow[place] : 1;
  }
}
