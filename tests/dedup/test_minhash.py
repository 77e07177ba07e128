"""Signatures are datasketch's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from prefdata.dedup.minhash import EMPTY, band_keys, chance, signatures
from prefdata.dedup.shingles import Flat


def base_hashes(lengths: list[int], seed: int = 0) -> Flat:
    values = np.random.default_rng(seed).integers(0, 1 << 32, sum(lengths), dtype=np.uint64)
    return Flat(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def test_signatures_equal_datasketch_bit_for_bit() -> None:
    from datasketch import MinHash

    lengths = [0, 1, 2, 5, 0, 40, 300, 0]
    base = base_hashes(lengths)
    ours = signatures(base, permutations=128)
    for row in range(len(lengths)):
        sketch = MinHash(num_perm=128, seed=1, hashfunc=int, scheme="affine32")
        sketch.update_batch(base.values[base.offsets[row] : base.offsets[row + 1]].tolist())
        np.testing.assert_array_equal(ours[row], sketch.hashvalues)


def test_a_row_without_a_shingle_has_the_empty_signature() -> None:
    found = signatures(base_hashes([0, 3]), permutations=16)
    assert (found[0] == EMPTY).all()
    assert (found[1] != EMPTY).any()


def test_fewer_values_are_the_first_of_the_whole_signature() -> None:
    base = base_hashes([4, 9])
    whole = signatures(base, permutations=128)
    np.testing.assert_array_equal(signatures(base, permutations=128, count=120), whole[:, :120])


def test_signatures_do_not_depend_on_where_blocks_are_cut() -> None:
    base = base_hashes([3] * 30_000)
    whole = signatures(base, permutations=4)
    last = Flat(base.values[-3:], np.array([0, 3]))
    np.testing.assert_array_equal(signatures(last, permutations=4)[0], whole[-1])


def test_band_keys_name_their_band() -> None:
    keys = band_keys(np.zeros((1, 120), dtype=np.uint32), bands=20, rows=6)
    assert keys.shape == (1, 20)
    assert len(set(keys[0].tolist())) == 20


def test_band_keys_are_equal_exactly_where_the_band_is() -> None:
    one = np.arange(12, dtype=np.uint32)
    other = one.copy()
    other[7] = 99
    keys = band_keys(np.stack([one, other]), bands=2, rows=6)
    assert (keys[0] == keys[1]).tolist() == [True, False]


@pytest.mark.parametrize(("similarity", "expected"), [(0.5, 0.2702), (0.7, 0.9182), (0.8, 0.9977), (0.9, 1.0)])
def test_chance_of_a_pair_to_be_compared(similarity: float, expected: float) -> None:
    assert chance(similarity, bands=20, rows=6) == pytest.approx(expected, abs=1e-4)
