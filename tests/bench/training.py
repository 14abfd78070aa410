#!/usr/bin/env python3
"""Training steps of `tiny` on this machine's CPU: Playhouse beside the same model in JAX, in turns.

    cargo build --example training
    python3 -m venv venv && venv/bin/pip install jax==0.10.2 numpy
    venv/bin/python tests/bench/training.py target/debug/examples/training

Both sides: forward, backward, clipping and AdamW in f32 on 8 windows of 32 frames of 64x64x3 noise, both cores. JAX gets the model that
XLA likes best of what was tried: the 7x7 depthwise convolution as a grouped convolution. Compilation is not timed. The figure to compare
is frames a core-second (user and system time), which a neighbour on the machine disturbs least.
"""

import os
import re
import statistics
import subprocess
import sys
import time

os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
import numpy as np

B, T, SIDE = 8, 32, 64
DIMS, WIDTH, LAYERS, HEADS, FFN = (16, 32, 64), 128, 2, 4, 512
COMPONENTS = [2] * 12 + [11] * 4
ROUNDS, STEPS = 5, 12


def initial():
    """Every parameter of `tiny`: 601,748 of them, with the last feature map flattened as in the preset."""
    rng = np.random.default_rng(0)

    def linear(k, n):
        return {"w": jnp.asarray(rng.normal(0, k**-0.5, (k, n)), jnp.float32), "b": jnp.zeros(n)}

    def norm(c):
        return {"g": jnp.ones(c), "b": jnp.zeros(c)}

    def block(c):
        depthwise = jnp.asarray(rng.normal(0, 1 / 7, (7, 7, 1, c)), jnp.float32)
        return {"dw": depthwise, "dwb": jnp.zeros(c), "norm": norm(c), "up": linear(c, 4 * c), "down": linear(4 * c, c),
                "scale": jnp.full(c, 0.1)}

    def layer():
        return {"n1": norm(WIDTH), "qkv": linear(WIDTH, 3 * WIDTH), "out": linear(WIDTH, WIDTH), "n2": norm(WIDTH),
                "up": linear(WIDTH, FFN), "down": linear(FFN, WIDTH)}

    last = (SIDE // 4 >> len(DIMS) - 1) ** 2 * DIMS[-1]
    return {
        "stem": linear(48, DIMS[0]), "stem_norm": norm(DIMS[0]),
        "halve": [{"norm": norm(a), "linear": linear(4 * a, b)} for a, b in zip(DIMS, DIMS[1:])],
        "blocks": [block(c) for c in DIMS],
        "out_norm": norm(DIMS[-1]), "out": linear(last, WIDTH), "position": jnp.zeros((T, WIDTH)),
        "layers": [layer() for _ in range(LAYERS)], "norm": norm(WIDTH), "head": linear(WIDTH, sum(COMPONENTS)),
    }


def normed(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["g"] + p["b"]


def applied(p, x):
    return x @ p["w"] + p["b"]


def patches(x, k):
    n, h, w, c = x.shape
    return x.reshape(n, h // k, k, w // k, k, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // k, w // k, k * k * c)


def encoded(p, frames):
    x = frames.reshape(B * T, SIDE, SIDE, 3).astype(jnp.float32) / 127.5 - 1
    x = normed(p["stem_norm"], applied(p["stem"], patches(x, 4)))
    for stage, block in enumerate(p["blocks"]):
        if stage:
            halve = p["halve"][stage - 1]
            x = applied(halve["linear"], patches(normed(halve["norm"], x), 2))
        y = jax.lax.conv_general_dilated(x, block["dw"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                         feature_group_count=x.shape[-1]) + block["dwb"]
        y = applied(block["down"], jax.nn.gelu(applied(block["up"], normed(block["norm"], y)), approximate=True))
        x = x + block["scale"] * y
    return applied(p["out"], normed(p["out_norm"], x).reshape(B * T, -1)).reshape(B, T, WIDTH)


def loss(p, frames, actions):
    x = encoded(p, frames) + p["position"]
    mask = jnp.tril(jnp.ones((T, T), bool))
    for layer in p["layers"]:
        qkv = applied(layer["qkv"], normed(layer["n1"], x)).reshape(B, T, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        weights = jnp.einsum("bthd,bshd->bhts", q, k) * (WIDTH // HEADS) ** -0.5
        weights = jax.nn.softmax(jnp.where(mask, weights, -1e30), -1)
        x = x + applied(layer["out"], jnp.einsum("bhts,bshd->bthd", weights, v).reshape(B, T, WIDTH))
        x = x + applied(layer["down"], jax.nn.gelu(applied(layer["up"], normed(layer["n2"], x)), approximate=True))
    logits = applied(p["head"], normed(p["norm"], x))
    total, start = 0.0, 0
    for i, values in enumerate(COMPONENTS):
        log_p = jax.nn.log_softmax(logits[..., start:start + values], -1)
        total -= jnp.take_along_axis(log_p, actions[..., i:i + 1], -1).mean()
        start += values
    return total


def step(p, m, v, t, frames, actions):
    value, g = jax.value_and_grad(loss)(p, frames, actions)
    length = jnp.sqrt(sum((x**2).sum() for x in jax.tree.leaves(g)))
    g = jax.tree.map(lambda x: x * jnp.minimum(1.0, 1.0 / (length + 1e-6)), g)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.95 * v + 0.05 * g * g, v, g)
    def moved(p, m, v):
        return p - 1e-3 * (m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.95**t)) + 1e-8) + 0.01 * p)
    return jax.tree.map(moved, p, m, v), m, v, t + 1, value


class Jax:
    def __init__(self):
        rng = np.random.default_rng(1)
        frames = jnp.asarray(rng.integers(0, 256, (B, T, SIDE, SIDE, 3), dtype=np.uint8))
        actions = jnp.asarray(np.stack([rng.integers(0, k, (B, T)) for k in COMPONENTS], -1))
        p = initial()
        count = sum(x.size for x in jax.tree.leaves(p))
        assert count == 601_748, f"not the model of the preset: {count} parameters"
        zero = jax.tree.map(jnp.zeros_like, p)
        self.state, self.data = (p, zero, zero, jnp.float32(1)), (frames, actions)
        self.compiled = jax.jit(step).lower(*self.state, *self.data).compile()
        self.run(2)

    def run(self, steps):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            *self.state, value = self.compiled(*self.state, *self.data)
        value.block_until_ready()
        assert np.isfinite(float(value))
        frames = steps * B * T
        return frames / (time.perf_counter() - wall), frames / (time.process_time() - cpu)


def playhouse(binary):
    out = subprocess.run([binary, "tiny", str(os.cpu_count()), "60"], check=True, capture_output=True, text=True).stdout
    wall, core = re.search(r"^imitation: (\d+) frames/s, (\d+) frames per core-second", out, re.M).groups()
    return float(wall), float(core)


def main():
    binary = sys.argv[1]
    theirs = Jax()
    rounds = [(playhouse(binary), theirs.run(STEPS)) for _ in range(ROUNDS)]
    print("| | frames/s | frames a core-second |\n| --- | --- | --- |")
    for name, side in (("Playhouse", 0), (f"JAX {jax.__version__}", 1)):
        wall, core = ([r[side][k] for r in rounds] for k in (0, 1))
        cells = (f"{statistics.median(x):,.0f} ({min(x):,.0f} to {max(x):,.0f})" for x in (wall, core))
        print(f"| {name} | {' | '.join(cells)} |")
    ratios = [statistics.median(ours[k] / jaxs[k] for ours, jaxs in rounds) for k in (0, 1)]
    print(f"| ratio | {ratios[0]:.1f} | {ratios[1]:.1f} |")


if __name__ == "__main__":
    main()
