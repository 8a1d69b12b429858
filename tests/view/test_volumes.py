"""Volumes for the viewer: the right values, read in blocks, and no more of them in memory than needed."""

import dask.array as da
import numpy as np
import planted
import pytest

from multimap_kernel.schema import InputError, SchemaError
from multimap_kernel.view.volumes import make_volumes


def test_make_volumes__parts_are_those_of_the_file():
    ds = planted.volumes("anisotropic")
    volumes = make_volumes(ds.chunk(time=8))
    assert volumes.shape == (*planted.GRIDS["anisotropic"][1], 20)
    part = volumes[10:20, 5:15, 3:9, 7:10]
    np.testing.assert_array_equal(part, ds["bold"].values[7:10, 3:9, 5:15, 10:20].transpose(3, 2, 1, 0))
    assert part.dtype == np.float32


def test_make_volumes__reads_a_block_once_and_keeps_four():
    read = []

    def block(block_info):
        first, _ = block_info[None]["array-location"][0]
        read.append(first)
        return np.full((8, 3, 4, 5), first, np.float32)

    ds = planted.volumes()
    bold = da.map_blocks(block, chunks=((8,) * 6, (3,), (4,), (5,)), dtype=np.float32, meta=np.empty((0,) * 4, "f4"))
    volumes = make_volumes(ds.drop_vars("bold").assign(bold=(("time", "z", "y", "x"), bold)))
    for _ in range(3):
        volumes[0:2, 0:2, 0:2, 5:6]
    assert read == [0]
    for volume in range(48):
        assert volumes[1:2, 1:2, 1:2, volume : volume + 1].item() == volume // 8 * 8
    assert read == [0, 8, 16, 24, 32, 40]
    volumes[0:1, 0:1, 0:1, 0:1]
    assert read[6:] == [0]


def test_make_volumes__values_that_are_not_finite_are_black():
    ds = planted.volumes()
    ds["bold"][0, 30, 38, 32] = np.nan
    assert make_volumes(ds)[32:33, 38:39, 30:31, 0:1].item() == 0


def test_make_volumes__refuses_what_has_no_time_or_no_bold():
    with pytest.raises(InputError, match="repetition_time over 0 s, found 0"):
        make_volumes(planted.volumes().drop_attrs())
    with pytest.raises(SchemaError, match="bold"):
        make_volumes(planted.anatomy())
