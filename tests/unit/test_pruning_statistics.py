"""Statistics of the inputs of linear layers, and the observer that collects them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from submodels.errors import SubmodelsError
from submodels.pruning.input_statistics import EverythingSeen, InputGram, InputNorms, Observer

# Two sequences of two tokens with two features.
X = torch.tensor([[[1.0, 2.0], [3.0, 0.0]], [[0.0, 1.0], [2.0, 2.0]]])
TOKENS = torch.tensor([[True, True], [True, False]])


def test_norms_by_hand():
    norms = InputNorms(2, X.device)
    norms.add(X, None)
    assert norms.result().tolist() == [1 + 9 + 0 + 4, 4 + 0 + 1 + 4]
    norms.add(X, TOKENS)
    assert norms.result().tolist() == [14 + 10, 9 + 5]


def test_gram_by_hand():
    """X^T X over the tokens, times 2 / sequences."""
    gram = InputGram(2, X.device)
    gram.add(X, None)
    torch.testing.assert_close(gram.result(), torch.tensor([[14.0, 6.0], [6.0, 9.0]]) * 2 / 2)
    gram.add(X, TOKENS)
    torch.testing.assert_close(gram.result(), torch.tensor([[24.0, 8.0], [8.0, 14.0]]) * 2 / 4)


@pytest.mark.parametrize("statistic", [InputNorms, InputGram])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_inputs_stay_as_they_are_and_results_are_float32(statistic, dtype):
    x = X.to(dtype)
    collected = statistic(2, x.device)
    collected.add(x, TOKENS)
    assert torch.equal(x, X.to(dtype))
    assert collected.result().dtype == torch.float32


def test_what_does_not_count_may_be_infinite():
    x = X.clone()
    x[1, 1] = torch.inf
    norms = InputNorms(2, x.device)
    norms.add(x, TOKENS)
    assert norms.result().tolist() == [10, 5]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 2**16))
def test_batches_do_not_matter(sizes, seed):
    x = torch.randn(sum(sizes), 5, 6, generator=torch.Generator().manual_seed(seed))
    for statistic in (InputNorms, InputGram):
        whole, parts = statistic(6, x.device), statistic(6, x.device)
        whole.add(x, None)
        for part in x.split(sizes):
            parts.add(part, None)
        assert torch.equal(whole.result(), parts.result())


class Block(torch.nn.Module):
    """Two layers that share an input, a third behind them."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (torch.nn.Linear(2, 2, bias=False) for _ in range(3))
        self.after = 0

    def forward(self, x):
        x = self.c(self.a(x) * self.b(x))
        self.after += 1
        return x


def observe(block, passes=1):
    linears = {name: module for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)}
    stops = 0
    with Observer(InputNorms, linears) as observer, torch.no_grad():
        for _ in range(passes):
            observer.announce(X.shape[:2], None)
            try:
                block(X)
            except EverythingSeen:
                stops += 1
    return observer.results(), stops


def test_observer_shares_what_layers_share_and_stops_at_the_last_input():
    block = Block()
    results, stops = observe(block, passes=3)
    assert (stops, block.after) == (2, 1)  # the first pass runs to its end
    assert results["a"].tolist() == [3 * 14, 3 * 9]
    assert results["a"] is results["b"]
    with torch.no_grad():
        inner = block.a(X) * block.b(X)
    torch.testing.assert_close(results["c"], 3 * inner.square().sum(dim=(0, 1)))


def test_observer_leaves_no_hook_behind():
    block = Block()
    observe(block)
    assert not any(module._forward_pre_hooks for module in block.modules())


def test_a_layer_called_twice_is_refused():
    block = Block()
    block.b = block.a
    with pytest.raises(SubmodelsError, match="a: is called twice in a forward pass"):
        observe(block)


def test_a_layer_that_sees_some_tokens_only_is_refused():
    class Routed(Block):
        def forward(self, x):
            return self.c(self.a(x[:, :1]))

    with pytest.raises(SubmodelsError, match="a: sees 2 of 4 tokens"):
        observe(Routed())


def test_a_layer_that_is_never_called_has_no_result():
    class Idle(Block):
        def forward(self, x):
            return self.c(self.a(x))

    assert set(observe(Idle())[0]) == {"a", "c"}
