"""pDCCRN: a causal, personalized deep complex convolution recurrent network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.nets.e3net import Conditioning
from espnet_pse_kd.nets.film import FiLM
from espnet_pse_kd.nets.level import LEVEL_FLOOR, running_amplitude
from espnet_pse_kd.nets.streaming import StreamingNetwork

_OPEN = 1.5  # of the mask's real part at the start: tanh(1.5) = 0.91


def _complex(by_real: Tensor, by_imag: Tensor, dim: int) -> Tensor:
    """Complex product from the products with the weights' real and imaginary parts.

    Both hold the products of the input's real and imaginary part along ``dim``.
    """
    (rr, ir), (ri, ii) = by_real.unbind(dim), by_imag.unbind(dim)
    return torch.stack([rr - ii, ir + ri], dim)


class InstantNorm(nn.Module):
    """Complex layer norm of single frames, over their channels and bins.

    Args:
        channels: C
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(2, 1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (2, B, C, T, F), a silent frame to the bias."""
        x = x - x.mean((2, 4), keepdim=True)  # [2, B, C, T, F]
        power = x.square().mean((0, 2, 4), keepdim=True)  # [1, B, 1, T, 1]
        return x * (power + 1e-5).rsqrt() * self.weight + self.bias


class ConvLayer(nn.Module):
    """Complex convolution, causal in time, that halves or doubles the bins.

    Args:
        inputs: complex channels that enter, C.
        outputs: complex channels that leave, D.
        size: bins that enter, F.
        frames: its extent over time, the present frame and those before it.
        bins: its extent over frequency, odd.
        up: double the bins (transposed) instead of halving them.
        activate: normalise the output and apply a PReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        frames: int,
        bins: int,
        up: bool = False,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.past_shape = 2, inputs, frames - 1, size
        # Frames side by side as channels: a transposed convolution over time would
        # compute frames that are then cut off. Real and imaginary weights side by side
        # as outputs: one convolution does both.
        channels = frames * inputs, 2 * outputs
        extent = {"kernel_size": (1, bins), "stride": (1, 2), "padding": (0, bins // 2)}
        if up:
            self.conv = nn.ConvTranspose2d(*channels, output_padding=(0, 1), **extent)
        else:
            self.conv = nn.Conv2d(*channels, **extent)
        self.activation = (
            nn.Sequential(InstantNorm(outputs), nn.PReLU())
            if activate
            else nn.Identity()
        )

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Run T frames.

        Args:
            x: (2, B, C, T, F) real and imaginary parts.
            past: (2, B, C, P, F) the P frames before.

        Returns:
            (2, B, D, T, F / 2 or 2 F), and the newest P frames of the input.
        """
        count = x.shape[3]
        frames = torch.cat([past, x], 3)  # [2, B, C, P + T, F]
        starts = range(past.shape[3] + 1)
        shifts = [frames[:, :, :, start : start + count] for start in starts]
        stacked = torch.cat(shifts, 2).flatten(0, 1)  # [2 B, (P + 1) C, T, F]
        y = self.conv(stacked).unflatten(0, (2, -1))  # [2, B, 2 D, T, F']
        y = self.activation(_complex(*y.chunk(2, 2), dim=0))  # [2, B, D, T, F']
        return y, frames[:, :, :, count:]


class ComplexLSTM(nn.Module):
    """Two LSTMs, the real and the imaginary one, both over both parts of the input.

    Args:
        inputs: complex features that enter, I.
        hidden: complex features that leave, H.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.real = nn.LSTM(inputs, hidden)
        self.imag = nn.LSTM(inputs, hidden)

    def forward(
        self, x: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run T frames.

        Args:
            x: (T, 2, B, I) real and imaginary parts.
            hidden: (2, 2, B, H) of each LSTM for each part.
            cell: (2, 2, B, H)

        Returns:
            (T, 2, B, H), new hidden and cell states.
        """
        parts = x.flatten(1, 2)  # [T, 2 B, I]
        both, last = [], []
        for lstm, h, c in zip((self.real, self.imag), hidden, cell, strict=True):
            y, (h, c) = lstm(parts, (h.flatten(0, 1)[None], c.flatten(0, 1)[None]))
            both.append(y.unflatten(1, (2, -1)))  # [T, 2, B, H]
            last.append(torch.cat([h, c]).unflatten(1, (2, -1)))  # [2, 2, B, H]
        hidden, cell = torch.stack(last, 1)  # [2, 2, B, H]
        return _complex(*both, dim=1), hidden, cell


class PDCCRNState(NamedTuple):
    """Everything that `PDCCRN.step` needs from the past.

    Attributes:
        samples: (B, window - hop) newest input samples.
        level: (B,) log power to which the input is normalised.
        past: (B, M) newest input frames of every convolution, one after the other.
        hidden: (L, 2, 2, B, H) outputs of the LSTMs: layer, LSTM, part.
        cell: (L, 2, 2, B, H) cells of the LSTMs.
        overlap: (window / hop - 1, B, hop) output samples that await later frames.
    """

    samples: Tensor
    level: Tensor
    past: Tensor
    hidden: Tensor
    cell: Tensor
    overlap: Tensor


class PDCCRN(StreamingNetwork[PDCCRNState]):
    """Causal DCCRN (Hu et al., arXiv 2008.00264) with a speaker vector.

    A complex encoder and decoder with skip connections around complex LSTMs estimate a
    bounded complex mask, DCCRN-E's: its modulus passes a tanh. As in pDCCRN (Eskimez
    et al., arXiv 2110.09625) the speaker vector enters at the complex LSTM and nowhere
    else: here at the first one, beside both parts of its input. Sizes are those of
    DCCRN-CL.

    Ours: no convolution looks ahead (published: one frame in each layer of the
    decoder); frames are divided by a causal running level, so that the gain of the
    input does not matter; and every frame is normalised by itself (`InstantNorm`)
    where DCCRN has a batch norm. A batch norm is causal in evaluation, but its
    statistics would count the padding of shorter signals and the silence of absent
    targets, differ between GPUs, and make training another function than evaluation.

    Shapes: B samples, N audio samples, T frames of ``hop``, F bins without the one at
    0 Hz, C complex channels, H LSTM units, S size of the speaker vector. A leading 2
    is real and imaginary part. Algorithmic latency ``window`` = 400 samples (25 ms).
    3.93 M parameters, 8.64 GMAC/s at the defaults.

    Args:
        channels: complex channels of the encoder's layers; the decoder mirrors them.
        kernel_frames: extent of the convolutions over time.
        kernel_bins: extent of the convolutions over frequency, odd.
        hidden: H
        layers: number of complex LSTMs.
        window: frame length in samples, a multiple of ``hop``.
        hop: hop in samples.
        fft: length of the Fourier transform.
        speaker_dim: S
        conditioning: the speaker vector is appended to the LSTM's input (``concat``,
            published), or modulates it (``film``).

    Raises:
        ValueError: an unknown ``conditioning``, or sizes that do not fit together.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 128, 128, 128),
        kernel_frames: int = 2,
        kernel_bins: int = 5,
        hidden: int = 128,
        layers: int = 2,
        window: int = 400,
        hop: int = 100,
        fft: int = 512,
        speaker_dim: int = 256,
        conditioning: Conditioning = "concat",
    ) -> None:
        super().__init__()
        _check(conditioning, len(channels), kernel_bins, window, hop, fft)
        self.hop, self.fft, self.hidden = hop, fft, hidden
        self.speaker_dim = speaker_dim
        time = torch.arange(window, dtype=torch.float64) + 0.5
        taper = torch.sin(math.pi / window * time)
        dtype = torch.get_default_dtype()
        self.register_buffer("analysis", taper.to(dtype), persistent=False)
        # The squared windows of all frames add up to window / (2 hop).
        synthesis = taper * 2 * hop / window
        self.register_buffer("synthesis", synthesis.to(dtype), persistent=False)
        extent = kernel_frames, kernel_bins
        pairs = list(zip([1, *channels], channels))
        sizes = [fft // 2 >> index for index in range(len(channels) + 1)]
        self.encoder = nn.ModuleList(
            ConvLayer(c, d, size, *extent) for (c, d), size in zip(pairs, sizes)
        )
        # The last layer's output is the mask.
        self.decoder = nn.ModuleList(
            ConvLayer(2 * d, c, size, *extent, up=True, activate=size < fft // 4)
            for (c, d), size in zip(reversed(pairs), reversed(sizes))
        )
        features = channels[-1] * sizes[-1]
        self.film = FiLM(speaker_dim, features) if conditioning == "film" else None
        inputs = features if self.film else features + speaker_dim
        self.lstms = nn.ModuleList(
            ComplexLSTM(hidden if index else inputs, hidden) for index in range(layers)
        )
        self.project = nn.Linear(hidden, 2 * features)
        with torch.no_grad():
            # Biases b and -b of the real and the imaginary weights add up to 2 b, 0.
            self.decoder[-1].conv.bias.copy_(torch.tensor([_OPEN / 2, -_OPEN / 2]))
            self.decoder[-1].conv.weight.mul_(0.1)

    @property
    def latency(self) -> int:
        """Output sample n depends on input samples before n + latency only."""
        return len(self.analysis)

    def init_state(self, batch: int) -> PDCCRNState:
        """State before the first sample of a stream of ``batch`` signals."""
        zeros = self.analysis.new_zeros
        frames = self.latency // self.hop
        memory = len(self.lstms), 2, 2, batch, self.hidden
        return PDCCRNState(
            zeros(batch, self.latency - self.hop),
            torch.full_like(zeros(batch), LEVEL_FLOOR),
            zeros(batch, sum(map(math.prod, self._past_shapes()))),
            zeros(memory),
            zeros(memory),
            zeros(frames - 1, batch, self.hop),
        )

    def _run(
        self, samples: Tensor, speaker: Tensor, state: PDCCRNState
    ) -> tuple[Tensor, PDCCRNState]:
        """Run (B, T hop) samples from ``state``; as many come out, late by the lag."""
        window = self.latency
        history = torch.cat([state.samples, samples], -1)  # [B, T hop + lag]
        frames = history.unfold(-1, window, self.hop).transpose(0, 1)  # [T, B, W]
        gain, level = running_amplitude(frames, state.level, self.hop / SAMPLE_RATE)
        spectrum = torch.fft.rfft(frames / gain * self.analysis, self.fft)
        parts = torch.view_as_real(spectrum).permute(3, 0, 1, 2)  # [2, T, B, F + 1]
        mask, past, hidden, cell = self._mask(parts, speaker, state)
        product = _complex(parts * mask[0], parts * mask[1], dim=0)
        enhanced = torch.complex(*product)  # [T, B, F + 1]
        pieces = torch.fft.irfft(enhanced, self.fft)[..., :window]  # [T, B, W]
        pieces = pieces * self.synthesis * gain  # [T, B, W]
        output, overlap = _overlap_add(pieces, state.overlap)
        newest = history[:, history.shape[-1] - window + self.hop :]
        return output, PDCCRNState(newest, level, past, hidden, cell, overlap)

    def _mask(
        self, parts: Tensor, speaker: Tensor, state: PDCCRNState
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mask (2, T, B, F + 1), zero at 0 Hz; new past, hidden and cell states."""
        scaled = parts[..., 1:] / self.analysis.square().sum().sqrt()
        x = scaled.transpose(1, 2).unsqueeze(2)  # [2, B, 1, T, F]
        before, newest, skips = self._unpack(state.past), [], []
        for layer in self.encoder:
            x, past = layer(x, next(before))  # [2, B, C, T, F / 2 ...]
            skips.append(x)
            newest.append(past)
        x, hidden, cell = self._recur(x, speaker, state)
        for layer in self.decoder:
            x, past = layer(torch.cat([x, skips.pop()], 2), next(before))
            newest.append(past)
        mask = x.squeeze(2).transpose(1, 2)  # [2, T, B, F]
        modulus = (mask.square().sum(0) + 1e-12).sqrt()  # [T, B, F]
        mask = nn.functional.pad(mask * (modulus.tanh() / modulus), (1, 0))
        return mask, _pack(newest), hidden, cell

    def _recur(
        self, x: Tensor, speaker: Tensor, state: PDCCRNState
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Complex LSTMs over (2, B, C, T, F): the same shape, new hidden and cell."""
        shape = x.shape[2], x.shape[4]
        y = x.permute(3, 0, 1, 2, 4).flatten(3)  # [T, 2, B, I]
        # A unit vector has entries of order S^-1/2, too faint beside normalised ones.
        speaker = speaker * self.speaker_dim**0.5  # [B, S]
        if self.film is not None:
            y = self.film(y, speaker)  # [T, 2, B, I]
        else:
            y = torch.cat([y, speaker.expand(len(y), 2, -1, -1)], -1)
        last = []
        for lstm, *before in zip(self.lstms, state.hidden, state.cell, strict=True):
            y, hidden, cell = lstm(y, *before)  # [T, 2, B, H]
            last.append(torch.stack([hidden, cell]))
        y = _complex(*self.project(y).chunk(2, -1), dim=1)  # [T, 2, B, I]
        hidden, cell = torch.stack(last, 1)  # [L, 2, 2, B, H]
        return y.unflatten(3, shape).permute(1, 2, 3, 0, 4), hidden, cell

    def _past_shapes(self) -> list[tuple[int, ...]]:
        return [layer.past_shape for layer in [*self.encoder, *self.decoder]]

    def _unpack(self, past: Tensor) -> Iterator[Tensor]:
        """The past frames (2, B, C, P, F) of each convolution from `_pack`'s result."""
        shapes = self._past_shapes()
        parts = past.split([math.prod(shape) for shape in shapes], 1)
        for part, shape in zip(parts, shapes, strict=True):
            yield part.unflatten(1, shape).transpose(0, 1)


def _pack(past: Sequence[Tensor]) -> Tensor:
    """Past frames (2, B, C, P, F) of the convolutions, side by side: (B, M)."""
    return torch.cat([frames.transpose(0, 1).flatten(1) for frames in past], 1)


def _overlap_add(pieces: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
    """Add up frames.

    Args:
        pieces: (T, B, R hop) windowed frames.
        overlap: (R - 1, B, hop) sums of the frames before.

    Returns:
        (B, T hop) finished samples, and the sums (R - 1, B, hop) of those to come.
    """
    count, rest = len(pieces), len(overlap)
    pad = nn.functional.pad
    total = pad(overlap, (0, 0, 0, 0, 0, count))  # [T + R - 1, B, hop]
    for late, piece in enumerate(pieces.chunk(rest + 1, -1)):
        total = total + pad(piece, (0, 0, 0, 0, late, rest - late))
    return total[:count].transpose(0, 1).flatten(1), total[count:]


def _check(
    conditioning: str, layers: int, kernel_bins: int, window: int, hop: int, fft: int
) -> None:
    if conditioning not in get_args(Conditioning):
        raise ValueError(f"conditioning: {conditioning!r} is not concat or film")
    if layers == 0:
        raise ValueError("channels: empty; give one number per layer")
    if kernel_bins % 2 == 0:
        raise ValueError(f"kernel_bins must be odd, not {kernel_bins}")
    if window % hop or window < 2 * hop:
        raise ValueError(f"window ({window}) must be 2, 3, ... times hop ({hop})")
    if fft < window or fft % (2 << layers):
        raise ValueError(
            f"fft ({fft}) must be at least the window ({window}) and a multiple of "
            f"{2 << layers}: each of {layers} layers halves its bins"
        )
