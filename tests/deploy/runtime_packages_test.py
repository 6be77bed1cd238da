#!/usr/bin/env python3
"""`install_deps.sh runtime` installs every shared library that the programs load.

Usage: runtime_packages_test.py SOURCE_DIR PROGRAM...
"""
import os
import re
import shutil
import subprocess
import sys
import unittest

import deploy_support as support

SOURCE = support.source_dir()
PROGRAMS = [sys.argv.pop(1) for _ in sys.argv[1:]]
# In every image of Debian, and not worth a line in the list.
ALWAYS_THERE = {"libc6", "libgcc-s1", "libstdc++6", "zlib1g"}

if not shutil.which("dpkg-query"):
    support.skip("no dpkg-query: not a Debian system")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def closure(packages):
    """The packages and what they depend on, of those installed."""
    found, todo = set(), list(packages)
    while todo:
        package = todo.pop()
        if package in found:
            continue
        found.add(package)
        depends = output("dpkg-query", "-W", "-f", "${Depends}\n", package)
        todo += [re.split(r"[ :(|]", d.strip())[0] for d in depends.strip().split(",") if d.strip()]
    return found


def packages_of(program):
    """The packages of the libraries that the loader would map."""
    libraries = output("ldd", program)
    assert "not found" not in libraries, libraries
    for path in re.findall(r"=> (/\S+)", libraries):
        # dpkg knows /usr/lib/... as well as /lib/..., depending on the package.
        candidates = [path, os.path.realpath(path)]
        candidates += [p.removeprefix("/usr") for p in candidates] + ["/usr" + p for p in candidates]
        for candidate in candidates:
            answer = subprocess.run(["dpkg-query", "-S", candidate], capture_output=True, text=True)
            if answer.returncode == 0:
                yield answer.stdout.split(":")[0]
                break
        else:
            # CUDA's libraries are copied into the image, see docker/cuda.Dockerfile.
            assert re.match(r"lib(cuda|nv)", os.path.basename(path)), path


class RuntimePackagesTest(unittest.TestCase):
    def test_the_list_covers_what_the_programs_link(self):
        script = (SOURCE / "scripts/install_deps.sh").read_text()
        listed = re.search(r"RUNTIME=\((.*?)\)", script, re.S)[1].split()
        covered = closure(listed) | ALWAYS_THERE
        for program in PROGRAMS:
            with self.subTest(os.path.basename(program)):
                self.assertEqual(set(packages_of(program)) - covered, set())


if __name__ == "__main__":
    unittest.main()
