#!/usr/bin/env python3
"""Golden numbers for the whole `tiny` agent, made by JAX in float64: writes tiny.json beside this file.

    pip install jax==0.10.2 numpy && python3 make_golden.py

The weights, frames and actions are not stored: both sides compute them from the same integer hash (`unit` below, `deterministic`
in pipeline/agent/src/tests/golden.rs). What is stored: the loss and the logits of one timestep, the norm and some entries of every parameter's
gradient, and the losses and gradient norms of a few AdamW steps.
"""
import json
import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np

B, T, SIZE = 2, 32, 64
DIMS, DEPTHS = (16, 32, 64), (1, 1, 1)
D, LAYERS, HEADS, FFN = 128, 2, 4, 512
ACTIONS = [2] * 12 + [11] * 4
STEPS, LR, BETA1, BETA2, EPS, DECAY, CLIP = 5, 1e-3, 0.9, 0.95, 1e-8, 0.01, 1.0


def hashes(name, count):
    """SplitMix64 of (FNV-1a of the name) + index."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        x = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def unit(name, shape):
    """Values in [-1, 1), multiples of 2^-23: exact in float32."""
    count = int(np.prod(shape))
    return ((hashes(name, count) >> np.uint64(40)).astype(np.float64) / 2**23 - 1).reshape(shape)


def parameters():
    """Names and shapes as in pipeline/agent/src/layout.rs."""
    p = {}

    def linear(name, k, n):
        p[name + ".w"], p[name + ".b"] = (k, n), (n,)

    def norm(name, c):
        p[name + ".g"], p[name + ".b"] = (c,), (c,)

    linear("encoder.stem", 48, DIMS[0])
    norm("encoder.stem.norm", DIMS[0])
    for s, (c, depth) in enumerate(zip(DIMS, DEPTHS)):
        if s:
            norm(f"encoder.{s}.down.norm", DIMS[s - 1])
            linear(f"encoder.{s}.down", 4 * DIMS[s - 1], c)
        for i in range(depth):
            at = f"encoder.{s}.{i}"
            linear(at + ".depthwise", 49, c)
            norm(at + ".norm", c)
            linear(at + ".expand", c, 4 * c)
            linear(at + ".contract", 4 * c, c)
            p[at + ".scale"] = (c,)
    norm("encoder.out.norm", DIMS[-1])
    linear("encoder.out", (SIZE // 4 >> len(DIMS) - 1) ** 2 * DIMS[-1], D)
    p["position"] = (T, D)
    for i in range(LAYERS):
        at = f"layers.{i}"
        norm(at + ".attention.norm", D)
        linear(at + ".attention.qkv", D, 3 * D)
        linear(at + ".attention.out", D, D)
        norm(at + ".ffn.norm", D)
        linear(at + ".ffn.expand", D, FFN)
        linear(at + ".ffn.contract", FFN, D)
    norm("norm", D)
    linear("head.policy", D, sum(ACTIONS))
    return p


def value(name, shape):
    """Gains near 1, layer scale near 0.1, small biases, matrices that keep the variance. Rounded to float32, as the weights are."""
    u = unit(name, shape)
    if name.endswith(".g"):
        u = 1 + 0.25 * u
    elif name.endswith(".scale"):
        u = 0.125 + 0.0625 * u
    elif name.endswith(".w"):
        u = u * (1.5 / np.sqrt(shape[0]))
    else:
        u = 0.125 * u
    return jnp.asarray(u.astype(np.float32).astype(np.float64))


def layer_norm(x, p, name):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5) * p[name + ".g"] + p[name + ".b"]


def dense(x, p, name):
    return x @ p[name + ".w"] + p[name + ".b"]


def patches(x, k):
    n, h, w, c = x.shape
    x = x.reshape(n, h // k, k, w // k, k, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // k, w // k, k * k * c)


def gelu(x):
    return jax.nn.gelu(x, approximate=True)


def forward(p, pixels):
    x = pixels.reshape(B * T, SIZE, SIZE, 3) / 127.5 - 1
    x = layer_norm(dense(patches(x, 4), p, "encoder.stem"), p, "encoder.stem.norm")
    for s, (c, depth) in enumerate(zip(DIMS, DEPTHS)):
        if s:
            x = dense(patches(layer_norm(x, p, f"encoder.{s}.down.norm"), 2), p, f"encoder.{s}.down")
        for i in range(depth):
            at = f"encoder.{s}.{i}"
            kernel = p[at + ".depthwise.w"].reshape(7, 7, 1, c)
            y = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=c
            )
            y = layer_norm(y + p[at + ".depthwise.b"], p, at + ".norm")
            x = x + p[at + ".scale"] * dense(gelu(dense(y, p, at + ".expand")), p, at + ".contract")
    x = dense(layer_norm(x, p, "encoder.out.norm").reshape(B * T, -1), p, "encoder.out").reshape(B, T, D)
    x = x + p["position"]
    mask = jnp.tril(jnp.ones((T, T), bool))
    for i in range(LAYERS):
        at = f"layers.{i}"
        qkv = dense(layer_norm(x, p, at + ".attention.norm"), p, at + ".attention.qkv").reshape(B, T, 3, HEADS, D // HEADS)
        q, k, v = (qkv[:, :, j] for j in range(3))
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D // HEADS)
        probs = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), -1)
        x = x + dense(jnp.einsum("bhts,bshd->bthd", probs, v).reshape(B, T, D), p, at + ".attention.out")
        x = x + dense(gelu(dense(layer_norm(x, p, at + ".ffn.norm"), p, at + ".ffn.expand")), p, at + ".ffn.contract")
    return dense(layer_norm(x, p, "norm"), p, "head.policy")


def loss_of(p, pixels, actions, weights):
    logits = forward(p, pixels)
    nll, offset = 0.0, 0
    for h, k in enumerate(ACTIONS):
        log_probs = jax.nn.log_softmax(logits[..., offset : offset + k], -1)
        nll = nll - jnp.take_along_axis(log_probs, actions[..., h : h + 1], -1)[..., 0]
        offset += k
    return (nll * weights).sum() / weights.sum(), logits


def main():
    shapes = parameters()
    p = {name: value(name, shape) for name, shape in shapes.items()}
    pixels = jnp.asarray((hashes("pixels", B * T * SIZE * SIZE * 3) >> np.uint64(56)).astype(np.float64))
    draws = hashes("actions", B * T * len(ACTIONS)).reshape(B, T, len(ACTIONS))
    actions = jnp.asarray((draws >> np.uint64(8)) % np.array(ACTIONS, np.uint64), jnp.int32)
    weights = np.ones((B, T))
    weights[1, 27:] = 0  # the second window is padded

    step = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (loss, logits), g = step(p, pixels, actions, weights)
    gradients = {}
    for name, x in g.items():
        x = np.asarray(x).reshape(-1)
        places = sorted({int(h % np.uint64(x.size)) for h in hashes(name + "?", 8)})
        gradients[name] = {"norm": float(np.linalg.norm(x)), "entries": [[i, float(x[i])] for i in places]}

    m, v = ({name: jnp.zeros_like(x) for name, x in p.items()} for _ in range(2))
    losses, norms = [], []
    for i in range(1, STEPS + 1):
        (value_, _), g = step(p, pixels, actions, weights)
        norm = jnp.sqrt(sum((x**2).sum() for x in g.values()))
        scale = jnp.minimum(1.0, CLIP / (norm + 1e-6))
        losses.append(float(value_))
        norms.append(float(norm))
        for name in p:
            x = g[name] * scale
            m[name] = BETA1 * m[name] + (1 - BETA1) * x
            v[name] = BETA2 * v[name] + (1 - BETA2) * x * x
            move = m[name] / (1 - BETA1**i) / (jnp.sqrt(v[name] / (1 - BETA2**i)) + EPS)
            decay = DECAY if name.endswith(".w") else 0.0
            p[name] = p[name] - LR * (move + decay * p[name])

    out = {
        "made_by": f"jax {jax.__version__}, float64",
        "parameters": int(sum(np.prod(s) for s in shapes.values())),
        "loss": float(loss),
        "logits": [float(x) for x in np.asarray(logits)[1, 26]],
        "gradients": gradients,
        "losses": losses,
        "gradient_norms": norms,
    }
    path = pathlib.Path(__file__).with_name("tiny.json")
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(path, "loss", float(loss), "losses", losses)


if __name__ == "__main__":
    main()
