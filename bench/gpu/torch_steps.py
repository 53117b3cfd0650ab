"""The same training steps in PyTorch 2 on the same card: what the engine's figures stand beside.

    python3 bench/gpu/torch_steps.py OUT.json [--seconds 60] [--only TABLE] [--tiny]

Latents [N, 4, 32, 32] of 1,000 classes, learned variance, AdamW and an average of all weights, as
`deno task train --model DiT-...` trains them. Eager, and compiled where `--compile` says so. Host
time is what Python takes to hand over a step. `--tiny` runs it in miniature, on a CPU too. What
there is no time for is listed as such.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))
from torch_dit import DiT  # noqa: E402

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
# M, N, K of products of DiT-XL/2 and DiT-S/2 at batch 32, as bench/gpu/ceilings.ts has them.
SHAPES = [
    (8192, 3456, 1152),
    (8192, 1152, 1152),
    (8192, 4608, 1152),
    (8192, 1152, 4608),
    (8192, 1152, 384),
    (8192, 384, 384),
    (8192, 1536, 384),
    (8192, 384, 1536),
]

flags = argparse.ArgumentParser()
flags.add_argument("out")
flags.add_argument("--seconds", type=float, default=60)
flags.add_argument("--tiny", action="store_true")
flags.add_argument("--compile", action="store_true")
flags.add_argument("--only", help="one of the tables")
flags = flags.parse_args()
start = time.perf_counter()
device = "cuda" if torch.cuda.is_available() else "cpu"


def synchronize():
    if device == "cuda":
        torch.cuda.synchronize()


def set_precision(name):
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")


def autocast(precision):
    half = HALF.get(precision)
    # Of a CPU only bfloat16 can be had in every version.
    kind = half if device == "cuda" else torch.bfloat16
    return torch.autocast(device, dtype=kind, enabled=half is not None)


def training(size, patch, batch, precision, checkpointing, compiled=False):
    set_precision(precision)
    torch.manual_seed(0)
    model = DiT(size, patch).to(device)
    model.checkpointing = checkpointing
    weights = [w for w in model.parameters() if w.requires_grad]
    ema = [w.detach().clone() for w in weights]
    fused = {"fused": True} if device == "cuda" else {}
    optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0, **fused)
    scaler = torch.cuda.amp.GradScaler(enabled=precision == "fp16" and device == "cuda")
    call = torch.compile(model) if compiled else model
    x0 = torch.randn(batch, 4, 32, 32, device=device)
    y = torch.randint(0, 1000, (batch,), device=device)

    def step():
        t = torch.randint(0, 1000, (batch,), device=device)
        noise = torch.randn_like(x0)
        alpha = torch.rand(batch, 1, 1, 1, device=device)
        with autocast(precision):
            out = call(alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise, t, y)
        eps, variance = out.float().chunk(2, dim=1)
        loss = F.mse_loss(eps, noise) + 1e-3 * variance.square().mean()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        torch._foreach_mul_(ema, 0.9999)
        torch._foreach_add_(ema, weights, alpha=1e-4)

    begun = time.perf_counter()
    step()
    synchronize()
    first = time.perf_counter() - begun
    for _ in range(2):
        step()
    synchronize()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    step()
    synchronize()
    alone = time.perf_counter() - begun
    steps = 1 if flags.tiny else max(3, min(50, int(2.5 / alone)))
    hosts = []
    begun = time.perf_counter()
    for _ in range(steps):
        handed = time.perf_counter()
        step()
        hosts.append(time.perf_counter() - handed)
    synchronize()
    ms = (time.perf_counter() - begun) / steps * 1000
    return {
        "ms a step": ms,
        "images/s": batch / ms * 1000,
        "host, ms": sorted(hosts)[len(hosts) // 2] * 1000,
        "first step, ms": first * 1000,
        "steps": steps,
        "peak, GB": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None,
    }


@torch.no_grad()
def sampling(size, patch, images, precision):
    set_precision("f32")
    model = DiT(size, patch).to(device).eval()
    if precision == "fp16":
        model = model.half()
    x = torch.randn(2 * images, 4, 32, 32, device=device, dtype=next(model.parameters()).dtype)
    half = autocast(precision)
    y = torch.full((2 * images,), 1000, device=device)
    y[:images] = torch.arange(images, device=device)
    steps = 1 if flags.tiny else 20

    def run(count):
        z = x
        for i in range(count):
            t = torch.full((2 * images,), 999 - i, device=device)
            with half:  # the embedding of time is f32
                with_class, without = model(z, t, y)[:, :4].to(x.dtype).chunk(2)
            guided = without + 4 * (with_class - without)
            z = z - 0.01 * torch.cat([guided, guided])
        synchronize()

    run(2)
    begun = time.perf_counter()
    run(steps)
    ms = (time.perf_counter() - begun) / steps * 1000
    return {"ms a step": ms, "images/s at 250 steps": images / ms * 4}


def product(m, n, k, precision):
    set_precision(precision)
    dtype = HALF.get(precision, torch.float32)
    if device == "cpu" and dtype == torch.float16:
        dtype = torch.bfloat16
    a = torch.randn(m, k, device=device, dtype=dtype)
    b = torch.randn(n, k, device=device, dtype=dtype)
    times = 1 if flags.tiny else 20
    for _ in range(3):
        a @ b.T
    synchronize()
    begun = time.perf_counter()
    for _ in range(times):
        a @ b.T
    synchronize()
    ms = (time.perf_counter() - begun) / times * 1000
    return {"ms": ms, "TFLOPS": 2 * m * n * k / ms / 1e9}


def copying():
    x = torch.empty(2**16 if flags.tiny else 2**27, device=device)
    y = torch.empty_like(x)
    for _ in range(3):
        y.copy_(x)
    synchronize()
    begun = time.perf_counter()
    for _ in range(10):
        y.copy_(x)
    synchronize()
    return {"GB/s": 10 * 2 * x.numel() * 4 / (time.perf_counter() - begun) / 1e9}


def plan():
    """What is measured, in its order: (title, function, arguments)."""
    shapes = [(64, 48, 32)] if flags.tiny else SHAPES
    yield "bandwidth", copying, ()
    for shape in shapes:
        for precision in ["f32", "tf32", "fp16"]:
            yield "matrix products", product, (*shape, precision)
    runs = [("DiT-S", 2, 32, False), ("DiT-B", 2, 32, False), ("DiT-XL", 2, 32, True)]
    for run in [("tiny", 4, 2, True)] if flags.tiny else runs:
        for precision in ["f32", "tf32", "fp16", "bf16"]:
            yield "training steps", training, (*run[:3], precision, run[3])
    samples = [("DiT-S", 2, 8, "f32"), ("DiT-XL", 2, 8, "f32"), ("DiT-XL", 2, 8, "fp16")]
    for job in [("tiny", 4, 1, "f32")] if flags.tiny else samples:
        yield "guided sampling", sampling, job
    if flags.compile:
        for precision in ["f32", "fp16"]:
            yield "training steps, compiled", training, ("DiT-S", 2, 32, precision, False, True)


def main():
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    found = {"torch": torch.__version__, "device": name, "tables": {}}
    print(f"PyTorch {torch.__version__} on {name}")
    if device == "cpu" and not flags.tiny:
        print("no card that PyTorch reaches: skipped; --tiny runs everything in miniature")
        return
    for title, measure, job in plan():
        if flags.only not in (None, title):
            continue
        row = {"job": list(job)}
        if time.perf_counter() - start > flags.seconds:
            row["note"] = "no time left"
        else:
            try:
                row.update(measure(*job))
            except Exception as error:  # memory, say: the other figures stand
                row["note"] = str(error)[:300]
            if device == "cuda":
                torch.cuda.empty_cache()
        print(title, json.dumps(row), flush=True)
        found["tables"].setdefault(title, []).append(row)
        with open(flags.out, "w") as file:
            json.dump(found, file, indent=2)


main()
