"""Networks for personalized enhancement, and the personal VAD.

Every network of `NETWORKS` maps ``net(mixture (B, N), speaker (B, S)) -> (B, N)`` and
streams with ``net.step(frame (B, hop), speaker, state) -> frame, state`` from
``net.init_state(B)``; the stream lags by ``latency - hop`` samples. ``hop``,
``latency`` and ``speaker_dim`` are its attributes. The tests run over all of them.
"""

from espnet_pse_kd.nets.e3net import E3Net
from espnet_pse_kd.nets.mingru import MinGRUNet
from espnet_pse_kd.nets.pdccrn import PDCCRN
from espnet_pse_kd.nets.streaming import StreamingNetwork

NETWORKS: dict[str, type[StreamingNetwork]] = {
    "e3net": E3Net,
    "mingru": MinGRUNet,
    "pdccrn": PDCCRN,
}
"""Classes by the name that a YAML gives them."""
