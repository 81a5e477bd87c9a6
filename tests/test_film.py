"""Modulation by the speaker vector: gain and shift."""

import torch

from espnet_pse_kd.nets.film import FiLM
from espnet_pse_kd.nets.mingru import MinGRUBlock


def test_film_scales_and_shifts() -> None:
    """By gain and shift of the vector: not by the shift alone."""
    film, x, speaker = FiLM(4, 3), torch.randn(5, 2, 3), torch.eye(4)[:2]
    with torch.no_grad():
        film.linear.weight[:3, 0], film.linear.weight[3:, 1] = 2.0, 0.5
        found = film(x, speaker)
    torch.testing.assert_close(found[:, 0], 3 * x[:, 0])
    torch.testing.assert_close(found[:, 1], x[:, 1] + 0.5)


def test_the_vector_scales_what_recurs_in_mingru() -> None:
    """With gain -1 nothing of a frame reaches the recurrent half of a block."""
    block = MinGRUBlock(8, 12, 4)
    with torch.no_grad():
        block.feed_out.weight.zero_()
        block.feed_out.bias.zero_()
        block.film.bias[:8] = -1.0
    condition, start = torch.randn(2, 4), torch.zeros(2, 8)
    one, other = torch.randn(2, 6, 2, 8).unbind(0)
    with torch.no_grad():
        added = [block(x, condition, start)[0] - x for x in (one, other)]
        torch.testing.assert_close(added[0], added[1])
        block.film.bias[:8] = 0.0
        moved = [block(x, condition, start)[0] - x for x in (one, other)]
        assert not torch.allclose(moved[0], moved[1], atol=1e-3)
