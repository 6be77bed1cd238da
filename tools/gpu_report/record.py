#!/usr/bin/env python3
"""Appends what a program printed to a file of JSON lines.

Usage: record.py FILE [KEY=VALUE...] < OUTPUT
OUTPUT is one JSON value, or one JSON object per line, or nothing; each object becomes one line that
begins with the keys. VALUE is JSON, or else text. Output that is not JSON is kept as text under
`not_json`; the exit status is then 1.
"""
import json
import sys

MOST_TEXT = 2000


def value_of(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def objects_of(output):
    """The objects in `output`, and whether it was all JSON."""
    if not output.strip():
        return [{}], True
    try:
        whole = json.loads(output)
        return [whole if isinstance(whole, dict) else {"result": whole}], True
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in output.splitlines() if line.strip()], True
    except ValueError:
        return [{"not_json": output[:MOST_TEXT]}], False


def main():
    path, *pairs = sys.argv[1:]
    keys = {key: value_of(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    objects, is_json = objects_of(sys.stdin.read())
    with open(path, "a", encoding="utf-8") as file:
        for found in objects:
            file.write(json.dumps({**keys, **found}) + "\n")
    return 0 if is_json else 1


if __name__ == "__main__":
    sys.exit(main())
