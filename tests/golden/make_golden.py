#!/usr/bin/env python3
"""Write golden outputs of llama_reference.py (float64) for one model:  make_golden.py MODEL_DIR OUT.json PROMPT..."""
import json, pathlib, sys
import numpy as np, sentencepiece as spm
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from llama_reference import Llama, logprobs, parse_skip

def main(model, out, specs, prompts, n=48):
    sp = spm.SentencePieceProcessor(model_file=f"{model}/tokenizer.model"); m = Llama(model); cases = []
    for spec in specs:
        skip = parse_skip(spec, m.layers)
        for text in prompts:
            ids = [m.c["bos_token_id"]] + sp.encode(text); prompt = list(ids)
            lp0 = logprobs(m.forward(ids, skip)[-1:])[0]; top = np.argsort(-lp0)[:10]; gap = []
            for _ in range(n):
                lo = m.forward(ids, skip)[-1]; o = np.sort(lo)[::-1]; gap.append(float(o[0] - o[1])); ids.append(int(lo.argmax()))
            lp = logprobs(m.forward(ids[:-1], skip)); gen = ids[len(prompt):]
            cases.append({"skip": spec, "attention_skipped": sorted(skip[0]), "mlp_skipped": sorted(skip[1]), "prompt": text, "prompt_ids": prompt,
                "first_token_top10": [[int(t), round(float(lp0[t]), 6)] for t in top], "greedy_ids": gen, "text": sp.decode(gen),
                "greedy_logprobs": [round(float(lp[len(prompt) - 1 + i, t]), 6) for i, t in enumerate(gen)], "min_top2_logit_gap": round(min(gap), 6)})
    head = {"model": pathlib.Path(model).name, "arithmetic": "float64", "generated_by": "tests/golden/make_golden.py"}
    body = ",\n".join("  " + json.dumps(c, ensure_ascii=False) for c in cases)              # one case a line
    pathlib.Path(out).write_text(json.dumps(head)[:-1] + ', "cases": [\n' + body + "\n]}\n")
    print(out, len(cases), "cases; smallest top-2 gap", min(c["min_top2_logit_gap"] for c in cases))

if __name__ == "__main__":
    L = json.loads(pathlib.Path(sys.argv[1], "config.json").read_text())["num_hidden_layers"]
    half = L // 2
    main(sys.argv[1], sys.argv[2], ["none", "attn:last=1", f"attn:last={half}", f"attn:last={half},keep-final", f"attn:1-{half}", "mlp:last=1", f"block:last=1", f"attn:1,{L-1}+mlp:2"], sys.argv[3:])
