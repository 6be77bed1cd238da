#!/usr/bin/env python3
"""What skipstone-calibrate promises, on a real deep model: greedy KL chooses far better than the
last sublayers or Gate-Norm, and maps bring most of a suffix back.

  calibrate_levels.py CALIBRATE MODEL TEXTS WORK

MODEL: a Hugging Face folder with tokenizer.json. TEXTS: wikitext-2-raw/wiki.test.raw,
lambada_openai.jsonl and arc_easy.jsonl. WORK gets token ids, levels files and reports; a run that
was interrupted goes on from the journals there. All text is handed over as token ids, so that it
does not matter whether the engine serves the tokenizer. Needs the package `tokenizers`.
"""
import json
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer

PARTING = 0  # the id between texts that are joined
SIZE = 8     # sublayers of a level: 25 % of 30 layers, about
COMMON = ("--bos=false", "--seed=0", "--window=256", "--fit_windows=24", "--held_out_windows=20")


def write_ids(path, ids):
    path.write_text(" ".join(map(str, ids)))


def joined(texts):
    return [i for text in texts for i in [*text, PARTING]]


class Texts:
    def __init__(self, model, texts, work):
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        lines = lambda name: [json.loads(l) for l in (texts / name).read_text().splitlines() if l]
        stories = lines("lambada_openai.jsonl")
        questions = lines("arc_easy.jsonl")
        whole = lambda story: f"{story['context']} {story['continuation'].strip()}"
        work.mkdir(parents=True, exist_ok=True)
        self.novels, self.questions = work / "novels.ids", work / "questions.ids"
        self.wiki, self.words = work / "wiki.ids", work / "words.jsonl"
        self.choices = work / "choices.jsonl"
        write_ids(self.novels, joined(
            encode(whole(s)) for s in stories[2000:4500]))
        write_ids(self.questions, joined(
            encode(f"{q['query']}\nAnswer: {q['choices'][q['gold']]}") for q in questions[600:]))
        write_ids(self.wiki, encode((texts / "wikitext-2-raw/wiki.test.raw").read_text()))
        with open(self.words, "w") as out:
            for story in stories[:100]:
                before, both = encode(story["context"]), encode(whole(story))
                assert both[:len(before)] == before
                out.write(json.dumps({"context": before, "continuation": both[len(before):]}) + "\n")
        with open(self.choices, "w") as out:
            for q in questions[:100]:
                before = encode(f"{q['query']}\nAnswer:")
                asked = [encode(f"{q['query']}\nAnswer: {c}") for c in q["choices"]]
                assert all(ids[:len(before)] == before for ids in asked)
                out.write(json.dumps({
                    "query": before, "choices": [ids[len(before):] for ids in asked],
                    "characters": [len(c) for c in q["choices"]], "gold": q["gold"]}) + "\n")


def calibrate(program, model, texts, out, *flags):
    command = [program, f"--model={model}", f"--text={texts.novels}",
               f"--second_text={texts.questions}", f"--held_out={texts.wiki}",
               f"--last_words={texts.words}", f"--choices={texts.choices}", "--items=100",
               f"--levels={SIZE}", f"--out={out}", *COMMON, *flags]
    print(" ".join(map(str, command)), flush=True)
    subprocess.run(command, check=True)
    report = json.loads(out.with_suffix(".json").read_text())
    return {row["name"]: row for row in report["rows"]}


def check(what, value, bound):
    print(f"{'ok' if value <= bound else 'MISSED'}: {what}: {value:.3f}, at most {bound:.3f}")
    return value <= bound


def main():
    program, model, source, work = sys.argv[1], *map(pathlib.Path, sys.argv[2:5])
    texts = Texts(model, source, work)
    kl = lambda row: row["kl"]["value"]
    chosen = calibrate(program, model, texts, work / "chosen.yaml", "--windows=6",
                       "--compare=last;gate-norm", "--compensation=diag")
    suffix = calibrate(program, model, texts, work / "suffix.yaml", "--windows=4", "--ranker=last",
                       "--compare=", "--compensation=bias;diag;value")
    best = kl(chosen[f"attn-{SIZE}"])
    good = [check("KL of greedy-kl over gate-norm's", best / kl(chosen[f"gate-norm, {SIZE}"]), 0.5),
            check("KL of greedy-kl over last's", best / kl(chosen[f"last, {SIZE}"]), 0.25)]
    mapped = [kl(row) for name, row in suffix.items() if name.startswith(f"last-{SIZE}-")]
    good.append(check("KL of the best compensated suffix over the plain one's",
                      min(mapped, default=float("inf")) / kl(suffix[f"last-{SIZE}"]), 0.5))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
