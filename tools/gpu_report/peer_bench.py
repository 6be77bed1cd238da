"""What the two peers share: the command line, the timing of steps, the line of a measurement.

A peer decodes on random weights and random ids; only its speed is of interest. Needs PyTorch.
"""
import argparse
import gc
import json
import statistics
import sys
import time
import traceback

import torch

WARM_UP_STEPS = 8  # covers compilation and the recording of graphs, which take up to three calls


def parse_arguments(description, modes):
    parser = argparse.ArgumentParser(description=description)
    sizes = {"layers": 32, "hidden": 4096, "heads": 32, "kv-heads": 32, "ffn": 11008,
             "vocab": 32000}  # Llama 2 7B
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--batch", default="1,32", help="sequences, one or more numbers")
    parser.add_argument("--context", default="128", help="tokens before the first measured step")
    parser.add_argument("--steps", type=int, default=50, help="measured decode steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--mode", default=",".join(modes), help="one or more of the default")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    unknown = set(arguments.mode.split(",")) - set(modes)
    if unknown:
        parser.error(f"--mode: {', '.join(sorted(unknown))} is none of {', '.join(modes)}")
    arguments.dtype = getattr(torch, arguments.dtype)
    return arguments


def warm_up_steps(context):
    """Steps before the measured ones; they fill the last positions of the context."""
    return min(WARM_UP_STEPS, context - 1)


def median_step_ms(step, steps, device):
    """The median of `steps` calls. On a GPU the host may run ahead: events are read at the end."""
    if device == "cuda":
        events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
        torch.cuda.synchronize()
        events[0].record()
        for event in events[1:]:
            step()
            event.record()
        torch.cuda.synchronize()
        return statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:]))
    times = [time.perf_counter()]
    for _ in range(steps):
        step()
        times.append(time.perf_counter())
    return statistics.median(1e3 * (b - a) for a, b in zip(times, times[1:]))


def run(arguments, peer, measure, versions):
    """Calls measure(mode, batch, context) -> ms for all of them and prints each result at once.

    One that fails is printed with its error, and the others still run. Returns the exit status.
    """
    failed = False
    for mode in arguments.mode.split(","):
        for context in map(int, arguments.context.split(",")):
            for batch in map(int, arguments.batch.split(",")):
                line = {"peer": f"{peer}-{mode}", "batch": batch, "context": context}
                start = time.perf_counter()
                try:
                    ms = measure(mode, batch, context)
                    line["decode_ms_per_token"] = ms
                    line["decode_tokens_per_s"] = 1e3 * batch / ms
                except Exception as error:  # a compiler that is missing, memory that is short
                    traceback.print_exc()
                    line["error"] = f"{type(error).__name__}: {error}"[:500]
                    failed = True
                line |= {"total_s": time.perf_counter() - start,  # with compilation
                         "steps": arguments.steps, "device": arguments.device,
                         "dtype": str(arguments.dtype).removeprefix("torch."), **versions}
                _print(line, arguments.json)
                _release(arguments.device)
    return 1 if failed else 0


def _print(line, as_json):
    if as_json:
        print(json.dumps(line), flush=True)
    elif "error" in line:
        print(f"{line['peer']}, batch {line['batch']}: {line['error']}", flush=True)
    else:
        print(f"{line['peer']}, batch {line['batch']}, context {line['context']}: "
              f"{line['decode_ms_per_token']:.3f} ms per step, "
              f"{line['decode_tokens_per_s']:.1f} tokens/s", flush=True)


def _release(device):
    """Compiled code and its graphs hold memory that the next shape needs."""
    torch.compiler.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit("a module of peer_transformers.py and peer_cuda_graph_loop.py")
