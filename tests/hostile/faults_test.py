"""Health, memory and other clients' calls of a server under each fault of faults.py.

    faults_test.py SERVER MODEL [--seconds 8] [--only WORDS] [--settle 60]

Prints the table of deploy/RESULTS.md and fails where a limit is passed. Exit code 77: no grpcio.
"""
import argparse
import concurrent.futures
import pathlib
import re
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "deploy"))
try:
    import grpc
except ImportError:
    print("SKIPPED: no python3-grpcio; scripts/install_deps.sh test installs it")
    sys.exit(77)

from running_server import RunningServer  # noqa: E402

import faults  # noqa: E402
import messages  # noqa: E402

MAX_HEALTH_SECONDS = 0.250
MAX_P99_SECONDS = 0.050
MAX_SCRAPE_SECONDS = 0.300
MAX_RSS_GROWTH = 128 << 20
MAX_RSS_LEFT = 32 << 20


def probe(address, method, request, interval, stop, results):
    """Calls every `interval` seconds, each on a connection that stays; latency or None."""
    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_unary(method)
        while not stop.is_set():
            start = time.monotonic()
            try:
                stub(request, timeout=10)
                results.put(time.monotonic() - start)
            except grpc.RpcError:
                results.put(None)
            time.sleep(interval)


class Probes:
    """`with Probes(server) as probes:` asks for health, and generates, beside the fault."""

    CALLS = {"health": ("/grpc.health.v1.Health/Check", b"", 0.02),
             "generate": (messages.SERVICE + "Generate", messages.generate(max_tokens=2), 0.1)}

    def __init__(self, server):
        self.stop = faults.SPAWN.Event()
        self.results = {name: faults.SPAWN.Queue() for name in self.CALLS}
        self.workers = [
            faults.SPAWN.Process(target=probe, args=(server.grpc, method, request, interval,
                                                        self.stop, self.results[name]))
            for name, (method, request, interval) in self.CALLS.items()]

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        for queue in self.results.values():  # connected
            queue.get()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.latencies = {}
        for name, queue in self.results.items():
            seen = []
            deadline = time.monotonic() + 15
            alive = True
            while alive or not queue.empty():
                alive = any(w.is_alive() for w in self.workers) and time.monotonic() < deadline
                while not queue.empty():
                    seen.append(queue.get())
                time.sleep(0.01)
            self.latencies[name] = seen
        for worker in self.workers:
            worker.join()


def status_bytes(pid, key):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) << 10


def reset_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def run_fault(name, fault, binary, model, seconds, settle):
    """Returns the row of the table and what went wrong."""
    problems = []
    # Nobody reads the server's log before its end. A pool of 18 MiB: what was once used of it stays.
    with RunningServer(binary, f"--model={model}", "--kv_pages=1000", "--log_level=warn",
                       *fault.flags, wrapper=fault.wrapper) as server:
        pid = server.process.pid
        assert faults.call(server.grpc, "Generate", messages.generate()) == grpc.StatusCode.OK
        before = status_bytes(pid, "VmRSS")
        reset_peak(pid)
        scrape = []
        with Probes(server) as probes:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                running = pool.submit(fault.run, server, seconds)
                while not running.done():
                    time.sleep(0.25)
                    if "scrapers" in name:
                        scrape.append(faults.scrape_seconds(server))
                running.result()
        grown = status_bytes(pid, "VmHWM") - before
        end = time.monotonic() + settle
        while time.monotonic() < end and status_bytes(pid, "VmRSS") - before > MAX_RSS_LEFT:
            time.sleep(0.5)
        left = status_bytes(pid, "VmRSS") - before
        if faults.call(server.grpc, "Generate", messages.generate()) != grpc.StatusCode.OK:
            problems.append("no call works afterwards")
    health = probes.latencies["health"]
    answered = sorted(h for h in health if h is not None)
    generate = probes.latencies["generate"]
    served = sorted(g for g in generate if g is not None)
    if len(answered) < len(health) or not answered:
        problems.append(f"{len(health) - len(answered)} health checks without an answer")
    if len(served) < len(generate) or not served:
        problems.append(f"{len(generate) - len(served)} calls of others failed")
    p99 = answered[int(len(answered) * 0.99)] if answered else float("inf")
    worst = answered[-1] if answered else float("inf")
    if worst > MAX_HEALTH_SECONDS:
        problems.append(f"health took {worst * 1000:.0f} ms")
    if p99 > MAX_P99_SECONDS:
        problems.append(f"health's p99 is {p99 * 1000:.0f} ms")
    if scrape and max(scrape) > MAX_SCRAPE_SECONDS:
        problems.append(f"a scrape took {max(scrape) * 1000:.0f} ms")
    if not fault.left_to_the_proxy:
        if grown > MAX_RSS_GROWTH:
            problems.append(f"memory grew by {grown >> 20} MiB")
        if left > MAX_RSS_LEFT:
            problems.append(f"{left >> 20} MiB stayed")
    median = statistics.median(answered) if answered else float("inf")
    others = statistics.median(served) if served else float("inf")
    row = (f"| {name} | {median * 1000:.1f} | {p99 * 1000:.0f} | {worst * 1000:.0f} | "
           f"{others * 1000:.0f} | {grown / 2**20:.0f} | {left / 2**20:.0f} |"
           + (f" slowest scrape {max(scrape) * 1000:.0f} ms" if scrape else ""))
    return row, problems


def main():
    # Attackers hold as many connections as they like; the server has its own limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=8, help="how long each fault lasts")
    parser.add_argument("--settle", type=float, default=60, help="until memory is back, at most")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    args = parser.parse_args()
    failed = False
    print("| fault | health p50, ms | p99 | max | others' 2 tokens, p50 ms | memory at most, MiB | "
          "stays, MiB |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, fault in faults.FAULTS.items():
        if args.only not in name:
            continue
        row, problems = run_fault(name, fault, args.server, args.model, args.seconds, args.settle)
        print(row, flush=True)
        for problem in problems:
            failed = True
            print(f"FAILED: {name}: {problem}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
