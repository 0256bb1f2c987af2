"""Run by the real wepy's interpreter: reads FILE, of several runs, and prints JSON.

Usage: python read_runs_with_wepy.py FILE
"""

import json
import sys

import numpy as np
from wepy.analysis.contig_tree import ContigTree
from wepy.boundary_conditions.receptor import UnbindingBC
from wepy.hdf5 import WepyHDF5
from wepy.resampling.decisions.clone_merge import MultiCloneMergeDecision


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value


def span_of(tree, number):
    """What a contig of wepy's tells."""
    with tree.span_contig(number) as contig:
        trace = contig.contig_trace
        nodes = [tree.graph.nodes[tuple(map(int, node))] for node in trace]
        fields = contig.wepy_h5.get_trace_fields(
            [(run, 0, cycle) for run, cycle in trace], ["positions", "weights"]
        )
        return {
            "runs": sorted({int(run) for run, _ in trace}),
            "n_cycles": contig.num_cycles,
            "parents": [[int(each) for each in node["parent_idxs"]] for node in nodes],
            "discontinuities": [[int(e) for e in node["discontinuities"]] for node in nodes],
            "warps": [[int(each) for each in frame] for frame in contig.warp_trace()],
            "positions": np.asarray(fields["positions"]).tolist(),
            "weights": np.asarray(fields["weights"]).ravel().tolist(),
        }


def main(path):
    found = {}
    wepy_h5 = WepyHDF5(path, mode="r")
    with wepy_h5:
        runs = range(wepy_h5.num_runs)
        found["n_cycles"] = [wepy_h5.num_run_cycles(run) for run in runs]
        found["continuations"] = sorted([int(a), int(b)] for a, b in wepy_h5.continuations)
        found["starts"] = [wepy_h5.run_start_snapshot_hash(run) for run in runs]
        found["ends"] = [wepy_h5.run_end_snapshot_hash(run) for run in runs]
    tree = ContigTree(
        wepy_h5,
        decision_class=MultiCloneMergeDecision,
        boundary_condition_class=UnbindingBC,
    )
    found["spans"] = [span_of(tree, number) for number in tree.span_traces]
    json.dump(found, sys.stdout, default=plain)


if __name__ == "__main__":
    main(sys.argv[1])
