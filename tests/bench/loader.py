"""Random 32-frame windows at 128x128: what people would use instead, and Playhouse. One thread each, same frames, one run.

usage: python tests/bench/loader.py WORK CLIP.npz [CLIP.npz ...] [--windows 300] [--copies 12] [--repeat 5] [--bench FILE]

WORK is a scratch folder; it is emptied. CLIPs are in the layout of Bleeding Edge (images uint8 [N, 3, H, W]); each is an episode,
and copies with shifted brightness make enough of them. The script makes WORK/venv from loader-requirements.txt beside it and
runs the peers in it; our side is `cargo bench -p playhouse-schemas --bench windows`, or an executable of it, --bench.

Every reader is a process of its own, that reads all windows once unmeasured and once measured; they run in turns, --repeat
times, so that a change of the machine's mood meets all of them, and the median counts. Files are in the page cache. `peak` is
the most memory of the process: the bare decoders hold all images, and the peers Python. JPEG is of quality 90, encoded by
Pillow, and the same bytes for all. Lance and Playhouse with JPEG store no less than what they decode.
"""
import argparse, io, json, os, shutil, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SIDE, H, QUALITY, GROUP = 128, 32, 90, 1024
PEERS = {
    "bare-pil": "bare decoder: libjpeg-turbo (Pillow), from memory",
    "lance-16": "Lance take, 16 windows a call",
    "lance-1": "Lance take, 1 window a call",
    "pyarrow": "Parquet by row group (pyarrow)",
    "mp4": "one mp4 an episode (x264 g=2, PyAV)",
    "webdataset": "WebDataset, sequential, windows cut beforehand",
}
OURS = {
    "bare-jpeg": "bare decoder: zune-jpeg, from memory",
    "jpeg": "Playhouse, JPEG",
    "bare-fast": "bare decoder: codec fast, from memory",
    "fast": "Playhouse, fast",
    "fast-of-jpeg": "Playhouse, fast, transcoded from the JPEGs",
}


def lines(path):
    with open(path) as file:
        return [int(word) for word in file.read().split()]


# ---- in the venv: one peer, one line of JSON ------------------------------------------------------------------------

def make_input(work, clips, copies, count):
    import numpy as np
    from PIL import Image
    episodes = []
    for copy in range(copies):
        for clip in clips:
            images = np.load(clip)["images"].transpose(0, 2, 3, 1)
            shifted = np.clip(images.astype(np.int16) + 3 * copy, 0, 255).astype(np.uint8)
            episodes.append([np.asarray(Image.fromarray(x).resize((SIDE, SIDE), Image.BOX)) for x in shifted])

    def jpeg(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()

    coded = [[jpeg(x) for x in episode] for episode in episodes]
    draw = np.random.default_rng(0)
    windows = [(int(e), int(draw.integers(0, len(episodes[e]) - H))) for e in draw.integers(0, len(episodes), count)]

    def save(name, rows):
        with open(f"{work}/{name}", "w") as file:
            file.writelines(f"{row}\n" for row in rows)

    save("episodes.txt", map(len, episodes))
    save("windows.txt", (f"{e} {t}" for e, t in windows))
    save("jpegs.txt", (len(b) for episode in coded for b in episode))
    with open(f"{work}/jpegs.bin", "wb") as file:
        file.writelines(b for episode in coded for b in episode)
    with open(f"{work}/frames.rgb", "wb") as file:
        file.writelines(x.tobytes() for episode in episodes for x in episode)

    import pyarrow as pa, pyarrow.parquet as pq, lance, av, webdataset
    table = pa.table({
        "episode_id": np.repeat(np.arange(len(episodes)), [len(e) for e in episodes]),
        "t": np.concatenate([np.arange(len(e)) for e in episodes]).astype(np.int32),
        "image": pa.array([b for episode in coded for b in episode], pa.binary()),
    })
    lance.write_dataset(table, f"{work}/frames.lance")
    pq.write_table(table, f"{work}/frames.parquet", row_group_size=GROUP, compression="none", use_dictionary=False)
    os.makedirs(f"{work}/mp4")
    for i, episode in enumerate(episodes):
        with av.open(f"{work}/mp4/{i}.mp4", "w") as out:
            stream = out.add_stream("libx264", rate=10, options={"g": "2", "crf": "30"})
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            for x in episode:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(x), format="rgb24")))
            out.mux(stream.encode(None))
    with webdataset.TarWriter(f"{work}/w.tar") as tar:
        for k, (e, t) in enumerate(windows):
            tar.write({"__key__": f"{k:06d}", **{f"{j:02d}.jpg": coded[e][t + j] for j in range(H)}})


def reader(work, what):
    """A function that yields every window as uint8 [32, 128, 128, 3]."""
    import numpy as np
    from PIL import Image
    lengths, pairs = lines(f"{work}/episodes.txt"), lines(f"{work}/windows.txt")
    windows = list(zip(pairs[::2], pairs[1::2]))
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    decode = lambda b: np.asarray(Image.open(io.BytesIO(b)).convert("RGB"))

    if what == "bare-pil":
        with open(f"{work}/jpegs.bin", "rb") as file:
            images = [file.read(size) for size in lines(f"{work}/jpegs.txt")]
        return lambda: (np.stack([decode(b) for b in images[starts[e] + t:starts[e] + t + H]]) for e, t in windows)
    if what.startswith("lance"):
        import lance
        dataset, batch = lance.dataset(f"{work}/frames.lance"), int(what.split("-")[1])

        def take():
            for k in range(0, len(windows), batch):
                part = windows[k:k + batch]
                rows = np.concatenate([starts[e] + t + np.arange(H) for e, t in part])
                column = dataset.take(rows.tolist(), columns=["image"]).column(0).to_pylist()
                for j in range(len(part)):
                    yield np.stack([decode(b) for b in column[j * H:(j + 1) * H]])
        return take
    if what == "pyarrow":
        import pyarrow.parquet as pq
        file = pq.ParquetFile(f"{work}/frames.parquet")

        def groups():
            for e, t in windows:
                a = starts[e] + t
                first, last = a // GROUP, (a + H - 1) // GROUP
                table = file.read_row_groups(list(range(first, last + 1)), columns=["image"], use_threads=False)
                yield np.stack([decode(b) for b in table.column(0).slice(a - first * GROUP, H).to_pylist()])
        return groups
    if what == "mp4":
        import av

        def videos():
            for e, t in windows:
                with av.open(f"{work}/mp4/{e}.mp4") as container:
                    stream = container.streams.video[0]
                    stream.thread_type = "NONE"
                    wanted, got = int(t / 10 / stream.time_base), []
                    container.seek(wanted, stream=stream)
                    for frame in container.decode(stream):
                        if frame.pts >= wanted:
                            got.append(frame.to_ndarray(format="rgb24"))
                        if len(got) == H:
                            break
                    yield np.stack(got)
        return videos
    import webdataset
    shards = lambda: webdataset.WebDataset(f"{work}/w.tar", shardshuffle=False)
    return lambda: (np.stack([decode(sample[f"{j:02d}.jpg"]) for j in range(H)]) for sample in shards())


def read(work, what):
    import resource
    windows = reader(work, what)
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        for window in windows():
            assert window.shape == (H, SIDE, SIDE, 3)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak}))


# ---- outside: everybody in turns -------------------------------------------------------------------------------------

def size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, f)) for folder, _, files in os.walk(path) for f in files)


def bench_executable(given):
    if given:
        return given
    command = ["cargo", "bench", "-p", "playhouse-schemas", "--bench", "windows", "--no-run", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line).get("executable") for line in built.splitlines()]
    return next(path for path in reversed(found) if path)


def main():
    if sys.argv[1:2] == ["--make"]:
        return make_input(sys.argv[2], sys.argv[5:], int(sys.argv[3]), int(sys.argv[4]))
    if sys.argv[1:2] == ["--read"]:
        return read(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work")
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--bench", help="the executable of schemas/benches/windows.rs [default: built by cargo]")
    parser.add_argument("--venv", help="a folder with loader-requirements.txt installed [default: made in WORK]")
    args = parser.parse_args()

    bench, work = bench_executable(args.bench), os.path.abspath(args.work)
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    venv = args.venv or f"{work}/venv"
    if not args.venv:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([f"{venv}/bin/pip", "install", "-q", "-r", f"{HERE}/loader-requirements.txt"], check=True)
    python = [f"{venv}/bin/python", os.path.abspath(__file__)]
    clips = [os.path.abspath(clip) for clip in args.clips]
    subprocess.run(python + ["--make", work, str(args.copies), str(args.windows)] + clips, check=True)
    subprocess.run([bench, "prepare", work], check=True)

    # One thread each, whatever a library would like to use.
    alone = os.environ | {name: "1" for name in ("OMP_NUM_THREADS", "LANCE_CPU_THREADS", "RAYON_NUM_THREADS")}
    commands = {name: python + ["--read", work, name] for name in PEERS}
    commands |= {name: [bench, "read", work, name] for name in OURS}
    runs = {name: [] for name in commands}
    for _ in range(args.repeat):
        for name, command in commands.items():
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=alone).stdout
            runs[name].append(json.loads(out))

    episodes, frames = lines(f"{work}/episodes.txt"), args.windows * H
    total = sum(episodes)
    files = {"lance-16": "frames.lance", "lance-1": "frames.lance", "pyarrow": "frames.parquet", "mp4": "mp4",
             "jpeg": "jpeg/frames", "fast": "fast/frames", "fast-of-jpeg": "fast-of-jpeg/frames"}
    median = lambda name, key: statistics.median(run[key] for run in runs[name])
    lance = min(median(name, "cpu") for name in ("lance-16", "lance-1"))
    print(f"{len(episodes)} episodes, {total} frames, {args.windows} windows of {H}; medians of {args.repeat}\n")
    print("| reader | frames/s | per CPU-second | of Lance's best, by CPU | B/frame | peak MB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, words in (PEERS | OURS).items():
        wall, cpu, peak = (median(name, key) for key in ("wall", "cpu", "peak"))
        stored = f"{size(f'{work}/{files[name]}') / total:,.0f}" if name in files else ""
        print(f"| {words} | {frames / wall:,.0f} | {frames / cpu:,.0f} | {lance / cpu:.2f} | {stored} | {peak / 1e6:,.0f} |")


if __name__ == "__main__":
    main()
