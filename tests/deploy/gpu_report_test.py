#!/usr/bin/env python3
"""tools/gpu_report with the bundle, the GPU's tools and the peers replaced by stubs.

Usage: gpu_report_test.py SOURCE_DIR
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1)).resolve()
REPORT = SOURCE / "tools/gpu_report"
FILES = {"host.json", "stages.jsonl", "parity.log", "sanitizer.log", "bench.jsonl", "peers.jsonl",
         "serving.jsonl", "run.log"}
SKIPS = ["none", "attn:last=8", "attn:last=11", "attn:last=16"]
ALL = ["host", "parity", "demo", "decode", "skip", "mixed", "stages", "peers", "sanitizer",
       "serving"]
ALL_PEERS = ["skipstone", "loop-compiled", "transformers-eager"]
H100_MIB, H200_MIB = 81559, 143771

# Answers like the real one for the flags it gets: 2 ms a step at 90 % of the floor. $FAIL is a word
# of the command line that makes a program fail, $HANG one that makes it wait for ever.
ENGINE_BENCH = r'''#!/usr/bin/python3
import json, os, sys
fail = os.environ.get("FAIL")
if fail and fail in sys.argv:
    sys.exit("cannot do " + fail)
if os.environ.get("HANG") in sys.argv:
    open(os.environ["STUBS"] + "/fifo")
flags = dict(a[2:].partition("=")[::2] for a in sys.argv[1:])
number = lambda name, default: int(flags.get(name, default))
skips = flags.get("skip", "none").split(";")
arms = [{"skip": "none" if s == "none" else "canonical" + str(i)} for i, s in enumerate(skips)]
if "mixed" in flags:
    arms.append({"skip": "mixed"})
stage = {"qkv": {"ms": 0.5, "floor_ms": 0.4, "bytes": 1.2e9, "flops": 1e9}}
for i, arm in enumerate(arms):
    arm["kv_pages_used"] = 64 - 16 * i
    if number("steps", 16):
        arm |= {"decode_ms_per_token": 2.0 - 0.1 * i, "decode_floor_fraction": 0.9,
                "decode_floor_ms": 1.8, "decode_speedup": 1 + 0.1 * i, "decode_launch_ms": 0.1,
                "decode_floor_speedup": 1 + 0.125 * i}
        if arm["skip"] == "mixed":
            arm |= {"decode_floor_fraction": 0.81, "decode_homogeneous_floor_fraction": 0.9}
        if "stages" in flags:
            arm["decode_stages"] = stage
    if number("prompt", 512):
        arm |= {"prefill_tokens_per_s": 40000.0 + i, "flops_fraction": 0.6, "prefill_floor_ms": 1.0,
                "prefill_ms": 20.0, "prefill_launch_ms": 1.0,
                "prefill_speedup": 1 + 0.2 * i, "prefill_floor_speedup": 1 + 0.25 * i}
        if "stages" in flags:
            arm["prefill_stages"] = stage
json.dump({"model": flags["model"], "batch": number("batch", 1), "context": number("context", 128),
           "read_bandwidth_bytes_per_s": 4e12, "peak_flops_per_s": 8e14, **arms[0],
           "skips": arms}, sys.stdout, indent=2)
'''
# Waits for SIGTERM as the real one does, and says on the way out that it came.
SERVER = r'''#!/usr/bin/python3
import os, pathlib, signal, sys
if os.environ.get("FAIL") == "server":
    sys.exit("no memory")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("READY grpc=127.0.0.1:7 metrics=127.0.0.1:8", flush=True)
signal.sigwait({signal.SIGTERM})
with open(os.environ["STUBS"] + "/drained", "a") as file:
    print(*sys.argv[1:], file=file)
'''
CLIENT = r'''#!/bin/bash
if [[ $2 != --server=127.0.0.1:7 ]]; then echo "no server at $2" >&2; exit 1; fi
if [[ $1 == generate ]]; then echo '[{"text": "a"}, {"text": "b"}]'; exit; fi
cat <<'JSON'
{"all": {"requests": 10, "ok": 9, "output_tokens_per_s": 12345.6,
         "ttft_ms": {"p50": 10, "p90": 20, "p99": 30}, "itl_ms": {"p50": 1, "p90": 2, "p99": 3}}}
JSON
'''
GPU_TESTS = r'''#!/bin/bash
case ${FAIL:-} in
  parity) echo '[  FAILED  ] one'; exit 1 ;;
  device) printf 'skip.cc:1: Skipped\nno device\n[  PASSED  ] 5 tests.\n' ;;
  hang) read -r < "$STUBS/fifo" ;;
  *) echo '[  PASSED  ] 108 tests.' ;;
esac
'''
NVIDIA_SMI = r'''#!/bin/bash
case $* in
  --query-gpu=memory.total\ *) echo "$MEMORY_MIB" ;;
  --query-gpu=*) echo "NVIDIA Test, 580.1, $MEMORY_MIB, 700.00, 1980, 3201" ;;
  *) echo '| Driver Version: 580.1     CUDA Version: 13.0     |' ;;
esac
'''
COMPUTE_SANITIZER = '#!/bin/bash\necho "$*"\n'
PEER_PYTHON = r'''#!/bin/bash
if [[ $1 == -c ]]; then echo 2.9; exit; fi
peer=loop-compiled ms=3.0
if [[ $2 == *transformers* ]]; then peer=transformers-eager ms=6.0; fi
if [[ $FAIL == "$peer" ]]; then echo 'no module' >&2; exit 1; fi
batch=$(grep -o -E -- '--batch=[0-9]+' <<<"$*")
echo "{\"peer\": \"$peer\", \"batch\": ${batch#*=}, \"decode_ms_per_token\": $ms}"
'''


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Host:
    """A folder with a bundle, tools and an OUT, and run.sh on it."""

    def __init__(self, memory_mib=H200_MIB, gpu=True, sanitizer=True):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.bundle, self.out = self.root / "bundle", self.root / "out"
        for name, text in (("skipstone-engine-bench", ENGINE_BENCH), ("skipstone", CLIENT),
                           ("skipstone-server", SERVER), ("engine_cuda_test", GPU_TESTS)):
            write_program(self.bundle / "bin" / name, text)
        write_program(self.bundle / "gpu-tests.sh", GPU_TESTS)
        (self.bundle / "models/demo").mkdir(parents=True)
        (self.bundle / "models/demo/tokenizer.model").touch()
        self.tools = self.root / "tools"
        write_program(self.tools / "peer-python", PEER_PYTHON)
        if gpu:
            write_program(self.tools / "nvidia-smi", NVIDIA_SMI)
        if sanitizer:
            write_program(self.tools / "compute-sanitizer", COMPUTE_SANITIZER)
        self.environment = {
            "PATH": f"{self.tools}:/usr/bin:/bin", "STUBS": str(self.root),
            "CUDA_HOME": str(self.root), "MEMORY_MIB": str(memory_mib),
            "SKIPSTONE_PEER_PYTHON": str(self.tools / "peer-python"),
            "TMPDIR": str(self.root / "scratch")}
        (self.root / "scratch").mkdir()

    def run(self, *stages, bundle=None, out=None, **environment):
        return subprocess.run(
            ["/bin/bash", REPORT / "run.sh", bundle or self.bundle, out or self.out, *stages],
            env={**self.environment, **environment}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL)

    def read(self, name):
        return lines_of(self.out / name)

    def results(self):
        return {line["stage"]: line["result"] for line in self.read("stages.jsonl")}

    def bench(self, stage):
        return [line for line in self.read("bench.jsonl") if line["stage"] == stage]

    def tables(self, *folders):
        return subprocess.run([sys.executable, "-B", REPORT / "tables.py", *folders],
                              capture_output=True, text=True)

    def close(self):
        self.folder.cleanup()


class AllStagesTest(unittest.TestCase):
    """One run of everything on a device with 141 GB."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)
        cls.answer = cls.host.run(*ALL, SKIPSTONE_TRACE="trace.csv")

    def row(self, *cells):
        self.assertIn("| " + " | ".join(cells) + " |", self.answer.stdout)

    def test_passes_and_leaves_a_few_flat_files(self):
        self.assertEqual(self.answer.returncode, 0, self.answer.stdout + self.answer.stderr)
        self.assertEqual({path.name for path in self.host.out.iterdir()}, FILES)
        self.assertLessEqual(len(FILES), 8)
        results = self.host.results()
        self.assertEqual(list(results), ALL[:-1] + ["serving-128", "serving-2048", "serving-trace"])
        self.assertEqual(set(results.values()), {"passed"})
        self.assertEqual(list((self.host.root / "scratch").iterdir()), [])

    def test_decode_covers_what_fits_and_marks_what_fits_with_skipping(self):
        cells = {(line["batch"], line["column"]): line for line in self.host.bench("decode")}
        self.assertEqual(len(cells), 15)
        for (batch, context), line in cells.items():
            tokens = batch * context
            expected = "none" if tokens <= 200000 else SKIPS[-1] if tokens <= 400000 else None
            self.assertEqual(line.get("skip_names"), expected, (batch, context))
        self.assertEqual(cells[1, 4096]["context"], 4064)
        self.row("128", "2.00 (90 %)", "2.00 (90 %)", "does not fit")
        self.row("256", "2.00 (90 %)", "2.00 (90 %, attn:last=16)", "does not fit")

    def test_skipping_is_compared_with_the_ratio_of_the_floors(self):
        self.row("decode, batch 1, context 2048", "1.100 / 1.125 (98 %)", "1.200 / 1.250 (96 %)",
                 "1.300 / 1.375 (95 %)")
        # Whose K/V does not fit for all levels at once: in pairs, each the second of its run.
        self.row("decode, batch 32, context 2048", *["1.100 / 1.125 (98 %)"] * 3)
        self.row("prefill 4096", "1.200 / 1.250 (96 %)", "1.400 / 1.500 (93 %)",
                 "1.600 / 1.750 (91 %)")
        self.row("KV pages, none / level", "1.33", "2.00", "4.00")
        self.row("none", *["40,000 (60 %)"] * 4)

    def test_mixed_batches_are_compared_with_homogeneous_ones(self):
        for line in self.host.bench("mixed"):
            self.assertIn("--mixed", line["command"].split())
        for shape in (("32", "512"), ("128", "128")):
            self.row(*shape, ", ".join(SKIPS), "1.60", "90 %", "81 %", "90 %")
        self.row("32", "512", "none, attn:0,last=1, attn:last=2", "1.70", "90 %", "81 %", "90 %")

    def test_stages_are_given_against_the_ceilings(self):
        runs = self.host.bench("stages")
        self.assertEqual([(run["batch"], run["column"]) for run in runs],
                         [(1, 128), (32, 2048), (1, 2048)])
        self.row("qkv", "0.500", "0.400", "80 %", "2,400 (60 %)", "2.0 (0 %)")
        self.assertIn("read 4,000 GB/s, matrix products 800.0 TFLOP/s", self.answer.stdout)

    def test_the_hosts_part_of_a_step_is_given(self):
        self.row("decode, batch 1, context 128", "0.100", "5 %")
        self.row("prefill 4096", "1.000", "5 %")

    def test_peers_are_measured_beside_ours_the_smallest_batch_first(self):
        order = [(line["batch"], line["peer"]) for line in self.host.read("peers.jsonl")]
        self.assertEqual(order, [(batch, peer) for batch in (1, 32) for peer in ALL_PEERS])
        self.row("32", "2.000", "3.000 (1.50×)", "", "", "6.000 (3.00×)")

    def test_both_ends_of_the_levels_are_served_after_a_warm_up(self):
        lines = self.host.read("serving.jsonl")
        for load in ("128/128", "2048/2048", "trace"):
            self.assertEqual([line["level"] for line in lines if line.get("workload") == load],
                             [SKIPS[0], SKIPS[-1]])
        self.assertEqual(len([line for line in lines if line.get("workload") == "warm-up"]), 6)
        self.row("2048/2048", "none", "12,346", "10", "20", "30", "1.0", "2.0", "3.0", "9", "1")
        drained = (self.host.root / "drained").read_text().splitlines()
        self.assertEqual(len(drained), 4)  # the demo's and one for each kind of load

    def test_the_tables_say_when_where_and_how(self):
        for words in ("NVIDIA Test; driver (its CUDA) 580.1 (13.0)", "PyTorch 2.9", "run.sh ",
                      " UTC"):
            self.assertIn(words, self.answer.stdout)

    def test_memcheck_leaves_out_what_takes_long_and_the_others_take_kernels(self):
        log = (self.host.out / "sanitizer.log").read_text()
        for words in ("--tool memcheck", "--gtest_filter=-*Probe*:", "--tool racecheck",
                      "--tool synccheck", "--gtest_filter=*Kernel*"):
            self.assertIn(words, log)


class RunTest(unittest.TestCase):
    def host(self, **options):
        host = Host(**options)
        self.addCleanup(host.close)
        return host

    def test_a_failing_stage_is_recorded_and_the_next_one_runs(self):
        host = self.host()
        answer = host.run("parity", "mixed", "demo", FAIL="parity")
        self.assertEqual(answer.returncode, 1)
        self.assertEqual(host.results(), {"parity": "failed", "mixed": "passed", "demo": "passed"})

    def test_a_failing_cell_does_not_stop_the_others(self):
        host = self.host()
        answer = host.run("decode", FAIL="--batch=8", SKIPSTONE_BATCHES="1 8 32",
                          SKIPSTONE_CONTEXTS="128")
        self.assertEqual(answer.returncode, 1)
        self.assertEqual([line["batch"] for line in host.bench("decode")], [1, 8, 32])
        self.assertEqual(host.bench("decode")[1]["error"], "exit 1: cannot do --batch=8")
        self.assertIn("| 8 | failed |\n| 32 | 2.00 (90 %) |", answer.stdout)

    def test_a_cell_that_hangs_does_not_stop_the_others(self):
        host = self.host()
        os.mkfifo(host.root / "fifo")  # that nobody writes to
        host.run("decode", HANG="--batch=8", SKIPSTONE_BATCHES="8 32", SKIPSTONE_CONTEXTS="128",
                 SKIPSTONE_CELL_S="1")
        self.assertEqual(host.bench("decode")[0]["error"], "not done in 1 s")
        self.assertEqual(host.bench("decode")[1]["decode_ms_per_token"], 2.0)

    def test_a_stage_beyond_its_limit_is_ended_and_the_next_one_runs(self):
        host = self.host()
        os.mkfifo(host.root / "fifo")  # that nobody writes to
        answer = host.run("parity:1", "host", FAIL="hang")
        self.assertEqual(answer.returncode, 1)
        self.assertEqual(host.results(), {"parity": "timed out", "host": "passed"})
        self.assertEqual([line["limit_s"] for line in host.read("stages.jsonl")], [1, 30])

    def test_what_the_budget_has_no_room_for_is_not_run(self):
        host = self.host()
        self.assertEqual(host.run("host", "demo", SKIPSTONE_BUDGET_S="0").returncode, 1)
        self.assertEqual(host.results(), {"host": "not run", "demo": "not run"})

    def test_without_a_gpu_nothing_counts_as_passed(self):
        host = self.host(gpu=False, sanitizer=False)
        self.assertEqual(host.run("host", "parity", "sanitizer", FAIL="device").returncode, 1)
        self.assertEqual(host.results(),
                         {"host": "failed", "parity": "failed", "sanitizer": "skipped"})
        reasons = [line["reason"] for line in host.read("stages.jsonl")]
        self.assertEqual(reasons, ["nvidia-smi finds no GPU", "the tests found no device",
                                   "no compute-sanitizer on this host"])

    def test_a_trace_that_is_not_given_is_skipped_with_the_reason(self):
        host = self.host()
        self.assertEqual(host.run("serving-trace").returncode, 0)
        self.assertEqual(host.results(), {"serving-trace": "skipped"})

    def test_a_server_that_does_not_start_fails_the_stage_with_the_reason(self):
        host = self.host()
        self.assertEqual(host.run("serving-128", FAIL="server").returncode, 1)
        self.assertIn("did not get ready", host.read("stages.jsonl")[0]["reason"])
        self.assertIn("no memory", (host.out / "run.log").read_text())

    def test_a_peer_that_fails_leaves_the_others(self):
        host = self.host()
        self.assertEqual(host.run("peers", FAIL="loop-compiled").returncode, 1)
        self.assertEqual({line["peer"] for line in host.read("peers.jsonl")},
                         {"skipstone", "transformers-eager"})

    def test_peers_and_ours_take_turns_as_often_as_asked(self):
        host = self.host()
        host.run("peers", SKIPSTONE_PEER_ROUNDS="2")
        order = [(line["round"], line["peer"]) for line in host.read("peers.jsonl")
                 if line["batch"] == 1]
        self.assertEqual(order, [(turn, peer) for turn in (1, 2) for peer in ALL_PEERS])

    def test_a_mixed_batch_that_does_not_fit_beside_the_levels_is_left_out(self):
        host = self.host()
        self.assertEqual(host.run("mixed", SKIPSTONE_POOL_TOKENS="100000").returncode, 0)
        lines = {line["batch"]: line for line in host.bench("mixed")[:2]}
        self.assertEqual(lines[128]["left_out"], "102400 tokens, the pool holds 100000")
        self.assertIn("skips", lines[32])

    def test_loading_is_timed_with_a_checkpoint_of_the_models_shape(self):
        host = self.host()
        shape = "layers=2,hidden=64,heads=4,kv_heads=2,ffn=96,vocab=100"
        answer = host.run("load", SKIPSTONE_MODEL=f"synthetic:{shape},context=64")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        size = [line["checkpoint_bytes"] for line in host.read("serving.jsonl")
                if "checkpoint_bytes" in line]
        attention, mlp = 64 * (64 + 32 + 32 + 64), 3 * 64 * 96
        weights = 2 * (2 * 100 * 64 + 2 * (attention + mlp + 2 * 64) + 64)
        self.assertEqual([n - weights for n in size if 0 < n - weights < 4000], [size[0] - weights])
        self.assertIn("Start to READY from a checkpoint in the page cache: ", answer.stdout)
        self.assertEqual(list((host.root / "scratch").iterdir()), [])

    def test_a_checkpoint_is_what_its_header_says(self):
        host = self.host()
        folder = host.root / "checkpoint"
        subprocess.run([sys.executable, "-B", REPORT / "make_checkpoint.py", folder, "--layers=1",
                        "--hidden=8", "--heads=2", "--ffn=12", "--vocab=10"],
                       check=True, capture_output=True)
        data = (folder / "model.safetensors").read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        last = max(tensor["data_offsets"][1] for tensor in header.values())
        self.assertEqual(len(data), end + last)
        norm = header["model.norm.weight"]["data_offsets"]
        self.assertEqual(data[end + norm[0]:end + norm[1]], b"\x80\x3f" * 8)
        self.assertEqual(header["model.layers.0.mlp.down_proj.weight"]["shape"], [8, 12])

    def test_a_sanitizer_that_takes_too_long_says_so(self):
        host = self.host()
        write_program(host.tools / "compute-sanitizer", "#!/bin/bash\nexit 124\n")
        self.assertEqual(host.run("sanitizer").returncode, 1)
        self.assertEqual(host.read("stages.jsonl")[0]["reason"],
                         "memcheck: not done in 60 s, racecheck: not done in 60 s, "
                         "synccheck: not done in 60 s")

    def test_less_memory_means_more_cells_with_skipping(self):
        host = self.host(memory_mib=H100_MIB)
        host.run("decode", SKIPSTONE_BATCHES="128", SKIPSTONE_CONTEXTS="512 1024 2048")
        self.assertEqual([line.get("skip_names") for line in host.bench("decode")],
                         ["none", "attn:last=16", None])

    def test_an_archive_of_the_bundle_is_unpacked(self):
        host = self.host()
        archive = host.root / "bundle.tar.xz"
        with tarfile.open(archive, "w:xz") as file:
            file.add(host.bundle, "bundle")
        shutil.rmtree(host.bundle)
        self.assertEqual(host.run("parity", bundle=archive).returncode, 0)

    def test_refuses_a_stage_that_it_does_not_know(self):
        host = self.host()
        answer = host.run("host", "decoed")
        self.assertEqual(answer.returncode, 2)
        self.assertIn('no stage "decoed"; there are:', answer.stderr)
        self.assertFalse(host.out.exists())

    def test_peers_are_python(self):
        for path in REPORT.glob("*.py"):
            compile(path.read_text(), path, "exec")


class TablesTest(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)

    def test_without_data_the_cells_are_empty(self):
        answer = self.host.tables(self.host.root / "nothing")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("| 256 |  |  |  |\n", answer.stdout)
        self.assertIn("| prefill 2048 |  |  |  |\n", answer.stdout)

    def test_folders_of_several_calls_make_one_table(self):
        for batch in ("1", "8"):
            self.host.run("decode", out=self.host.root / batch, SKIPSTONE_BATCHES=batch,
                          SKIPSTONE_CONTEXTS="128")
        answer = self.host.tables(self.host.root / "1", self.host.root / "8")
        self.assertIn("| 1 | 2.00 (90 %) |\n| 8 | 2.00 (90 %) |", answer.stdout)

    def test_folders_of_different_devices_are_refused(self):
        for name in ("A", "B"):
            (self.host.root / name).mkdir()
            (self.host.root / name / "host.json").write_text(json.dumps({"gpu": f"GPU {name}"}))
        answer = self.host.tables(self.host.root / "A", self.host.root / "B")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("different devices: GPU A, GPU B", answer.stderr)

    def test_a_line_cut_off_is_left_out(self):
        self.host.run("decode", SKIPSTONE_BATCHES="1", SKIPSTONE_CONTEXTS="128")
        with open(self.host.out / "bench.jsonl", "a", encoding="utf-8") as file:
            file.write('{"stage": "deco')
        answer = self.host.tables(self.host.out)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("| 1 | 2.00 (90 %) |", answer.stdout)


if __name__ == "__main__":
    unittest.main()
