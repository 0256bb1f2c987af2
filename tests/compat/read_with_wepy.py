"""Run by the real wepy's interpreter: reads FILE as its users do and prints JSON.

Usage: python read_with_wepy.py FILE
"""

import json
import sys

import numpy as np
from wepy.analysis.contig_tree import ContigTree
from wepy.analysis.network import MacroStateNetwork
from wepy.boundary_conditions.receptor import UnbindingBC
from wepy.hdf5 import WepyHDF5
from wepy.resampling.decisions.clone_merge import MultiCloneMergeDecision


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def main(path):
    found = {}
    wepy_h5 = WepyHDF5(path, mode="r")
    with wepy_h5:
        found["num_runs"] = wepy_h5.num_runs
        found["num_cycles"] = wepy_h5.num_run_cycles(0)
        found["num_trajs"] = wepy_h5.num_run_trajs(0)
        found["num_atoms"] = wepy_h5.num_atoms
        found["num_init_walkers"] = wepy_h5.num_init_walkers(0)
        found["record_fields"] = wepy_h5.record_fields
        found["feature_shapes"] = {
            name: plain(shape) for name, shape in wepy_h5.field_feature_shapes.items()
        }
        found["decisions"] = wepy_h5.decision_enum(0)
        for name in ("positions", "velocities", "box_vectors", "weights"):
            found[name] = [
                plain(wepy_h5.get_traj_field(0, walker, name))
                for walker in range(wepy_h5.num_run_trajs(0))
            ]
        for name in ("resampling", "resampler", "warping", "bc", "progress"):
            records = getattr(wepy_h5, f"{name}_records")([0])
            found[f"{name}_records"] = [plain(tuple(record)) for record in records]
        found["resampling_rows"] = len(wepy_h5.resampling_records_dataframe([0]))
        found["panel"] = plain(wepy_h5.run_resampling_panel(0))
        found["mdtraj_frames"] = wepy_h5.to_mdtraj(0, 0).n_frames
        found["mdtraj_atoms"] = [atom.element.symbol for atom in wepy_h5.to_mdtraj(0, 0).top.atoms]

    tree = ContigTree(
        wepy_h5,
        decision_class=MultiCloneMergeDecision,
        boundary_condition_class=UnbindingBC,
    )
    cycles = range(found["num_cycles"])
    found["parents"] = [plain(tree.graph.nodes[0, cycle]["parent_idxs"]) for cycle in cycles]
    found["discontinuities"] = [
        plain(tree.graph.nodes[0, cycle]["discontinuities"]) for cycle in cycles
    ]
    contig = tree.span_contig(0)
    with contig:
        found["contig_cycles"] = contig.num_cycles
        found["parent_table"] = plain(contig.parent_table(discontinuities=True))
        found["warp_trace"] = plain(contig.warp_trace())
        trace = contig.final_contig_trace()
        found["final_trace"] = plain(trace)
        # Each step of a lineage is (run, trajectory, cycle).
        lineages = list(contig.lineages(trace, discontinuities=False))
        found["lineages"] = plain(lineages)
        fields = contig.wepy_h5.get_trace_fields(lineages[0], ["positions"])
        found["lineage_positions"] = plain(np.array(fields["positions"]))

    # Two macrostates: atoms nearer than 0.38 nm, and the others.
    near = [
        [int(np.linalg.norm(np.subtract(*frame)) < 0.38) for frame in frames]
        for frames in found["positions"]
    ]
    network = MacroStateNetwork(tree, assignments=[near], transition_lag_time=2)
    with network:
        weights = network.macrostate_weights()
    found["macrostate_weights"] = {str(state): float(weights[state]) for state in weights}
    json.dump(found, sys.stdout, default=plain)


if __name__ == "__main__":
    main(sys.argv[1])
