"""Times training steps and forward passes of PyTorch on the CPU, one for each line that asks.

    python3 bench/models/torch_models.py '{"size": "DiT-S", "patch": 4, "batch": 8, ...}'

Reads `step THREADS` or `forward THREADS` and answers with the seconds it took. Training is that of
fast-DiT: noise on the batch, the mean squared error, AdamW, and an average of the weights.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))
from torch_dit import DiT  # noqa: E402

job = json.loads(sys.argv[1])
torch.manual_seed(0)
model = DiT(
    job["size"], job["patch"], job["side"], job["channels"], job["classes"], job["learnSigma"]
)
weights = [w for w in model.parameters() if w.requires_grad]
ema = [w.detach().clone() for w in weights]
optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0, foreach=True)
n, c = job["batch"], job["channels"]
x0 = torch.randn(n, c, job["side"], job["side"])
y = torch.randint(0, job["classes"], (n,))


def step():
    t = torch.randint(0, 1000, (n,))
    noise = torch.randn_like(x0)
    alpha = torch.rand(n, 1, 1, 1)
    out = model(alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise, t, y)
    loss = F.mse_loss(out[:, :c], noise)
    if job["learnSigma"]:
        loss = loss + 1e-3 * out[:, c:].square().mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    torch._foreach_mul_(ema, 0.9999)
    torch._foreach_add_(ema, weights, alpha=1e-4)


@torch.no_grad()
def forward():
    model(x0, torch.full((n,), 500), y)


print(json.dumps({"torch": torch.__version__}), flush=True)
for line in sys.stdin:
    what, threads, times = line.split()
    torch.set_num_threads(int(threads))
    best = float("inf")
    for _ in range(int(times)):
        begun = time.perf_counter()
        {"step": step, "forward": forward}[what]()
        best = min(best, time.perf_counter() - begun)
    print(json.dumps(best), flush=True)
