"""Collect the claims of a reproduction into a small JSON file that is kept.

    python benchmarks/claims.py FOLDER [--into benchmarks/results/claims_paper.json]

Experiments that are not in FOLDER stay in the file as they are. The claims are judged anew from the
saved data, by the rules of today. ``ghostpoint reproduce --out FOLDER`` made FOLDER.
"""

import argparse
import json
from pathlib import Path

from ghostpoint.command.reproduction_folder import Folder
from ghostpoint.experiments import IDS, get
from ghostpoint.storage import write_json_atomic

RESULTS = Path(__file__).parent / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=RESULTS / "claims_paper.json")
    arguments = parser.parse_args()
    folder = Folder.open(arguments.folder)
    kept = json.loads(arguments.into.read_text()) if arguments.into.is_file() else {"experiments": {}}
    experiments = kept["experiments"]
    for id in folder.finished():
        record = folder.record(id)
        experiments[id] = {
            "seconds": record.seconds,
            "processor_seconds": record.processor_seconds,
            "started": record.started,
            "versions": dict(record.versions),
            "claims": [claim.to_dict() for claim in get(id).claims(folder.dataset(id), record.parameters)],
        }
    ordered = {id: experiments[id] for id in IDS if id in experiments}
    whole = {"command": f"ghostpoint reproduce --scale {folder.scale}", "experiments": ordered}
    write_json_atomic(whole, arguments.into)
    verdicts = [claim["verdict"] for each in ordered.values() for claim in each["claims"]]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    print(f"{len(ordered)} experiments, {len(verdicts)} claims: {counts}")


if __name__ == "__main__":
    main()
