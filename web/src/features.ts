/**
 * What the speaker encoder hears: mel power, speech without its silence.
 *
 * The same as `espnet_pse_kd/runtime/features.py`; `tests/test_web.py` compares them.
 */

import { UserError } from "./errors";

export const SAMPLE_RATE = 16000;
export const HOP = 160; // samples between mel frames
export const BANDS = 40;
export const PARTIAL_FRAMES = 160; // of the pieces into which an utterance is cut

const WINDOW = 400; // samples
const BINS = WINDOW / 2 + 1;
const LEVEL_DBFS = -30; // quieter speech is raised to it
const MIN_SPEECH_SECONDS = 0.5;
export const FRAME = 480; // 30 ms
const RANGE_DB = 30;
const SILENCE_DBFS = -70;
const MARGIN = 3; // frames
const PARTIAL_STEP = 77; // frames
const MIN_COVERAGE = 0.75;

/** A power ratio from decibels. */
export const power = (decibels: number): number => 10 ** (decibels / 10);

/** Mean of the squares of samples. */
export function meanPower(wave: Float32Array): number {
  let sum = 0;
  for (const sample of wave) sum += sample * sample;
  return sum / wave.length;
}

/** Slaney's scale: linear below 1 kHz, logarithmic above. */
const BREAK_HZ = 1000;
const LINEAR_STEP = 200 / 3;
const LOG_STEP = Math.log(6.4) / 27;

function hzToMel(hz: number): number {
  const linear = Math.min(hz, BREAK_HZ) / LINEAR_STEP;
  return linear + Math.log(Math.max(hz, BREAK_HZ) / BREAK_HZ) / LOG_STEP;
}

function melToHz(mel: number): number {
  const above = mel - BREAK_HZ / LINEAR_STEP;
  return above < 0 ? mel * LINEAR_STEP : BREAK_HZ * Math.exp(above * LOG_STEP);
}

/** Triangular filters of unit area over frequency in Hz: BANDS rows of BINS weights. */
function melFilters(): Float64Array[] {
  const top = hzToMel(SAMPLE_RATE / 2);
  const edges = Array.from({ length: BANDS + 2 }, (_, m) => melToHz((top * m) / (BANDS + 1)));
  return Array.from({ length: BANDS }, (_, m) => {
    const [low, middle, high] = edges.slice(m, m + 3);
    return Float64Array.from({ length: BINS }, (_, bin) => {
      const hz = (bin * SAMPLE_RATE) / WINDOW;
      const height = Math.min((hz - low) / (middle - low), (high - hz) / (high - middle));
      return (Math.max(0, height) * 2) / (high - low);
    });
  });
}

const FILTERS = melFilters();
const COSINE = Float64Array.from({ length: WINDOW }, (_, n) => Math.cos((2 * Math.PI * n) / WINDOW));
const SINE = Float64Array.from({ length: WINDOW }, (_, n) => Math.sin((2 * Math.PI * n) / WINDOW));
const HANN = COSINE.map((cosine) => 0.5 - 0.5 * cosine);

/** Power at the bins of one windowed frame, by the sum itself: 400 has no fast radix-2. */
function powerSpectrum(frame: Float64Array): Float64Array {
  const spectrum = new Float64Array(BINS);
  for (let bin = 0; bin < BINS; bin++) {
    let real = 0;
    let imaginary = 0;
    for (let n = 0, at = 0; n < WINDOW; n++) {
      real += frame[n] * COSINE[at];
      imaginary -= frame[n] * SINE[at];
      at += bin;
      if (at >= WINDOW) at -= WINDOW;
    }
    spectrum[bin] = real * real + imaginary * imaginary;
  }
  return spectrum;
}

/**
 * Mel power spectrum; frame t is centred on sample 160 t, samples outside count as zero.
 *
 * @param wave (N,) at 16 kHz.
 * @returns ceil(N / 160) + 1 frames of BANDS values each, one after another.
 */
export function melPower(wave: Float32Array): Float32Array {
  const count = Math.ceil(wave.length / HOP) + 1;
  const mel = new Float32Array(count * BANDS);
  const frame = new Float64Array(WINDOW);
  for (let t = 0; t < count; t++) {
    const start = t * HOP - WINDOW / 2;
    for (let n = 0; n < WINDOW; n++) frame[n] = HANN[n] * (wave[start + n] ?? 0);
    const spectrum = powerSpectrum(frame);
    FILTERS.forEach((filter, m) => {
      let sum = 0;
      for (let bin = 0; bin < BINS; bin++) sum += filter[bin] * spectrum[bin];
      mel[t * BANDS + m] = sum;
    });
  }
  return mel;
}

/** Powers of whole frames of 30 ms. */
export function framePowers(wave: Float32Array): Float64Array {
  const count = Math.floor(wave.length / FRAME);
  return Float64Array.from({ length: count }, (_, t) => meanPower(wave.subarray(t * FRAME, (t + 1) * FRAME)));
}

/** Linear interpolation between the order statistics, as numpy.quantile does it. */
function quantile(values: Float64Array, share: number): number {
  const sorted = values.slice().sort();
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)];
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at));
}

/**
 * Cut the silence out of an enrolment by energy alone: kept is what lies above
 * max(95 % quantile - 30 dB, -70 dBFS), or within 90 ms of it.
 *
 * @throws UserError: less than half a second is above the threshold.
 */
export function trimSilence(wave: Float32Array): Float32Array {
  const powers = framePowers(wave);
  const loud = powers.length ? quantile(powers, 0.95) : 0;
  const floor = Math.max(power(SILENCE_DBFS), loud * power(-RANGE_DB));
  const active = Array.from(powers, (value) => value > floor);
  const seconds = (active.filter(Boolean).length * FRAME) / SAMPLE_RATE;
  if (seconds < MIN_SPEECH_SECONDS) {
    throw new UserError(`${seconds.toFixed(2)} s of speech above ${SILENCE_DBFS} dBFS; record at least 5 s`);
  }
  const near = active.map((_, t) => active.slice(Math.max(0, t - MARGIN), t + MARGIN + 1).some(Boolean));
  const kept = new Float32Array(near.filter(Boolean).length * FRAME);
  let at = 0;
  near.forEach((keep, t) => {
    if (!keep) return;
    kept.set(wave.subarray(t * FRAME, (t + 1) * FRAME), at);
    at += FRAME;
  });
  return kept;
}

/** Raise samples below -30 dBFS to that level; silence stays silent. */
export function raiseLevel(wave: Float32Array): Float32Array {
  const gain = Math.max(Math.sqrt(power(LEVEL_DBFS) / Math.max(meanPower(wave), 1e-20)), 1);
  return wave.map((sample) => sample * gain);
}

/** First frames of an utterance's pieces, as the published GE2E encoder cuts it. */
export function pieceStarts(samples: number): number[] {
  const frames = Math.floor(samples / HOP) + 1;
  const end = Math.max(1, frames - PARTIAL_FRAMES + PARTIAL_STEP + 1);
  const starts: number[] = [];
  for (let start = 0; start < end; start += PARTIAL_STEP) starts.push(start);
  const coverage = (samples / HOP - starts[starts.length - 1]) / PARTIAL_FRAMES;
  if (coverage < MIN_COVERAGE && starts.length > 1) starts.pop();
  return starts;
}

/** Pieces of an enrolment's speech as the encoder takes them. */
export interface Pieces {
  /** (PARTIAL_FRAMES, count, BANDS), the frames first. */
  mel: Float32Array;
  count: number;
}

/**
 * Cut an enrolment into the pieces whose vectors are averaged.
 *
 * @param wave (N,) at 16 kHz.
 * @throws UserError: it is nearly silent.
 */
export function enrolmentPieces(wave: Float32Array): Pieces {
  const speech = raiseLevel(trimSilence(wave));
  const starts = pieceStarts(speech.length);
  const end = (starts[starts.length - 1] + PARTIAL_FRAMES) * HOP;
  const padded = new Float32Array(Math.max(end, speech.length));
  padded.set(speech);
  const frames = melPower(padded);
  const count = starts.length;
  const mel = new Float32Array(PARTIAL_FRAMES * count * BANDS);
  starts.forEach((start, piece) => {
    for (let t = 0; t < PARTIAL_FRAMES; t++) {
      const from = (start + t) * BANDS;
      mel.set(frames.subarray(from, from + BANDS), (t * count + piece) * BANDS);
    }
  });
  return { mel, count };
}
