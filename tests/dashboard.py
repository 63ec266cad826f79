"""Every expression of the dashboard and of the alerts parses in a real Prometheus, and names only
metrics that schemas/telemetry/metrics.md documents; every documented metric is shown somewhere."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent


def expressions():
    board = json.loads((ROOT / "deploy/grafana/cdrveil.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "5m").replace("$feed", ".*")
            yield panel["title"], text


def documented():
    rows = re.findall(r"^\| `(cdrveil_\w+)` \| (\w+)", (ROOT / "schemas/telemetry/metrics.md").read_text(), re.M)
    return {name: kind for name, kind in rows}


def asked(text):
    """Names of metrics in an expression; a histogram's parts count as the histogram."""
    names = set(re.findall(r"\bcdrveil_\w+", text))
    return {re.sub(r"_(bucket|count|sum)$", "", n) for n in names}


def check_names(metrics, shown):
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    told = [("alerts.yml", text) for text in re.findall(r"expr: \|?\n?(.*?)\n +(?:for|labels):", alerts, re.S)]
    wrong = [f"{where}: {n}" for where, text in shown + told for n in sorted(asked(text) - metrics.keys())]
    unseen = metrics.keys() - set().union(*(asked(text) for _, text in shown))
    wrong += [f"on no panel: {n}" for n in sorted(unseen)]
    return wrong


def check_syntax(shown):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "prometheus.yml")
        config.write_text("scrape_configs: []\n")
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                   f"--web.listen-address=127.0.0.1:{port}"]
        log = open(pathlib.Path(folder, "log"), "w+")
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait(port, server, log)
            return [f"{title}: {why}" for title, text in shown if (why := refused(port, text))]
        finally:
            server.terminate()
            server.wait(20)


def wait(port, server, log):
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2)
        except OSError:
            time.sleep(0.1)
    log.seek(0)
    sys.exit("prometheus did not start:\n" + log.read()[-2000:])


def refused(port, text):
    query = urllib.parse.urlencode({"query": text})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as answer:
            return None if json.load(answer)["status"] == "success" else "not taken"
    except urllib.error.HTTPError as e:
        return json.load(e).get("error", str(e))


def main():
    shown = list(expressions())
    wrong = check_names(documented(), shown) + check_syntax(shown)
    if len(shown) < 20 or wrong:
        sys.exit("\n".join(wrong) or f"only {len(shown)} expressions found")
    print(f"{len(shown)} expressions")


main()
