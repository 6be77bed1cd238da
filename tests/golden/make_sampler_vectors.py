#!/usr/bin/env python3
"""Write test vectors of sampling in float64, by engine/SEMANTICS.md section 6:  make_sampler_vectors.py OUT.json
A case's logits are those of logits_of(row, step), which tests/engine/cpu/sampler_vectors.h repeats. Draws are chosen near the
borders of the cumulative distribution, so that a set of kept ids that is wrong by little changes one; none is so near that f32
may decide otherwise, and no cut is."""
import json, random, sys
import numpy as np

VOCAB, POSITIONS, DRAWS = 300, 4000, 8
NEAR, CUT = 1e-4, 1e-5  # what is nearer to a border of the distribution, or to a cut, f32 may decide otherwise
MASK = (1 << 64) - 1
DEFAULTS = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0, presence_penalty=0.0,
                frequency_penalty=0.0, seed=0, logit_bias=[], min_tokens=0, suppressed_ids=[])

def logits_of(row, step):
    """Multiples of step / 32, exact in f32; the larger the step, the more of them are equal."""
    k = (np.arange(VOCAB) * 101 + 37 * row) % 307
    return (k * k // (256 * step) * step / 32 - 4).astype(np.float64)

def mix(x):  # the finaliser of SplitMix64
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31

def uniform(seed, output_index, position):  # of draw 0
    return (mix(mix(mix(seed) ^ output_index << 32) ^ position) >> 40) / 2**24

def adjusted(raw, p, prompt, output):
    x = raw.copy()
    for token, bias in p["logit_bias"]:
        x[token] += bias
    if len(output) < p["min_tokens"]:
        x[p["suppressed_ids"]] = -np.inf
    counts = np.bincount(np.array(output, int), minlength=VOCAB)
    seen = counts > 0
    seen[prompt] = True
    penalised = np.where(x > 0, x / p["repetition_penalty"], x * p["repetition_penalty"])
    x = np.where(seen, penalised, x)
    return x - p["presence_penalty"] * (counts > 0) - p["frequency_penalty"] * counts

def kept_ids(x, p):
    """What may be drawn, by ascending id; and whether every cut is clear."""
    order = sorted(range(VOCAB), key=lambda i: (-x[i], i))
    clear = True
    if 0 < p["top_k"] < VOCAB:
        gap = x[order[p["top_k"] - 1]] - x[order[p["top_k"]]]
        clear = gap == 0 or gap > CUT
        order = order[:p["top_k"]]
    weights = np.exp((x - x[order[0]]) / p["temperature"])
    if p["top_p"] < 1:
        mass = np.cumsum(weights[order]) / weights[order].sum()
        clear = clear and np.abs(mass - p["top_p"]).min() > CUT
        order = order[:int(np.argmax(mass >= p["top_p"])) + 1]
    clear = clear and all(abs(w - p["min_p"]) > CUT for w in weights[order] if w < 1 and p["min_p"] > 0)
    return sorted(i for i in order if weights[i] >= p["min_p"] and weights[i] > 0), weights, clear

def draws_of(x, p, output_index):
    if p["temperature"] == 0:
        top = np.sort(x)[::-1]
        return [[7, int(x.argmax())]], top[0] == top[1] or top[0] - top[1] > CUT
    ids, weights, clear = kept_ids(x, p)
    borders = np.cumsum(weights[ids]) / weights[ids].sum()
    found = []
    for position in range(POSITIONS):
        u = uniform(p["seed"], output_index, position)
        near = np.abs(borders - u).min()
        if near > NEAR:
            token = ids[int(np.searchsorted(borders, u, side="right"))]
            found.append((near, weights[token], position, token))
    nearest = sorted(found)[:DRAWS - 1] + [min(found, key=lambda f: f[1])]  # and the least likely id that is ever drawn
    return [[position, token] for _, _, position, token in nearest], clear

def case(params, row, step=1, prompt=(1, 2, 3, 250), output=(3, 7, 7), output_index=0):
    p = {**DEFAULTS, **params}
    for name in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        p[name] = float(np.float32(p[name]))  # as the request has it
    p["logit_bias"] = [(i, float(np.float32(b))) for i, b in p["logit_bias"]]
    raw = logits_of(row, step)
    draws, clear = draws_of(adjusted(raw, p, list(prompt), list(output)), p, output_index)
    top = sorted(range(VOCAB), key=lambda i: (-raw[i], i))[:5]
    return {**params, "row": row, "step": step, "prompt": list(prompt), "output": list(output), "output_index": output_index,
            "draws": draws, "log_sum": round(float(np.log(np.exp(raw - raw.max()).sum()) + raw.max()), 7), "top": top}, clear

def likeliest(row, n):
    return [int(i) for i in np.argsort(-logits_of(row, 1), kind="stable")[:n]]

def alone():
    """Each parameter by itself, and the edges of its range."""
    for name, values in (("temperature", (0, 0.2, 0.7, 1, 1.7)), ("top_k", (1, 2, 40, 299, 300, 5000)), ("top_p", (0, 0.1, 0.5, 0.95, 0.999)),
                         ("min_p", (0.02, 0.3, 1)), ("seed", (1, 42, MASK))):
        for i, value in enumerate(values):
            yield {name: value}, 10 + i, {"step": 16 if i % 2 else 1}
    for i, index in enumerate((1, 3, 127)):
        yield {"seed": 5}, 20 + i, {"output_index": index}

def of_tokens():
    """What depends on the tokens so far: on likely ids in prompt and output, and on ids with negative logits."""
    for row, temperature in ((30, 0), (31, 1), (32, 0.5)):
        best = likeliest(row, 12)
        seen = dict(prompt=best[:3] + [best[8], likeliest(row, VOCAB)[-1]], output=[best[1], best[4], best[4], best[4], best[5], best[1]])
        for name, values in (("repetition_penalty", (1.3, 0.8)), ("presence_penalty", (1.5, -0.5)), ("frequency_penalty", (0.6, -0.3))):
            for value in values:
                yield {"temperature": temperature, name: value}, row, seen
        yield dict(temperature=temperature, repetition_penalty=1.2, presence_penalty=0.3, frequency_penalty=0.2), row, seen
        yield dict(temperature=temperature, logit_bias=[[best[0], -3.0], [best[11], 2.5]]), row, seen
        # The bias comes first: it decides whether the penalty divides or multiplies.
        yield dict(temperature=temperature, logit_bias=[[best[1], -12.0], [best[8], 9.0]], repetition_penalty=1.5), row, seen
        for min_tokens in (6, 7):
            yield dict(temperature=temperature, min_tokens=min_tokens, suppressed_ids=[best[0], best[4], best[11]],
                       logit_bias=[[best[0], 20.0]], presence_penalty=-0.4), row, seen

def together(rng):
    """Several truncations, whose order shows, and everything at once."""
    for i, p in enumerate((dict(top_k=8, top_p=0.7), dict(top_k=30, min_p=0.5), dict(top_p=0.6, min_p=0.3), dict(temperature=2.0, top_p=0.5),
                           dict(temperature=0.4, min_p=0.3), dict(temperature=1.3, top_k=50, top_p=0.8, min_p=0.05))):
        yield p, 40 + i, {}
        yield p, 50 + i, {"step": 16}
    for row in range(60, 90):
        best = likeliest(row, 30)
        pick = lambda n: rng.choices(best, k=n)
        yield (dict(temperature=rng.choice([0.3, 0.8, 1.5]), top_k=rng.choice([0, 5, 20, 60]), top_p=rng.choice([0.3, 0.8, 0.97, 1.0]),
                    min_p=rng.choice([0, 0.01, 0.2]), repetition_penalty=rng.choice([0.9, 1.0, 1.4]), presence_penalty=rng.choice([-0.5, 0, 0.7]),
                    frequency_penalty=rng.choice([-0.25, 0, 0.4]), seed=rng.randrange(2**40),
                    logit_bias=[[i, round(rng.gauss(0, 3), 2)] for i in dict.fromkeys(pick(3))],
                    min_tokens=rng.randrange(4, 9), suppressed_ids=list(dict.fromkeys(pick(4)))), row,
               dict(prompt=pick(5), output=pick(6), output_index=rng.randrange(4), step=rng.choice([1, 4, 16])))

def main(out):
    cases = []
    for params, row, more in [*alone(), *of_tokens(), *together(random.Random(1))]:
        for other in range(0, 2000, 100):  # another row where a cut is too near to call
            made, clear = case(params, row + other, **more)
            if clear:
                break
        else:
            raise SystemExit(f"no clear row for {params}")
        cases.append({k: v for k, v in made.items() if v != [] and DEFAULTS.get(k) != v})
    with open(out, "w") as f:
        f.write('{"vocab": %d, "cases": [\n%s\n]}\n' % (VOCAB, ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)))
    print(out, len(cases), "cases")

if __name__ == "__main__":
    main(sys.argv[1])
