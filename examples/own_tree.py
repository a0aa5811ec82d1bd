"""A tree of your own nouns, and of one that WordNet lacks: `python examples/own_tree.py`.

From a list in a file: `yolo9000 tree build --names nouns.txt --out mine.json`.
"""

from wordtree import build_wordtree, load_tree, save_tree

tree = build_wordtree(["forklift", "pallet.n.02", "pallet jack < truck.n.01", "dog.n.01", "cat.n.01"])
for node in range(len(tree)):
    print(tree.describe(node, levels=9))
save_tree(tree, "mine.json")
assert load_tree("mine.json").digest == tree.digest
print("written to mine.json: yolo9000 train --tree mine.json ..")
