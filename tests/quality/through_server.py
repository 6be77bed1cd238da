#!/usr/bin/env python3
"""Windowed, skipped and full attention through a running server against windows_reference.py.

  through_server.py SERVER STUBS MODEL ITEMS RESULTS

SERVER is a skipstone-server, STUBS a folder with the generated Python stubs, MODEL a Hugging Face
folder, ITEMS what `windows_reference.py items` chose, with the numbers that `attach` put there.
Every set of the reference that the server's sink allows is scored by token ids; a row of RESULTS
(JSON lines) is written for each, and a table printed. Exits with 1 if a perplexity is off by more
than 1 %, or more than 2 % of the hits are others.
"""
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "deploy"))
from running_server import RunningServer  # noqa: E402

PERPLEXITY_BOUND = 0.01
HITS_BOUND = 0.02
ITEMS_PER_CALL = 16


def spec_of(name):
    """The skip text of the reference's name for a set, and the sink it was measured with."""
    if name == "full":
        return "none", None
    last, kind = name.split("/")
    if kind == "skip":
        return f"attn:{last}", None
    window, sink = kind.split("+")
    return f"win:{last}/{window}", int(sink)


def score_items(item):
    """(prompt ids, continuation ids or None) of each text that an item scores."""
    if "ids" in item:
        return [(item["ids"], None)]
    if "target" in item:
        return [(item["context"], item["target"])]
    return [(item["context"], choice) for choice in item["choices"]]


def outcome(item, results):
    """The item's numbers, as the reference has them, from its scored texts."""
    if "ids" in item:
        return {"nll": -results[0].logprob_sum / len(results[0].tokens)}
    if "target" in item:
        return {"hit": int(results[0].greedy)}
    sums = [result.logprob_sum for result in results]
    return {"hit": int(max(range(len(sums)), key=sums.__getitem__) == item["answer"])}


class Client:
    def __init__(self, target, stubs):
        sys.path.insert(0, stubs)
        import grpc
        from skipstone.v1 import inference_pb2, inference_pb2_grpc
        self.messages = inference_pb2
        self.stub = inference_pb2_grpc.InferenceStub(grpc.insecure_channel(
            target, options=[("grpc.max_receive_message_length", 64 << 20)]))

    def sink_tokens(self):
        return self.stub.GetModel(self.messages.GetModelRequest()).sink_tokens

    def score(self, texts, spec):
        results = []
        for first in range(0, len(texts), ITEMS_PER_CALL):
            request = self.messages.ScoreRequest(skip={"spec": spec})
            for prompt, continuation in texts[first:first + ITEMS_PER_CALL]:
                item = request.items.add(prompt={"token_ids": {"ids": prompt}})
                if continuation is not None:
                    item.continuation.token_ids.ids.extend(continuation)
            results += self.stub.Score(request).results
        return results


def measure(client, items, spec):
    """The outcome of each item, and the pages of all: used, windowed away, omitted."""
    texts = [score_items(item) for item in items]
    results = client.score([text for group in texts for text in group], spec)
    outcomes, at = [], 0
    for item, group in zip(items, texts):
        outcomes.append(outcome(item, results[at:at + len(group)]))
        at += len(group)
    pages = [sum(getattr(result, name) for result in results)
             for name in ("kv_pages_used", "kv_pages_windowed", "kv_pages_omitted")]
    return outcomes, pages


def compare(task, name, outcomes, reference):
    """A row of the table, and whether the server is within the bounds."""
    mean = lambda rows, key: sum(row[key] for row in rows) / len(rows)
    if task.startswith("wiki"):
        ours, theirs = (math.exp(mean(rows, "nll")) for rows in (outcomes, reference))
        good = abs(ours / theirs - 1) <= PERPLEXITY_BOUND
    else:
        ours, theirs = (sum(row["hit"] for row in rows) for rows in (outcomes, reference))
        good = abs(ours - theirs) <= HITS_BOUND * len(outcomes)
    return {"task": task, "set": name, "server": round(ours, 4), "reference": round(theirs, 4)}, good


def main():
    server, stubs, model, items_path, results_path = sys.argv[1:]
    data = json.loads(pathlib.Path(items_path).read_text())
    all_good = True
    with RunningServer(server, f"--model={model}", "--log_level=warn") as running, \
            open(results_path, "a") as out:
        client = Client(running.grpc, stubs)
        sink = client.sink_tokens()
        print("| task | set | server | reference | pages used | windowed | omitted | |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for task, sets in data["reference"].items():
            for name, reference in sets.items():
                spec, measured_sink = spec_of(name)
                if measured_sink not in (None, sink):
                    continue
                outcomes, pages = measure(client, data["items"][task], spec)
                row, good = compare(task, name, outcomes, reference)
                all_good &= good
                out.write(json.dumps({**row, "pages": pages}) + "\n")
                out.flush()
                cells = [*row.values(), *pages, "" if good else "OFF"]
                print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
    sys.exit(0 if all_good else 1)


if __name__ == "__main__":
    main()
