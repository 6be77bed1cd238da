"""What the tests of deploy/ and docker/ share. Runs with Debian 12's Python 3.11."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

SKIP = 77  # ctest's SKIP_RETURN_CODE


def skip(message):
    print(f"SKIPPED: {message}")
    sys.exit(SKIP)

# What /metrics exposes, and the dashboard of it.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import dashboard  # noqa: E402

METRICS = dashboard.read_metrics()
METRIC_NAMES = dashboard.exposed_names(METRICS)

try:
    import yaml
except ImportError:
    skip("no python3-yaml; scripts/install_deps.sh test installs it")


def source_dir():
    """The repository's root: the first argument, which is taken away from unittest."""
    return pathlib.Path(sys.argv.pop(1)).resolve()


def need_tool(name):
    path = shutil.which(name)
    if not path:
        skip(f"no {name} on PATH; scripts/install_deps.sh test installs it")
    return path


def make_certificate(folder):
    """Files with a key and a certificate of this host, signed by itself."""
    key, certificate = (pathlib.Path(folder) / name for name in ("tls.key", "tls.crt"))
    subprocess.run(
        [need_tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    return key, certificate


def need_kubectl():
    """kubectl with a kustomize that knows `labels` and `patches` as these files use them."""
    path = shutil.which("kubectl")
    if not path:
        skip("no kubectl on PATH")
    answer = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True,
                            text=True)
    version = json.loads(answer.stdout)["clientVersion"]["gitVersion"]
    major, minor = (int(n) for n in re.match(r"v(\d+)\.(\d+)", version).groups())
    if (major, minor) < (1, 27):
        skip(f"kubectl {version} is older than 1.27")
    return path


def render(kubectl, folder):
    """The documents of a kustomization, by (kind, name)."""
    result = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(f"kubectl kustomize {folder}: {result.stderr}")
    if result.stderr:  # deprecation warnings
        raise AssertionError(f"kubectl kustomize {folder} warns: {result.stderr}")
    documents = [d for d in yaml.safe_load_all(result.stdout) if d]
    by_name = {(d["kind"], d["metadata"]["name"]): d for d in documents}
    assert len(by_name) == len(documents), "two documents of one kind and name"
    return by_name


def unknown_metrics(text, known, recorded=()):
    """Names with our prefix in `text` that are neither exposed nor recorded by a rule."""
    words = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", text))
    ours = {w for w in words if w.startswith("skipstone_") or ":skipstone_" in w}
    return ours - set(known) - set(recorded)


def dashboard_expressions(dashboard_json):
    """(title, PromQL) of all panels and annotations, variables replaced as Grafana does for All."""
    found = [(f"annotation {a['name']}", a["expr"])
             for a in dashboard_json["annotations"]["list"]]
    for panel in dashboard_json["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    return [(title, re.sub(r"\$\w+", ".*", expr.replace("$__rate_interval", "5m")))
            for title, expr in found]
