"""Repeat the training steps that `laboratory step` left, in PyTorch: do the losses agree, and which side is faster?

usage: laboratory step step/                                                     (on the GPU), or
       laboratory step step/ --device cpu --preset tiny --sequences 8            (without one)
       python tests/gpu/step.py step/ [--compile max-autotune] [--json FILE]

Needs PyTorch 2.11 and NumPy. The same weights, batch, loss, clipping and AdamW. On a GPU: bf16 by autocast over f32 weights, channels last,
SDPA, fused AdamW, torch.compile, the frames uploaded from pinned memory as bytes at every step, as ours are. On a CPU: f32, without
compilation.

The losses of the first ten steps must agree: within 1e-5 of the value in f32, where only the order of sums differs. In bf16 each side
rounds every activation, to 2^-9 of its value at most, and the steps carry the differences on: 1% of the value.
`ratio` is PyTorch's median over ours: above 1 ours is faster.
"""
import argparse
import json
import pathlib
import statistics
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

COMPARED = 10
TOLERANCE = {"cpu": 1e-5, "cuda": 1e-2}


def safetensors(path):
    """Every tensor of a safetensors file of f32: eight bytes of length, a JSON header, the data."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        values = np.frombuffer(data[start:end], dtype="<f4").reshape(entry["shape"])
        found[name] = torch.tensor(values)
    return found


class Agent(torch.nn.Module):
    """The agent's network on parameters by their names: the encoder, the transformer, sixteen heads as one layer."""

    def __init__(self, config, weights):
        super().__init__()
        self.config = config
        self.names = sorted(weights)
        self.parameters_ = torch.nn.ParameterList([torch.nn.Parameter(weights[name]) for name in self.names])
        self.place = {name: i for i, name in enumerate(self.names)}

    def __getitem__(self, name):
        return self.parameters_[self.place[name]]

    def linear(self, name, x):
        # Ours are [in, out].
        return F.linear(x, self[f"{name}.w"].t(), self[f"{name}.b"])

    def norm(self, name, x):
        return F.layer_norm(x, (x.shape[-1],), self[f"{name}.g"], self[f"{name}.b"], 1e-5)

    def patches(self, x, k):
        n, h, w, c = x.shape
        return x.view(n, h // k, k, w // k, k, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h // k, w // k, k * k * c)

    def encode(self, pixels):
        c = self.config
        x = pixels.to(torch.float32) / 127.5 - 1
        # Frames are images with channels last already.
        x = self.norm("encoder.stem.norm", self.linear("encoder.stem", self.patches(x, 4)))
        for stage, depth in enumerate(c["depths"]):
            if stage:
                at = f"encoder.{stage}.down"
                x = self.linear(at, self.patches(self.norm(f"{at}.norm", x), 2))
            for block in range(depth):
                at = f"encoder.{stage}.{block}"
                channels = x.shape[-1]
                w = self[f"{at}.depthwise.w"].t().reshape(channels, 1, 7, 7)
                y = F.conv2d(x.permute(0, 3, 1, 2), w, self[f"{at}.depthwise.b"], padding=3, groups=channels)
                y = self.norm(f"{at}.norm", y.permute(0, 2, 3, 1))
                y = self.linear(f"{at}.contract", F.gelu(self.linear(f"{at}.expand", y), approximate="tanh"))
                x = x + self[f"{at}.scale"] * y
        if c["readout"] == "mean":
            x = self.norm("encoder.out.norm", x.mean((1, 2)))
        else:
            x = self.norm("encoder.out.norm", x).flatten(1)
        return self.linear("encoder.out", x)

    def forward(self, pixels, actions):
        """The mean over timesteps of the sum over components of the cross-entropy. pixels u8 [B,T,S,S,3], actions i64 [B,T,heads]."""
        c = self.config
        b, t = pixels.shape[:2]
        d, heads = c["width"], c["heads"]
        x = self.encode(pixels.flatten(0, 1)).view(b, t, d) + self["position"]
        for layer in range(c["layers"]):
            at = f"layers.{layer}"
            qkv = self.linear(f"{at}.attention.qkv", self.norm(f"{at}.attention.norm", x))
            q, k, v = qkv.view(b, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
            x = x + self.linear(f"{at}.attention.out", y)
            y = self.linear(f"{at}.ffn.expand", self.norm(f"{at}.ffn.norm", x))
            x = x + self.linear(f"{at}.ffn.contract", F.gelu(y, approximate="tanh"))
        logits = self.linear("head.policy", self.norm("norm", x)).float()
        total, start = 0.0, 0
        for component, head in enumerate(c["actions"]):
            values = head["values"]
            scores = logits[..., start:start + values].reshape(-1, values)
            total = total + F.cross_entropy(scores, actions[..., component].reshape(-1))
            start += values
        return total


def train(agent, frames, actions, settings, steps, device, mode):
    """Losses and seconds of each step, the first excluded from the seconds as it compiles."""
    gpu = device == "cuda"
    if gpu:
        torch.set_float32_matmul_precision("high")
    agent.to(device)
    # Biases, norms, scales and positions do not decay.
    groups = [{"params": [agent[name] for name in agent.names if name.endswith(".w") == decays],
               "weight_decay": settings["weight_decay"] if decays else 0.0} for decays in (True, False)]
    optimiser = torch.optim.AdamW(groups, lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]), eps=1e-8, fused=gpu)
    loss_of = torch.compile(agent, mode=mode) if gpu and mode else agent
    frames = frames.pin_memory() if gpu else frames
    actions = actions.to(device)
    losses, seconds = [], []
    for step in range(steps):
        began = time.perf_counter()
        pixels = frames.to(device, non_blocking=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=gpu):
            loss = loss_of(pixels, actions)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(agent.parameters(), settings["clip"])
        optimiser.step()
        # As we do: a step ends when its loss is known.
        losses.append(loss.item())
        if step:
            seconds.append(time.perf_counter() - began)
    return losses, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--compile", default="max-autotune-no-cudagraphs", help="mode of torch.compile; empty: none")
    parser.add_argument("--json", type=pathlib.Path, help="also write the results to this file")
    args = parser.parse_args()
    ours = json.loads((args.folder / "step.json").read_text())
    config, device = ours["config"], ours["device"]
    sequences, steps, side = ours["sequences"], config["context"], config["frame_size"]
    raw = np.fromfile(args.folder / "frames.u8", dtype=np.uint8).reshape(sequences, steps, side, side, 3)
    actions = np.fromfile(args.folder / "actions.u8", dtype=np.uint8).reshape(sequences, steps, -1)
    agent = Agent(config, safetensors(args.folder / "initial.safetensors"))
    losses, seconds = train(agent, torch.from_numpy(raw), torch.from_numpy(actions).long(), ours, len(ours["losses"]),
                            device, args.compile)

    print("| step | Playhouse | PyTorch | difference |\n| --- | --- | --- | --- |")
    worst = 0.0
    for step, (a, b) in enumerate(zip(ours["losses"][:COMPARED], losses), 1):
        off = abs(a - b) / abs(b)
        worst = max(worst, off)
        print(f"| {step} | {a:.5f} | {b:.5f} | {off:.1e} |")
    frames = sequences * steps
    mine, theirs = statistics.median(ours["seconds"]), statistics.median(seconds)
    print(f"\n| | ms a step | frames/s |\n| --- | --- | --- |")
    print(f"| Playhouse | {1e3 * mine:.1f} | {frames / mine:,.0f} |")
    print(f"| PyTorch {torch.__version__} | {1e3 * theirs:.1f} | {frames / theirs:,.0f} |")
    print(f"| ratio | {theirs / mine:.2f} | |")
    agrees = worst <= TOLERANCE[device]
    print(f"\nlosses {'agree' if agrees else 'DO NOT AGREE'}: off by at most {worst:.1e} of the value, {TOLERANCE[device]:.0e} allowed")
    if args.json:
        where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        args.json.write_text(json.dumps({"device": where, "torch": torch.__version__, "losses": losses, "seconds": seconds,
                                         "ratio": theirs / mine, "worst": worst}, indent=2))
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
