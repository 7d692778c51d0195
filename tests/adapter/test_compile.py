"""The whole adapter is one graph: a break would cost a wait for the device at every step."""

import subprocess
import sys

import pytest

# In a process of its own, since the shape checks that tests install cannot be traced.
PROGRAM = """
import torch
from pila.adapter import PilaAdapter, PlainAdapter

torch.set_num_threads(1)
torch.manual_seed(0)
adapter = PilaAdapter(text_dim=6, hidden_width=8, encoder_blocks=1, decoder_blocks=1)
torch.nn.init.normal_(adapter.decoder.out.weight)
control = PlainAdapter(text_dim=6, hidden_width=8, num_blocks=1)
x_t, v = torch.randn(2, 2, 16, 4, 4, 5)
call = (x_t, v, torch.rand(2), torch.randn(2, 6), torch.rand(2, 8) > 0.5)


def compiled(model, backend="eager"):
    torch._dynamo.reset()
    return torch.compile(model, fullgraph=True, backend=backend, dynamic=False)


with torch.no_grad():
    for top_k in (0, 8):
        found, expected = compiled(adapter)(*call, top_k=top_k), adapter(*call, top_k=top_k)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(compiled(control)(*call), control(*call))
details = compiled(adapter, "aot_eager")(*call, return_details=True)
torch.testing.assert_close(details.correction, adapter(*call))
assert details.updates.shape == (2, 4, 32, 4, 4, 5)
details.correction.square().sum().backward()
assert adapter.experts.inner.grad.any()
"""


@pytest.mark.slow
def test_one_graph():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
