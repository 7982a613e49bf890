"""Both searches give the same nearest vectors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eval.retrieval import nearest
from ren_core.errors import ConfigError


def unit(generator, *shape):
    return F.normalize(torch.randn(shape, generator=generator), dim=-1).numpy()


def test_faiss_and_the_matrix_product_agree():
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    queries, vectors = unit(generator, 17, 24), unit(generator, 131, 24)
    vectors[7] = -queries[3]
    plain = nearest.build_search("matrix")(queries, vectors)
    fast = nearest.build_search("faiss")(queries, vectors)
    expected = queries @ vectors.T
    np.testing.assert_allclose(plain[0], expected.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(plain[1], expected.argmax(axis=1))
    np.testing.assert_allclose(fast[0], plain[0], atol=1e-6)
    np.testing.assert_array_equal(fast[1], plain[1])
    one = nearest.build_search("faiss")(queries, -queries[:1])
    assert one[0][0] == pytest.approx(-1, abs=1e-6)  # negative scores are not lost
    with pytest.raises(ConfigError, match="matrix, faiss"):
        nearest.build_search("annoy")
