/**
 * Kaldi's log mel filterbank, for the measure of an enrolment's variation.
 *
 * The same as `espnet_pse_kd/runtime/fbank.py`; `tests/test_web.py` compares them.
 */

import { SAMPLE_RATE } from "./features";

const WINDOW = 400; // samples
const HOP = 160;
const FFT = 512;
const BINS = FFT / 2 + 1;
const PREEMPHASIS = 0.97;
const LOWEST_HZ = 20;
const FLOOR = 2 ** -23; // of float32, least energy of a band

export const FBANK_BANDS = 80;

const mel = (hz: number): number => 1127 * Math.log1p(hz / 700);

/** Triangles of equal height on the mel scale of HTK: FBANK_BANDS rows of BINS weights. */
function filterbank(): Float64Array[] {
  const [low, high] = [mel(LOWEST_HZ), mel(SAMPLE_RATE / 2)];
  const step = (high - low) / (FBANK_BANDS + 1);
  return Array.from({ length: FBANK_BANDS }, (_, m) => {
    const center = low + (m + 1) * step;
    return Float64Array.from({ length: BINS }, (_, bin) =>
      Math.max(0, 1 - Math.abs(mel((bin * SAMPLE_RATE) / FFT) - center) / step),
    );
  });
}

const FILTERS = filterbank();
const POVEY = Float64Array.from(
  { length: WINDOW },
  (_, n) => (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / (WINDOW - 1))) ** 0.85,
);
const COSINE = Float64Array.from({ length: FFT / 2 }, (_, n) => Math.cos((2 * Math.PI * n) / FFT));
const SINE = Float64Array.from({ length: FFT / 2 }, (_, n) => Math.sin((2 * Math.PI * n) / FFT));
const REVERSED = Uint16Array.from({ length: FFT }, (_, n) => {
  let reversed = 0;
  for (let bit = 1; bit < FFT; bit *= 2) reversed = reversed * 2 + (n & bit ? 1 : 0);
  return reversed;
});

/** Fourier transform of FFT samples in place, radix 2; they lie in bit-reversed order. */
function transform(real: Float64Array, imaginary: Float64Array): void {
  for (let half = 1; half < FFT; half *= 2) {
    const turn = FFT / 2 / half;
    for (let start = 0; start < FFT; start += 2 * half) {
      for (let n = 0; n < half; n++) {
        const [a, b] = [start + n, start + n + half];
        const [cosine, sine] = [COSINE[n * turn], SINE[n * turn]];
        const x = real[b] * cosine + imaginary[b] * sine;
        const y = imaginary[b] * cosine - real[b] * sine;
        real[b] = real[a] - x;
        imaginary[b] = imaginary[a] - y;
        real[a] += x;
        imaginary[a] += y;
      }
    }
  }
}

/** Energies of the bands of the frame that begins at a sample. */
function energies(wave: Float32Array, start: number): Float64Array {
  const [real, imaginary] = [new Float64Array(FFT), new Float64Array(FFT)];
  let sum = 0;
  for (let n = 0; n < WINDOW; n++) sum += wave[start + n];
  const average = sum / WINDOW;
  for (let n = 0; n < WINDOW; n++) {
    const before = wave[start + Math.max(0, n - 1)] - average;
    real[REVERSED[n]] = (wave[start + n] - average - PREEMPHASIS * before) * POVEY[n];
  }
  transform(real, imaginary);
  const power = Float64Array.from({ length: BINS }, (_, bin) => real[bin] ** 2 + imaginary[bin] ** 2);
  return Float64Array.from(FILTERS, (filter) => {
    let energy = 0;
    for (let bin = 0; bin < BINS; bin++) energy += filter[bin] * power[bin];
    return Math.max(energy, FLOOR);
  });
}

/**
 * Mel energies of the frames that lie inside a signal.
 *
 * @param wave (N,) at 16 kHz.
 * @returns a frame each 10 ms of FBANK_BANDS energies; Python has their logarithms.
 */
export function melEnergies(wave: Float32Array): Float64Array[] {
  const count = Math.max(0, 1 + Math.floor((wave.length - WINDOW) / HOP));
  return Array.from({ length: count }, (_, t) => energies(wave, t * HOP));
}
