"""Byte ranges as browsers and Zarr readers ask for them."""

import pytest

from multimap_kernel.share.ranges import parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, 100)),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-4", (96, 100)),
        ("bytes=-400", (0, 100)),
        ("bytes=90-400", (90, 100)),
        ("bytes=100-", None),
        ("bytes=9-3", None),
        ("bytes=-0", None),
        ("bytes=-", (0, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("lines=0-9", (0, 100)),
    ],
)
def test_parse_range__gives_bytes_of_the_file(header, expected):
    assert parse_range(header, 100) == expected
