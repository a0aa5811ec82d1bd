"""The largest tree that WordNet has: one trains on it and predicts with it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wordtree import build_wordtree
from wordtree.wordnet import open_wordnet
from yolo9000.datasets.sample import Target
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.models import YOLO9000_PRIORS, BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.training.config import OptimiserConfig
from yolo9000.training.objectives import detection_objective
from yolo9000.training.optimiser import build_optimizer


@pytest.mark.slow
def test_every_noun_is_learnt_and_named() -> None:
    """A net that sees one labelled box again and again names it, of 82,114 nouns, down to the label."""
    wordnet = open_wordnet()
    tree = build_wordtree(wordnet.descendants(wordnet.wnid("entity.n.01")), root="entity.n.01")
    label = tree.node("Norfolk_terrier.n.01")
    region = RegionSpec(coding=BoxCoding(YOLO9000_PRIORS), classes=TreeClasses(tree))
    torch.manual_seed(0)
    net = Detector(DetectorConfig(width=0.1, batch_norm_momentum=0.2), region).train()
    optimizer = build_optimizer(net, OptimiserConfig(optimizer="adamw", learning_rate=0.01))
    images = torch.rand(2, 3, 64, 64)
    truth = Target(torch.tensor([[0.5, 0.5, 0.9, 0.9]]), torch.tensor([label]))
    targets = [truth, Target.of_image(label)]
    for step in range(1, 31):
        terms = detection_objective(region)(net(images), targets, 100_000 * step)
        (torch.stack(list(terms.values())).sum() / 2).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found = detect(net.eval()(images), region.classes, DecodeConfig(threshold=0.3))[0]
    assert len(found)
    assert int(found.nodes[0]) == label
    assert found.paths is not None
    assert len(found.paths[0]) == len(tree.path(label)) > 10
