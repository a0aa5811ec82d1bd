"""Bytes that a step hands to collectives for the class rows: factors, and rows that are spread, against dense.

``python benchmarks/class_rows_wire.py``: each rank is a process over gloo on this machine. The trees are YOLO9000's
own (9,418 nodes) and every noun of WordNet's (82,114). Boxes and labels are drawn from all their nodes, wider than any
photographs would spread, and half of the images have a label alone. One convolution stands for the net: the factors
know of it only the number of channels, which is YOLO9000's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.distributed as dist
from torch import nn

from benchmarks.nets import tree_of
from yolo9000.datasets.loader import shares
from yolo9000.datasets.sample import Target
from yolo9000.detection.loss import joint_loss
from yolo9000.models import YOLO9000_PRIORS, BoxCoding, RegionSpec, TreeClasses
from yolo9000.models.class_shards import ANSWERS, FEATURES, ClassShard, ranges_of
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.distributed import start_processes, stop_processes
from yolo9000.training.factors import sum_table, tables_of
from yolo9000.training.sharding import ShardedRows, own_rows

CHANNELS, SIDE = 1024, 13


class Net(nn.Module):
    """A convolution in place of the backbone, under the real head."""

    def __init__(self, region: RegionSpec) -> None:
        super().__init__()
        self.region = region
        self.conv = nn.Conv2d(3, CHANNELS, 1)
        self.head = TreeHead(CHANNELS, region.coding, region.classes.number)

    def forward(self, images: torch.Tensor) -> object:
        rows = self.head.rows
        return self.head(self.conv(images), rows)


def work(rank: int, world: int, port: int, net: Net, batch: int, boxes: int) -> None:
    """One rank: the gradient both ways, and what was sent."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    processes = start_processes(torch.device("cpu"))
    region, nodes = net.region, net.region.classes.number
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(batch * world, 3, SIDE, SIDE, generator=generator)
    targets = []
    for _ in range(batch * world):
        places = torch.rand(boxes, 4, generator=generator) * 0.5 + 0.25
        labels = torch.randint(nodes, (boxes,), generator=generator)
        joint = torch.rand((), generator=generator) < 0.5
        targets.append(Target.of_image(int(labels[0])) if joint else Target(places, labels))
    own = shares(batch * world, world)[rank]

    def backward() -> None:
        output = net(images[own.start : own.stop])
        terms = joint_loss(output, targets[own.start : own.stop], region, images_seen=10**6)
        torch.stack(list(terms.values())).sum().backward()

    (table,) = tables_of(net)
    backward()
    began = time.perf_counter()
    sum_table(table, processes)
    seconds = time.perf_counter() - began
    ours, sent = table.weight.grad if rank == 0 else None, processes.sent["class rows"]
    table.weight.grad = None  # of 252 M weights four ranks cannot keep two
    table.release()
    backward()
    dense_gradient = table.weight.grad
    assert isinstance(dense_gradient, torch.Tensor)
    began = time.perf_counter()
    for rows in dense_gradient.split(1 << 14):
        dist.all_reduce(rows)
    dense_seconds = time.perf_counter() - began
    tree = region.classes.tree
    assert tree is not None
    dense_of_own = own_rows(dense_gradient, ClassShard(tree, ranges_of(tree, world), processes))
    difference = 0.0 if ours is None else float(ours.sub_(dense_gradient).abs_().max())
    largest = float(dense_gradient.abs_().max())  # of 252 M weights there is no room for a copy
    difference /= largest
    dense = table.weight.numel() * 4
    ShardedRows(net, processes)  # each rank has a range of the rows from here on
    net.zero_grad()
    backward()
    of_own = net.head.class_weight.grad
    assert isinstance(of_own, torch.Tensor)
    spread_difference = torch.tensor(float((of_own - dense_of_own).abs().max()) / largest)
    dist.all_reduce(spread_difference, op=dist.ReduceOp.MAX)
    features, answers = processes.sent[FEATURES], processes.sent[ANSWERS]
    if rank == 0:
        # what a rank sends on the way: of a ring 2 (R - 1) / R times the array, of an all-gather R - 1 times its part,
        # and where each process gets another part all but its own
        wire, dense_wire = sent * (world - 1), dense * 2 * (world - 1) / world
        spread_wire = features * (world - 1) + answers * (world - 1) / world
        print(
            f"| {nodes:,} | {world} | {sent / 1e6:.2f} | {dense / 1e6:.1f} | {sent / dense:.2%} "
            f"| {wire / dense_wire:.2%} | {difference:.1e} | {seconds:.2f} | {dense_seconds:.2f} "
            f"| {features / 1e6:.2f} + {answers / 1e6:.2f} | {spread_wire / dense_wire:.2%} "
            f"| {float(spread_difference):.1e} | {len(of_own) / (dense / 4 / CHANNELS):.1%} |",
            flush=True,
        )
    stop_processes(processes)


def main() -> None:
    """Print a row for each size of the tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[9418, 82114])
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8, help="images of each rank")
    parser.add_argument("--boxes", type=int, default=7, help="in an image with boxes; COCO has 7 on average")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    columns = "nodes, ranks, factors MB, dense MB, handed over, on the wire, largest difference, s, dense s"
    columns += ", spread: features + answers MB, on the wire, largest difference, rows of a rank"
    print(f"| {columns.replace(', ', ' | ')} |")
    print("|" + " --- |" * len(columns.split(", ")))
    for nodes in asked.nodes:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torch.manual_seed(0)
        net = Net(RegionSpec(classes=TreeClasses(tree_of(nodes)), coding=BoxCoding(YOLO9000_PRIORS)))
        fork = multiprocessing.get_context("fork")  # the ranks share the memory of the weights
        ranks = [
            fork.Process(target=work, args=(rank, asked.ranks, port, net, asked.batch, asked.boxes))
            for rank in range(asked.ranks)
        ]
        for each in ranks:
            each.start()
        for each in ranks:
            each.join()
        if any(each.exitcode for each in ranks):
            sys.exit(f"{nodes} nodes: a rank failed")


if __name__ == "__main__":
    main()
