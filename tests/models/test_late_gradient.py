"""The gradient of a table is the usual one, and is made after those of the net."""

from __future__ import annotations

import pytest
import torch

from yolo9000.models.late_gradient import Factors, late_table, multiply_out


def test_the_gradients_are_those_of_plain_products() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    first, second = torch.tensor([0, 4]), torch.tensor([4, 1, 2])
    table = late_table(weight)
    found = []
    for one, two, whole in (
        (table.product(features, first), table.product(features[:2], second), table.weight),
        (features @ weight[first].t(), features[:2] @ weight[second].t(), weight),
    ):
        loss = one.square().sum() + two.sin().sum() + whole[:2].exp().sum()
        found.append(torch.autograd.grad(loss, [weight, features]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_two_backward_passes_add_up() -> None:
    weight, one = torch.ones(3, 1, requires_grad=True), torch.ones(1, 1)
    for _ in range(2):
        late_table(weight).product(one, torch.tensor([2])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [0, 0, 2]
    kept = late_table(weight).product(one, torch.tensor([0])).sum()
    kept.backward(retain_graph=True)
    kept.backward()
    assert weight.grad.flatten().tolist() == [2, 0, 2]


def test_a_partial_backward_pass_before_is_not_counted() -> None:
    weight, features = torch.ones(3, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    loss = late_table(weight).product(features, torch.tensor([1])).sum()
    torch.autograd.grad(loss, features, retain_graph=True)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [0, 1, 0]


def test_it_is_made_after_the_gradients_of_the_net_in_between() -> None:
    order: list[str] = []
    weight, x = torch.ones(3, 2, requires_grad=True), torch.ones(4, 2, requires_grad=True)
    weight.register_hook(lambda gradient: order.append("table"))
    x.register_hook(lambda gradient: order.append("net"))
    table = late_table(weight)
    features = (x * 2).tanh()  # the net
    table.product(features, torch.tensor([0, 2])).sum().backward()
    assert order == ["net", "table"]
    order.clear()
    features = (x * 2).tanh()
    (features @ weight.index_select(0, torch.tensor([0, 2])).t()).sum().backward()
    assert order == ["table", "net"]  # as autograd would do it


@pytest.mark.parametrize("requires_grad", [False, True])
def test_without_gradients_it_is_the_weight(requires_grad: bool) -> None:
    weight = torch.ones(3, 2, requires_grad=requires_grad)
    with torch.no_grad():
        table = late_table(weight)
    assert table.put_by is None
    assert table.weight is weight
    assert table.product(torch.ones(4, 2), torch.tensor([1])).shape == (4, 1)


def test_a_backward_pass_under_autocast_and_an_expanded_gradient() -> None:
    weight, features = torch.ones(3, 2, requires_grad=True), torch.full((1, 2), 3.0)
    table = late_table(weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (table.product(features, torch.tensor([1])).sum() + table.weight.sum()).backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1, 1], [4, 4], [1, 1]]


def test_a_pass_for_one_loss_leaves_nothing_for_the_next() -> None:
    """``autograd.grad(a, conv)`` never comes to the table, and what it put by is a's, not b's."""
    weight, conv = torch.ones(3, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    table = late_table(weight)
    features = conv * 2
    a, b = (table.product(features, torch.tensor([row])).sum() for row in (0, 2))
    torch.autograd.grad(a, conv, retain_graph=True)
    b.backward(retain_graph=True)
    assert weight.grad is not None
    assert weight.grad.flatten().tolist() == [0, 0, 2]
    weight.grad = None
    a.backward()
    assert weight.grad.flatten().tolist() == [2, 0, 0]


def test_factors_give_the_gradient_that_the_table_would_have_had() -> None:
    torch.manual_seed(0)
    factors, gradients = Factors(), []
    weight, features = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3)
    for kept in (None, factors):
        table = late_table(weight, kept)
        first = table.product(features, torch.tensor([0, 4])).square().sum()
        (first + table.product(features[:2], torch.tensor([4])).sin().sum() + table.weight.sum()).backward()
        gradients.append(weight.grad)
        weight.grad = None
    assert gradients[1] is None
    products, dense = factors.take()
    assert [len(rows) for rows, _, _ in products] == [1, 2]
    torch.testing.assert_close(multiply_out(weight, products, dense), gradients[0])
    assert factors.take() == ([], None)
