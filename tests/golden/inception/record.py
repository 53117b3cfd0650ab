"""Records the reference values of Inception-v3 and of evaluation's statistics in this folder.

    python3 tests/golden/inception/record.py

Needs torch, torchvision, numpy and scipy. The network is torchvision's with pytorch-fid's changes
(averages without the padding, 1,008 classes, the largest in the last block). Weights are drawn from
Philox 4x32-10 as tensor/random.ts has it, stream by stream, so that only results are stored: some
elements of what each part gives, spread over it, with its mean, its largest and its norm.
"""

import json
import os
import struct

import numpy as np
import scipy
import torch
import torch.nn.functional as F
import torchvision
from scipy import linalg
from torchvision.models import inception as tv

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 20151205
IMAGE_STREAM = 100_000
KEPT = 512


def philox_uniform(stream, count):
    """Numbers in [0, 1): word 0 of each block of the stream, its top 24 bits."""
    c0 = np.arange(count, dtype=np.uint64)
    c1 = np.zeros(count, np.uint64)
    c2 = np.full(count, stream, np.uint64)
    c3 = np.zeros(count, np.uint64)
    k0, k1 = np.uint64(SEED), np.uint64(0)
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return (c0 >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)


def average(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class A(tv.InceptionA):
    def forward(self, x):
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([one, five, three, self.branch_pool(average(x))], 1)


class C(tv.InceptionC):
    def forward(self, x):
        one = self.branch1x1(x)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([one, seven, twice, self.branch_pool(average(x))], 1)


class E(tv.InceptionE):
    largest = False

    def forward(self, x):
        one = self.branch1x1(x)
        three = self.branch3x3_1(x)
        three = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        twice = [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.largest else average(x)
        return torch.cat([one, *three, *twice, self.branch_pool(pooled)], 1)


def network():
    model = torchvision.models.inception_v3(
        weights=None, num_classes=1008, aux_logits=False, init_weights=False
    )
    model.Mixed_5b = A(192, 32)
    model.Mixed_5c = A(256, 64)
    model.Mixed_5d = A(288, 64)
    model.Mixed_6b = C(768, 128)
    model.Mixed_6c = C(768, 160)
    model.Mixed_6d = C(768, 160)
    model.Mixed_6e = C(768, 192)
    model.Mixed_7b = E(1280)
    model.Mixed_7c = E(2048)
    model.Mixed_7c.largest = True
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    for stream, name in enumerate(sorted(state)):
        target = state[name]
        u = torch.from_numpy(philox_uniform(stream, target.numel())).reshape(target.shape)
        if name.endswith("bn.weight") or name.endswith("running_var"):
            value = u + 0.5
        elif target.dim() == 1:
            value = u * 0.4 - 0.2
        else:
            bound = np.float32((6 / target[0].numel()) ** 0.5)
            value = (u * 2 - 1) * bound
        target.copy_(value)
    return model.eval()


def stages(model, x):
    out = {}
    for name in ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"]:
        out[name] = x = getattr(model, name)(x)
    out["Conv2d_2b_3x3 pooled"] = x = F.max_pool2d(x, 3, 2)
    for name in ["Conv2d_3b_1x1", "Conv2d_4a_3x3"]:
        out[name] = x = getattr(model, name)(x)
    out["Conv2d_4a_3x3 pooled"] = x = F.max_pool2d(x, 3, 2)
    for name in ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]:
        block = getattr(model, f"Mixed_{name}")
        if name == "6d":
            first = block.branch1x1(x)[:, :7]
            out["spatial"] = first.permute(0, 2, 3, 1)
        out[f"Mixed_{name}"] = x = block(x)
    out["pool"] = x = x.mean((2, 3))
    out["logits"] = x @ model.fc.weight.t()
    return out


def save(path, arrays, header_extra=None):
    head, at, blobs = dict(header_extra or {}), 0, []
    names = {"float32": "F32", "float64": "F64", "uint8": "U8"}
    for name, a in arrays.items():
        a = np.ascontiguousarray(a)
        head[name] = {
            "dtype": names[str(a.dtype)],
            "shape": list(a.shape),
            "data_offsets": [at, at + a.nbytes],
        }
        at += a.nbytes
        blobs.append(a.tobytes())
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def record_network():
    model = network()
    arrays, summary = {}, {}
    for size in [299, 75]:
        x = torch.from_numpy(philox_uniform(IMAGE_STREAM + size, 3 * size * size))
        x = x.reshape(1, 3, size, size) * 2 - 1
        with torch.no_grad():
            got = stages(model, x)
            exact = stages(model.double(), x.double())
            model.float()
        for name, y in got.items():
            flat, wide = y.reshape(-1).numpy(), exact[name].reshape(-1).numpy()
            step = max(1, flat.size // KEPT)
            arrays[f"{size}/{name}"] = wide[::step].astype(np.float32)
            summary[f"{size}/{name}"] = {
                "shape": list(y.shape),
                "step": step,
                "mean": float(wide.mean()),
                "max": float(np.abs(wide).max()),
                "norm": float(np.linalg.norm(wide)),
                "float32_error": float(np.abs(flat - wide).max() / np.abs(wide).max()),
            }
    save(os.path.join(HERE, "network.safetensors"), arrays)
    about = {"seed": SEED, "image_stream": IMAGE_STREAM, "stages": summary}
    return about


def frechet(a, b):
    """As ADM's evaluator computes it, and without the noise of a square root of a singular matrix."""
    mu1, mu2 = a.mean(0), b.mean(0)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(s1.dot(s2), disp=False)[0]
    diff = mu1 - mu2
    traces = np.trace(s1) + np.trace(s2)
    # only as many eigenvalues as the ranks allow: the root of what is 0 but for rounding is 1e-8
    ranks = [min(len(x) - 1, x.shape[1]) for x in (a, b)]
    w, v = linalg.eigh(s1)
    factor = v[:, -ranks[0] :] * np.sqrt(w[-ranks[0] :])
    inner = np.sqrt(linalg.eigvalsh(factor.T @ s2 @ factor)[-min(ranks) :]).sum()
    return {
        "sqrtm": float(diff.dot(diff) + traces - 2 * np.trace(np.real(root))),
        "eigen": float(diff.dot(diff) + traces - 2 * inner),
    }


def distances(u, v):
    d = (u * u).sum(1)[:, None] - 2 * u @ v.T + (v * v).sum(1)[None]
    return np.maximum(d, 0)


def precision_recall(reference, samples, k=3):
    radius = lambda x: np.partition(distances(x, x), k, axis=1)[:, k]
    r, s = radius(reference), radius(samples)
    d = distances(reference, samples)
    return float((d <= r[:, None]).any(0).mean()), float((d <= s[None]).any(1).mean())


def kid(a, b):
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    n, m = len(a), len(b)
    xx, yy, xy = kernel(a, a), kernel(b, b), kernel(a, b)
    return float(
        (xx.sum() - np.trace(xx)) / (n * (n - 1))
        + (yy.sum() - np.trace(yy)) / (m * (m - 1))
        - 2 * xy.mean()
    )


def inception_score(logits, split):
    e = np.exp(logits - logits.max(1, keepdims=True))
    preds = e / e.sum(1, keepdims=True)
    scores = []
    for i in range(0, len(preds), split):
        part = preds[i : i + split]
        kl = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        scores.append(np.exp(kl.sum(1).mean()))
    return float(np.mean(scores))


def record_statistics():
    rng = np.random.RandomState(7)
    mix = rng.randn(24, 24) / 5
    a = np.maximum(rng.randn(300, 24) @ mix + 0.3, 0).astype(np.float32)
    b = np.maximum(rng.randn(220, 24) @ mix * 1.2 + 0.25, 0).astype(np.float32)
    logits = (rng.randn(130, 10) * 2).astype(np.float32)
    save(os.path.join(HERE, "statistics.safetensors"), {"a": a, "b": b, "logits": logits})
    x, y = a.astype(np.float64), b.astype(np.float64)
    return {
        "frechet": {
            "whole": frechet(x, y),
            "few against whole": frechet(x[:9], y),
            "few against few": frechet(x[:9], y[:14]),
            "the same": frechet(x, x),
        },
        "mean": x.mean(0).tolist(),
        "covariance_trace": float(np.trace(np.cov(x, rowvar=False))),
        "precision_recall": precision_recall(x, y),
        "kid": kid(x, y),
        "inception_score": {"50": inception_score(logits.astype(np.float64), 50),
                            "5000": inception_score(logits.astype(np.float64), 5000)},
    }


def main():
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__,
                "numpy": np.__version__, "scipy": scipy.__version__}
    torch.set_num_threads(2)
    with torch.no_grad():
        about = record_network()
    about = {"versions": versions, **about, "statistics": record_statistics()}
    with open(os.path.join(HERE, "inception.json"), "w") as f:
        json.dump(about, f, indent=1)
        f.write("\n")


main()
