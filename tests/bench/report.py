"""report.py RESULTS.json FOLDER - the tables of performance.md in FOLDER, between its two marks, and a plot beside it."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

BEGIN, END = "<!-- figures: tools/bench --report -->\n", "<!-- end of figures -->\n"
YARDSTICKS = ("application alone", "nginx", "floor", "bare")


def columns(results):
    seen = {name for w in results["workloads"].values() for name in w["figures"]}
    return ["cwsgi", *sorted(seen - {"cwsgi", *YARDSTICKS}), *(y for y in YARDSTICKS if y in seen)]


def best_peer(figures):
    peers = {n: f["cpu_us"][0] for n, f in figures.items() if n not in ("cwsgi", *YARDSTICKS)}
    return min(peers, key=peers.get) if peers else None


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def number(value):
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def rates(results):
    names, rows = columns(results), []
    for w in results["workloads"].values():
        figures, best = w["figures"], best_peer(w["figures"])
        if "cwsgi" not in figures:
            continue
        ratio = f"{figures['cwsgi']['cpu_us'][0] / figures[best]['cpu_us'][0]:.2f} of {best}" if best else ""
        rows.append([w["title"], ratio, *(number(figures[n]["cpu_us"][0]) if n in figures else "" for n in names)])
    return table(["µs of processor time a request", "cwsgi to the best peer", *names], rows)


def latencies(results):
    rows = []
    for w in results["workloads"].values():
        figures, best = w["figures"], best_peer(w["figures"])
        for name in ("cwsgi", best):
            f = figures.get(name)
            if f:
                rows.append([w["title"], name, *(f"{f[k][0]:.0f}" for k in ("rate", "p50_us", "p99_us"))])
    return table(["", "", "requests a second", "p50 µs", "p99 µs"], rows)


def footprint(results):
    rows = [
        [name, *(f"{f[k] / 1024:.1f}" for k in ("idle_kib", "loaded_kib")), f"{f['first_ms'][0]:.0f}"]
        for name, f in sorted(results["footprint"].items())
    ]
    return table(["PSS of all processes", "MiB idle", "MiB after load", "ms to the first answer"], rows)


def others(results):
    text = ""
    if "idle" in results:
        rows = [[name, f"{each:.0f}"] for name, each in sorted(results["idle"].items())]
        text += "\n" + table(["10,000 idle connections", "bytes each"], rows)
    if "handshakes" in results:
        rows = [
            [name, *(number(f[kind]["cpu_us"]) for kind in ("full", "resumed")), f"{f['resumed']['resumed']:.0%}"]
            for name, f in sorted(results["handshakes"].items())
            if len(f) == 2
        ]
        titles = ["a TLS connection for each request", "µs, full handshake", "µs, session offered", "were resumed"]
        text += "\n" + table(titles, rows)
    if "reload" in results:
        rows = [[name, str(c["answered"]), str(c["failed"])] for name, c in results["reload"].items()]
        text += "\n" + table(["five reloads under load", "answered", "failed"], rows)
    return text


def plot(results, path):
    shown = [w for w in results["workloads"].values() if "cwsgi" in w["figures"] and best_peer(w["figures"])]
    titles = [w["title"] for w in shown]
    ratios = [w["figures"]["cwsgi"]["cpu_us"][0] / w["figures"][best_peer(w["figures"])]["cpu_us"][0] for w in shown]
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "cwsgi"
    figure, axes = pyplot.subplots(figsize=(8, 0.3 * len(shown) + 1))
    axes.barh(titles, ratios, color=["#2a7f62" if r <= 1 else "#c0533e" for r in ratios])
    axes.axvline(1, color="#444444", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("processor time a request, cwsgi to the best other WSGI server (less is better)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main():
    results = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    text = "\n" + table(["", ""], [[k, v] for k, v in results["versions"].items()])
    text += "\n" + rates(results) + "\n![cwsgi to the best peer](performance.svg)\n\n" + latencies(results)
    if "footprint" in results:
        text += "\n" + footprint(results)
    text += others(results)
    if results["skipped"]:
        text += "\nLeft out:\n\n" + "".join(f"- {n}: {why}\n" for n, why in sorted(results["skipped"].items()))
    page = folder / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + text + "\n" + END + after)
    plot(results, folder / "performance.svg")


main()
