"""Time the questions of tests/bench/queries with Playhouse, DuckDB, Polars and stock DataFusion, side by side in one run.

usage: python tests/bench/compare.py --dataset DATASET --plain TABLES [--only WORD ...] [--peers ENGINE ...] [--repeat 5]
       [--out FILE.json]

DATASET is a Playhouse dataset, TABLES the plain Parquet files it was imported from (steps/*.parquet, episodes.parquet);
tests/bench/README.md says how to make both. Needs `pip install -r tests/bench/requirements.txt`.

Every engine is a process of its own on --threads threads, its files in the page cache, tables registered beforehand. For
each question all engines answer once, unmeasured, then in turns --repeat times, so that a change of the machine's mood
meets all of them; the median counts. Each peer has two chances, on the plain files and on the dataset's own. A peer
slower than twice the best peer at the unmeasured turn keeps that one time: it cannot become the best.

Columns: `playhouse` is the question in words Playhouse adds (its functions), where there is such a text; `same SQL` is
the text the peers get, unchanged. Ratios are best peer / Playhouse: above 1 Playhouse is faster. MB is the peak resident
memory while the question ran.
"""
import argparse, glob, json, math, os, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
BUTTONS = ["a", "b", "x", "y", "lb", "rb", "lt", "rt", "dpad_up", "dpad_down", "l3", "r3"]
# The plain files' names for what the questions call by the dataset's names.
RENAMED = {f"button_{b}": b for b in BUTTONS} | {"x": "pos_x", "y": "pos_y", "z": "pos_z"}
RENAMED_EPISODES = {"player_id": "player"}
PEERS = [(engine, files) for engine in ("duckdb", "polars", "datafusion") for files in ("plain", "ours")]
# Questions whose time is planning and not reading; they are left out of "none below 1.0", not of the means.
PLANNED = {"q08_preference_pairs", "q11_outcomes"}


# ---- the other end: one engine, one line a question -----------------------------------------------------------------

def episode_files(files, root):
    return f"{root}/episodes.parquet" if files == "plain" else f"{root}/episodes/*.parquet"


def renamed_columns(columns, names):
    return ", ".join(f'"{c}" as "{names[c]}"' if c in names else f'"{c}"' for c in columns)


def serve_duckdb(files, root, threads):
    import duckdb
    connection = duckdb.connect()
    connection.execute(f"set threads={threads}")
    for table, source, names in (
        ("steps", f"read_parquet('{root}/steps/*.parquet')", RENAMED),
        ("episodes", f"read_parquet('{episode_files(files, root)}')", RENAMED_EPISODES),
    ):
        columns = "*"
        if files == "plain":
            columns = renamed_columns(connection.sql(f"select * from {source} limit 0").columns, names)
        connection.execute(f"create view {table} as select {columns} from {source}")
    return lambda sql: connection.sql(sql).to_arrow_table()


def serve_polars(files, root, threads):
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars
    steps, episodes = polars.scan_parquet(f"{root}/steps/*.parquet"), polars.scan_parquet(episode_files(files, root))
    if files == "plain":
        steps, episodes = steps.rename(RENAMED), episodes.rename(RENAMED_EPISODES)
    context = polars.SQLContext(steps=steps, episodes=episodes)
    return lambda sql: context.execute(sql).collect(engine="streaming").to_arrow()


def serve_datafusion(files, root, threads):
    import datafusion, pyarrow
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(threads))
    for table, path, names in (
        ("steps", f"{root}/steps/", RENAMED),
        ("episodes", f"{root}/episodes.parquet" if files == "plain" else f"{root}/episodes/", RENAMED_EPISODES),
    ):
        if files != "plain":
            context.register_parquet(table, path)
            continue
        context.register_parquet(f"stored_{table}", path)
        columns = renamed_columns(context.sql(f"select * from stored_{table} limit 0").schema().names, names)
        context.sql(f"create view {table} as select {columns} from stored_{table}").collect()
    def run(sql):
        frame = context.sql(sql)
        return pyarrow.Table.from_batches(frame.collect(), schema=frame.schema())
    return run


def serve(engine, files, root, threads):
    import pyarrow.parquet
    run = {"duckdb": serve_duckdb, "polars": serve_polars, "datafusion": serve_datafusion}[engine](files, root, threads)
    for line in sys.stdin:
        path, _, out = line.rstrip("\n").partition("\t")
        try:
            sql = open(path).read()
            began = time.perf_counter()
            table = run(sql)
            answer = {"seconds": time.perf_counter() - began, "rows": table.num_rows}
            if out:
                pyarrow.parquet.write_table(table, out)
        except BaseException as error:  # a Rust panic in an engine is no Exception
            answer = {"error": " ".join(str(error).split())[:200]}
        print(json.dumps(answer), flush=True)


# ---- this end ---------------------------------------------------------------------------------------------------------

class Engine:
    def __init__(self, name, command):
        self.name, self.command, self.process = name, command, None

    def ask(self, path, out=None, limit=600):
        """Seconds, rows and peak MB of one answer, or the error."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True)
        proc = f"/proc/{self.process.pid}"
        with open(f"{proc}/clear_refs", "w") as peak:
            peak.write("5")  # the peak counts from here
        self.process.stdin.write(f"{path}\t{out}\n" if out else f"{path}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            return {"error": f"ended with {code}" + (" (killed: out of memory?)" if code == -9 else "")}
        answer = json.loads(line)
        with open(f"{proc}/status") as status:
            answer["mb"] = next(int(l.split()[1]) / 1024 for l in status if l.startswith("VmHWM"))
        return answer


def build_playhouse():
    made = subprocess.run(["cargo", "bench", "-p", "playhouse-queries", "--bench", "suite", "--no-run",
                           "--message-format=json"], stdout=subprocess.PIPE, text=True, check=True, cwd=HERE)
    found = [json.loads(l) for l in made.stdout.splitlines() if l.startswith("{")]
    return [m["executable"] for m in found if m.get("executable") and m["target"]["name"] == "suite"][-1]


def differs(ours, theirs, only):
    """The first column in which two results differ as bags of values, or none. Ties at a LIMIT may fall either way, so a
    question names the columns that have to agree."""
    import numpy, pyarrow.parquet
    a, b = pyarrow.parquet.read_table(ours), pyarrow.parquet.read_table(theirs)
    if a.num_rows != b.num_rows:
        return f"{a.num_rows} rows and {b.num_rows}"
    for i, name in enumerate(a.column_names):
        if only and name not in only:
            continue
        x = a.column(i).to_pylist()
        # `select *` has other columns beside other files.
        y = (b.column(name) if only and name in b.column_names else b.column(i)).to_pylist()
        if any(isinstance(v, str) for v in x):
            same = sorted(map(str, x)) == sorted(map(str, y))
        else:
            number = lambda v: numpy.nan if v is None else float(v)
            same = numpy.allclose(sorted(map(number, x)), sorted(map(number, y)), rtol=1e-4, equal_nan=True)
        if not same:
            return f"column {name}"
    return None


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--plain", required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--playhouse", help="the benchmark's executable; built with cargo bench if not given")
    parser.add_argument("--peers", nargs="*", default=["duckdb", "polars", "datafusion"], help="only these")
    parser.add_argument("--out", help="write every time to this JSON file")
    given = parser.parse_args()
    dataset, plain = os.path.abspath(given.dataset), os.path.abspath(given.plain)

    ours = Engine("playhouse", [given.playhouse or build_playhouse(), "--serve", dataset])
    itself = [sys.executable, os.path.abspath(__file__), "--worker"]
    peers = [
        Engine(f"{engine} {files}", itself + [engine, files, dataset if files == "ours" else plain, str(given.threads)])
        for engine, files in PEERS if engine in given.peers]
    print(f"{'seconds (median of ' + str(given.repeat) + ')':24}{'playhouse':>10}{'same SQL':>10}"
          + "".join(f"{p.name:>17}" for p in peers) + f"{'ratio':>9}{'same SQL':>9}{'MB':>7}{'peer MB':>9}", flush=True)
    record = {}
    for path in sorted(glob.glob(f"{HERE}/queries/*.sql")):
        name = os.path.basename(path)[:-4]
        if name.endswith(".playhouse") or not any(word in name for word in given.only):
            continue
        record[name] = question(path, name, ours, peers, given.repeat)
        if given.out:
            with open(given.out, "w") as out:
                json.dump(record, out, indent=1)
    summary(record)


def question(path, name, ours, peers, repeat):
    own_text = path[:-4] + ".playhouse.sql"
    turns = [("playhouse", ours, own_text if os.path.exists(own_text) else path)]
    if os.path.exists(own_text):
        turns.append(("same SQL", ours, path))
    turns += [(peer.name, peer, path) for peer in peers]
    only = next((l.split(":", 1)[1].split() for l in open(path) if l.startswith("-- compare:")), None)

    first, times, wrong = {}, {}, []
    for label, engine, text in turns:
        out = f"/tmp/playhouse-compare-{os.getpid()}-{label.replace(' ', '-')}.parquet"
        first[label] = engine.ask(text, out)
        if label == "playhouse":
            if "error" in first[label]:
                sys.exit(f"{name}: Playhouse fails: {first[label]['error']}")
            continue
        if "error" not in first[label]:
            difference = differs(f"/tmp/playhouse-compare-{os.getpid()}-playhouse.parquet", out, only)
            if difference:
                wrong.append(f"{label} differs in {difference}")
        if os.path.exists(out):
            os.remove(out)
    os.remove(f"/tmp/playhouse-compare-{os.getpid()}-playhouse.parquet")
    answered = [first[p.name]["seconds"] for p in peers if "error" not in first[p.name]]
    for _ in range(repeat):
        for label, engine, text in turns:
            slow = engine is not ours and answered and first[label].get("seconds", 0) > 2 * min(answered)
            if "error" not in first[label] and not slow:
                times.setdefault(label, []).append(engine.ask(text))
    median = {label: statistics.median(a["seconds"] for a in times.get(label, [first[label]]))
              for label, _, _ in turns if "error" not in first[label]}
    memory = {label: max(a["mb"] for a in times.get(label, [first[label]])) for label in median}
    median.setdefault("same SQL", median["playhouse"])
    named = [p.name for p in peers if p.name in median]
    best = min(named, key=median.get) if named else None
    row = {"median": median, "mb": memory, "best": best, "rows": first["playhouse"]["rows"], "wrong": wrong,
           "errors": {l: a["error"] for l, a in first.items() if "error" in a},
           "times": {l: [a["seconds"] for a in t] for l, t in times.items()}}
    print(f"{name:24}{median['playhouse']:10.4f}{median['same SQL']:10.4f}"
          + "".join(f"{median[p.name]:17.4f}" if p.name in median else f"{'fails':>17}" for p in peers)
          + (f"{median[best] / median['playhouse']:9.2f}{median[best] / median['same SQL']:9.2f}"
             f"{memory['playhouse']:7.0f}{memory[best]:9.0f}" if best else ""), flush=True)
    for line in wrong + [f"{l} fails: {e}" for l, e in row["errors"].items()]:
        print(f"    {line}", flush=True)
    return row


def summary(record):
    record = {name: row for name, row in record.items() if row["best"]}
    if not record:
        return
    for title, kept in (("the suite of ten", lambda n: n < "q11"), ("a curator's", lambda n: n >= "q11"), ("all", lambda n: True)):
        names = [n for n in record if kept(n)]
        if not names:
            continue
        line = f"{title:18}"
        for label in ("playhouse", "same SQL"):
            ratios = {n: record[n]["median"][record[n]["best"]] / record[n]["median"][label] for n in names}
            rest = sorted(ratios.values())[:-1]
            below = [n for n, r in ratios.items() if r < 1 and n not in PLANNED]
            line += (f"  {label}: mean {geometric_mean(ratios.values()):.2f}"
                     + (f", without its best {geometric_mean(rest):.2f}" if rest else "")
                     + f", below 1.0: {', '.join(below) or 'none'}")
        print(line)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        serve(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        main()
