"""Time the operators of a training step in PyTorch, on the same card and at the same sizes as `laboratory time`.

usage: laboratory time --json times.json
       python tests/gpu/pytorch.py times.json [--repeat 20] [--only WORD] [--json FILE]

Needs PyTorch 2.11 with CUDA; nothing else. The sizes are read from the names in times.json, so both sides compute the same
thing. Every operator is timed by CUDA events with a cold level-2 cache, bf16, channels last where there are channels: as it is
(eager: SDPA, cuDNN, cuBLASLt) and under torch.compile(mode="max-autotune-no-cudagraphs"); the faster one counts. Where PyTorch
has the whole operator as one function (convolution_backward, native_layer_norm_backward) that one is timed.

`ratio` is PyTorch's median over ours: above 1 ours is faster.
"""
import argparse, json, math, re, statistics, sys

import torch
import torch._functorch.config
import torch.nn.functional as F

aten = torch.ops.aten
# A graph that is kept for more than one backward pass must not give its tensors away in the first.
torch._functorch.config.donated_buffer = False
# Values of each component of the gamepad.
HEADS = [2] * 12 + [11] * 4
DTYPE, DEVICE = torch.bfloat16, "cuda"


def uniform(*shape, dtype=None):
    return torch.empty(*shape, dtype=dtype or DTYPE, device=DEVICE).uniform_(-1, 1)


def images(n, h, w, c):
    return uniform(n, c, h, w).contiguous(memory_format=torch.channels_last)


# ---- one function an operator: from the numbers in its name to (function, arguments) ---------------------------------------

def stem_forward(frames, size, _width, _colours, c):
    pixels = torch.randint(0, 256, (frames, 3, size, size), dtype=torch.uint8, device=DEVICE)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    w, b = uniform(c, 3, 4, 4).contiguous(memory_format=torch.channels_last), uniform(c)
    return lambda p, w, b: F.conv2d(p.to(DTYPE) / 127.5 - 1, w, b, stride=4), (pixels, w, b)


def stem_backward(frames, size, _width, _colours, c):
    forward, (pixels, w, b) = stem_forward(frames, size, size, 3, c)
    dy = images(frames, size // 4, size // 4, c)
    def run(dy, p, w):
        x = p.to(DTYPE) / 127.5 - 1
        return aten.convolution_backward(dy, x, w, [c], [4, 4], [0, 0], [1, 1], False, [0, 0], 1, [False, True, True])
    return run, (dy, pixels, w)


def depthwise_forward(frames, h, w, c):
    return (lambda x, w, b: F.conv2d(x, w, b, padding=3, groups=c)), (images(frames, h, w, c), uniform(c, 1, 7, 7), uniform(c))


def depthwise_backward(frames, h, w, c):
    # The gradient of the pixels is added to the residual stream's.
    def run(dy, x, w, dx):
        add, dw, db = aten.convolution_backward(dy, x, w, [c], [1, 1], [3, 3], [1, 1], False, [0, 0], c, [True, True, True])
        return dx.add_(add), dw, db
    return run, (*(images(frames, h, w, c) for _ in range(2)), uniform(c, 1, 7, 7), images(frames, h, w, c))


def norm_patches2(x, g, b):
    n, h, w, c = x.shape
    return F.layer_norm(x, (c,), g, b).view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).contiguous()


def norm_patches2_forward(frames, h, w, c):
    return norm_patches2, (uniform(frames, h, w, c), uniform(c), uniform(c))


def norm_patches2_backward(frames, h, w, c, compiled=lambda run: run):
    inputs = [x.requires_grad_() for x in (uniform(frames, h, w, c), uniform(c), uniform(c))]
    y = compiled(norm_patches2)(*inputs)
    return (lambda dy: torch.autograd.grad(y, inputs, dy, retain_graph=True)), (uniform(*y.shape),)


def layer_norm_forward(_, rows, cols):
    return (lambda x, g, b: F.layer_norm(x, (cols,), g, b)), (uniform(rows, cols), uniform(cols), uniform(cols))


def layer_norm_backward(_, rows, cols):
    x, g, b = uniform(rows, cols), uniform(cols), uniform(cols)
    _, mean, rstd = aten.native_layer_norm(x, (cols,), g, b, 1e-5)
    def run(dy, x, mean, rstd, g, b):
        return aten.native_layer_norm_backward(dy, x, (cols,), mean, rstd, g, b, [True, True, True])
    return run, (uniform(rows, cols), x, mean, rstd, g, b)


def linear_forward(_, m, k, n):
    return F.linear, (uniform(m, k), uniform(n, k), uniform(n))


def linear_gelu_forward(_, m, k, n):
    def run(x, w, b):
        pre = F.linear(x, w, b)
        return pre, F.gelu(pre, approximate="tanh")
    return run, (uniform(m, k), uniform(n, k), uniform(n))


def linear_residual_forward(_, m, k, n):
    return (lambda x, w, b, skip: skip + F.linear(x, w, b)), (uniform(m, k), uniform(n, k), uniform(n), uniform(m, n))


def linear_scaled_residual_forward(_, m, k, n):
    def run(x, w, b, skip, scale):
        pre = F.linear(x, w, b)
        return pre, skip + scale * pre
    return run, (uniform(m, k), uniform(n, k), uniform(n), uniform(m, n), uniform(n))


def linear_backward(_, m, k, n):
    return (lambda dy, x, w: (dy @ w, dy.T @ x, dy.sum(0))), (uniform(m, n), uniform(m, k), uniform(n, k))


def linear_backward_gelu(_, m, k, n):
    def run(dy, x, w, pre):
        return aten.gelu_backward(dy @ w, pre, approximate="tanh"), dy.T @ x, dy.sum(0)
    return run, (uniform(m, n), uniform(m, k), uniform(n, k), uniform(m, k))


def layer_scale_backward(_, m, n):
    return (lambda dy, pre, scale: (dy * scale, (dy * pre).sum(0))), (uniform(m, n), uniform(m, n), uniform(n))


def bottleneck_inputs(rows, c):
    vectors = uniform(c), uniform(c), uniform(4 * c), uniform(c), uniform(c)
    return uniform(rows, c), uniform(rows, c), uniform(4 * c, c), uniform(c, 4 * c), *vectors


def bottleneck(x, skip, w1, w2, g, b, b1, b2, scale):
    n = F.layer_norm(x, g.shape, g, b)
    return skip + scale * F.linear(F.gelu(F.linear(n, w1, b1), approximate="tanh"), w2, b2)


def bottleneck_forward(_, rows, c):
    return bottleneck, bottleneck_inputs(rows, c)


def bottleneck_backward(_, rows, c, compiled=lambda run: run):
    x, skip, *parameters = bottleneck_inputs(rows, c)
    # The gradient of skip is dy, and costs nothing.
    inputs = [x.requires_grad_(), *(p.requires_grad_() for p in parameters)]
    y = compiled(bottleneck)(x, skip, *parameters)
    return (lambda dy: torch.autograd.grad(y, inputs, dy, retain_graph=True)), (uniform(rows, c),)


def attention_inputs(b, t, heads, size):
    qkv = uniform(b, t, 3, heads, size)
    return [qkv[:, :, i].transpose(1, 2) for i in range(3)]


def attention_forward(_, b, t, heads, size):
    return (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)), attention_inputs(b, t, heads, size)


def attention_backward(_, b, t, heads, size):
    inputs = [x.detach().requires_grad_() for x in attention_inputs(b, t, heads, size)]
    y = F.scaled_dot_product_attention(*inputs, is_causal=True)
    # The backward pass alone: the graph is kept, so that it can run again.
    return (lambda dy: torch.autograd.grad(y, inputs, dy, retain_graph=True)), (uniform(b, heads, t, size),)


def attention_decode(_, lanes, t, heads, size):
    inputs = uniform(lanes, heads, 1, size), uniform(lanes, heads, t, size), uniform(lanes, heads, t, size)
    return F.scaled_dot_product_attention, inputs


def policy_loss(_, tokens, width):
    actions = torch.ones(tokens, len(HEADS), dtype=torch.long, device=DEVICE)
    def run(logits, actions, weight):
        logits = logits.detach().requires_grad_()
        parts = logits.float().split(HEADS, 1)
        nll = sum(F.cross_entropy(x, actions[:, i], reduction="none") for i, x in enumerate(parts))
        return nll, torch.autograd.grad((nll * weight).sum(), logits)
    return run, (uniform(tokens, width), actions, uniform(tokens, dtype=torch.float32))


def grad_norm(_, n):
    return torch.linalg.vector_norm, (uniform(n, dtype=torch.float32),)


def adamw(_, n):
    p = torch.nn.Parameter(uniform(n, dtype=torch.float32))
    p.grad = uniform(n, dtype=torch.float32)
    optimiser = torch.optim.AdamW([p], lr=1e-4, fused=True)
    half = p.detach().to(DTYPE)
    def run():
        optimiser.step()
        half.copy_(p.detach())
    return run, ()


# What PyTorch has nothing for.
OURS_ALONE = {"frames_decode"}
# What cannot be compiled as it stands: the optimiser's step and a backward pass through a graph that is kept.
EAGER = {"adamw", "attention_backward", "policy_loss"}
# And a backward pass that is what the compiler made of the forward pass.
THROUGH = {"bottleneck_backward", "norm_patches2_backward"}


# ---- the clock ----------------------------------------------------------------------------------------------------------

def milliseconds(run, arguments, repeat):
    flush = torch.empty(256 << 20, dtype=torch.uint8, device=DEVICE)
    times = []
    for turn in range(repeat + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.fill_(1)
        start.record()
        run(*arguments)
        end.record()
        torch.cuda.synchronize()
        if turn >= 3:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def measure(name, frames, repeat):
    operator, _, size = name.partition(" ")
    numbers = [frames, *map(int, re.findall(r"\d+", size))]
    run, arguments = globals()[operator](*numbers)
    times = {"eager": milliseconds(run, arguments, repeat)}
    compiled = lambda run: torch.compile(run, mode="max-autotune-no-cudagraphs", dynamic=False)
    torch._dynamo.reset()
    if operator in THROUGH:
        times["compiled"] = milliseconds(*globals()[operator](*numbers, compiled), repeat)
    elif operator not in EAGER:
        times["compiled"] = milliseconds(compiled(run), arguments, repeat)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours", help="what `laboratory time --json` wrote")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--only", default="", help="only operators with this in their names")
    parser.add_argument("--json", help="write the times to this file")
    given = parser.parse_args()
    ours = json.load(open(given.ours))
    frames = 32 * ours["sequences"]
    print(f"{ours['device']}; PyTorch {torch.__version__} on {torch.cuda.get_device_name()}")
    print(f"{'operator':44}{'ours ms':>10}{'eager':>10}{'compiled':>10}{'ratio':>8}")
    rows = []
    for operator in ours["operators"]:
        name = operator["name"]
        if given.only not in name:
            continue
        if name.partition(" ")[0] in OURS_ALONE:
            print(f"{name:44}{operator['ms']:10.4f}{'none in PyTorch':>20}", flush=True)
            continue
        try:
            times = measure(name, frames, given.repeat)
        except Exception as error:  # one operator that PyTorch cannot do must not hide the rest
            print(f"{name:44}{operator['ms']:10.4f}  PyTorch fails: {' '.join(str(error).split())[:120]}", flush=True)
            continue
        finally:
            torch.cuda.empty_cache()
        ratio = min(times.values()) / operator["ms"]
        compiled = f"{times['compiled']:10.4f}" if "compiled" in times else f"{'':10}"
        print(f"{name:44}{operator['ms']:10.4f}{times['eager']:10.4f}{compiled}{ratio:8.2f}", flush=True)
        rows.append({"name": name, "ours_ms": operator["ms"], "ratio": ratio, **{f"{k}_ms": v for k, v in times.items()}})
    if rows:
        mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
        print(f"geometric mean of {len(rows)} ratios: {mean:.2f}")
    if given.json:
        with open(given.json, "w") as out:
            json.dump({"pytorch": torch.__version__, "device": torch.cuda.get_device_name(), "operators": rows}, out, indent=1)


if __name__ == "__main__":
    sys.exit(main())
