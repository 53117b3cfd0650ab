"""Prints how many images a second torchvision's Inception-v3 takes: torch_inception.py BATCH THREADS."""

import sys
import time

import torch
import torchvision

batch, threads = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
model = torchvision.models.inception_v3(
    weights=None, num_classes=1008, aux_logits=False, init_weights=False
).eval()
x = torch.rand(batch, 3, 299, 299)
best = float("inf")
with torch.no_grad():
    for i in range(4):
        start = time.perf_counter()
        model(x)
        if i > 0:
            best = min(best, time.perf_counter() - start)
print(batch / best)
