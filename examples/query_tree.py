"""Questions to a tree, without a net: `python examples/query_tree.py`."""

import torch

from wordtree import TreeDistribution, load_tree

tree = load_tree("yolo9000")
terrier = tree.node("Norfolk terrier")
print(" > ".join(tree.names[node] for node in tree.path(terrier)))
print("siblings:", ", ".join(tree.names[node] for node in list(tree.siblings(terrier))[:5]), "..")
relative = tree.lowest_common_ancestor(terrier, tree.node("Siamese cat"))
print("a Norfolk terrier and a Siamese cat are both a", tree.names[relative])

logits = torch.zeros(len(tree))  # what a net would answer for one box
logits[list(tree.path(terrier))] = 6.0
answer = TreeDistribution(tree, logits)
print(answer.explain("Norfolk terrier"))
for threshold in (0.5, 0.75, 0.9):
    print(f"at least {threshold} sure:", tree.names[int(answer.back_off(threshold))])
