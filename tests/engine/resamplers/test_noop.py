"""NoResampler: nothing happens, and it is recorded."""

from wepystore.engine.resamplers.decision import Decision, resolve
from wepystore.engine.resamplers.noop import NoResampler
from wepystore.engine.walker import Walker, WalkerState


def test_every_walker_stays():
    """The walkers come back as they were, each with a NOTHING record."""
    walkers = [Walker(WalkerState(positions=[[0.0, 0.0, 0.0]]), 0.25) for _ in range(4)]
    resampler = NoResampler()
    after, records, changes = resampler.resample(walkers)
    assert all(one is other for one, other in zip(after, walkers, strict=True))
    assert resolve(records).parents.tolist() == [0, 1, 2, 3]
    assert {int(record["decision_id"][0]) for record in records} == {Decision.NOTHING}
    assert changes == []


def test_it_is_described_by_no_parameters():
    """It is rebuilt from its (empty) parameters and keeps no state."""
    resampler = NoResampler.from_params(NoResampler().params(), NoResampler.version)
    assert resampler.params() == {} == resampler.state()


def test_records_hold_the_fields_they_announce():
    """Every field of a record is named in RESAMPLING_FIELDS, and the reverse."""
    resampler = NoResampler()
    walkers = [Walker(WalkerState(positions=[[0.0, 0.0, 0.0]]), 1.0)]
    _, (record,), _ = resampler.resample(walkers)
    assert set(record) == {name for name, _, _ in resampler.resampling_fields()}
    assert resampler.resampler_fields() == []
