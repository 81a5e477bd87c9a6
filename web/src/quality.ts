/**
 * What a recording of one voice is worth for enrolment, by energy alone.
 *
 * The same as `espnet_pse_kd/runtime/enrolment_quality.py`; `tests/test_web.py` compares
 * them.
 */

import { UserError } from "./errors";
import { FBANK_BANDS, melEnergies } from "./fbank";
import { FRAME, SAMPLE_RATE, framePowers, power } from "./features";

export const ENOUGH_SPEECH = 8; // seconds
const LEAST_SPEECH = 1.5; // seconds
const LEAST_VARIATION = 1.8; // dB
const POOR_SNR_DB = 10;
const CLIPPED_SHARE = 1e-3;
const LARGEST_SNR_DB = 60;
const CLIP_RUN = 3; // equal extremes in a row
const SPECTRUM_RANGE_DB = 40;
const STRETCH = 9; // spectra of 10 ms: in fewer, noise itself would vary
const WIDE_BANDS = 20;

/** Measures of one recording. */
export interface Recording {
  /** Length. */
  seconds: number;
  /** Seconds in which somebody speaks. */
  speech: number;
  /** Level of the speech in dBFS, -Infinity where there is none. */
  level: number;
  /** Estimate of speech over noise in dB, at most 60, NaN without speech. */
  snr: number;
  /** Share of samples that are cut off at the largest value. */
  clipped: number;
  /** How much the spectrum of the speech varies over time, in dB. */
  variation: number;
}

/** Powers of 30 ms each, the noise between the speech, and where the speech begins. */
interface Energy {
  powers: Float64Array;
  noise: number;
  threshold: number;
}

function energy(wave: Float32Array): Energy | null {
  const powers = framePowers(wave);
  if (!powers.length) return null;
  const sorted = powers.slice().sort();
  const noise = mean(sorted.subarray(0, Math.max(1, Math.floor(sorted.length / 10))));
  const loud = sorted[Math.floor(0.95 * (sorted.length - 1))];
  return { powers, noise, threshold: Math.max(loud * power(-30), noise * power(6), power(-70)) };
}

/** Seconds in which somebody speaks in (N,) samples at 16 kHz. */
export function speechSeconds(wave: Float32Array): number {
  const found = energy(wave);
  return found ? seconds(found.powers.filter((value) => value > found.threshold).length) : 0;
}

/** Length of a number of frames. */
const seconds = (frames: number): number => (frames * FRAME) / SAMPLE_RATE;

/** Measure (N,) samples at 16 kHz. */
export function measure(wave: Float32Array): Recording {
  const length = wave.length / SAMPLE_RATE;
  const clipped = clippedShare(wave);
  const found = energy(wave);
  const spoken = found?.powers.filter((value) => value > found.threshold);
  if (!found || !spoken?.length) {
    return { seconds: length, speech: 0, level: -Infinity, snr: NaN, clipped, variation: 0 };
  }
  const level = mean(spoken);
  const snr = 10 * Math.log10((level - found.noise) / Math.max(found.noise, 1e-12));
  return {
    seconds: length,
    speech: seconds(spoken.length),
    level: 10 * Math.log10(level),
    snr: Math.min(snr, LARGEST_SNR_DB),
    clipped,
    variation: variation(speechOf(wave, found)),
  };
}

/** The frames with speech, one after another; whole stretches of 90 ms. */
function speechOf(wave: Float32Array, { powers, threshold }: Energy): Float32Array {
  const spoken = [...powers.keys()].filter((t) => powers[t] > threshold);
  const whole = spoken.slice(0, spoken.length - (spoken.length % 3));
  const speech = new Float32Array(whole.length * FRAME);
  whole.forEach((t, at) => speech.set(wave.subarray(t * FRAME, (t + 1) * FRAME), at * FRAME));
  return speech;
}

/** Mean over wide bands of how their level, less that of all, varies over stretches. */
function variation(speech: Float32Array): number {
  const spectra = melEnergies(speech);
  const count = Math.floor(spectra.length / STRETCH);
  if (count < 2) return 0;
  const levels = Array.from({ length: count }, (_, s) =>
    relativeLevels(spectra.slice(s * STRETCH, (s + 1) * STRETCH)),
  );
  const bands = Array.from({ length: WIDE_BANDS }, (_, band) => Float64Array.from(levels, (level) => level[band]));
  return mean(Float64Array.from(bands, deviation));
}

/** Levels in dB of a stretch's wide bands, relative to their mean. */
function relativeLevels(spectra: Float64Array[]): Float64Array {
  const width = FBANK_BANDS / WIDE_BANDS;
  const energies = new Float64Array(WIDE_BANDS);
  for (const spectrum of spectra) spectrum.forEach((value, m) => (energies[Math.floor(m / width)] += value));
  const levels = energies.map((value) => 10 * Math.log10(value));
  const least = Math.max(...levels) - SPECTRUM_RANGE_DB;
  const limited = levels.map((level) => Math.max(level, least));
  const average = mean(limited);
  return limited.map((level) => level - average);
}

function deviation(values: Float64Array): number {
  const average = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - average) ** 2)));
}

/** Share of samples in runs of three or more at the largest or smallest value. */
function clippedShare(wave: Float32Array): number {
  let [high, low] = [0, 0];
  for (const sample of wave) [high, low] = [Math.max(high, sample), Math.min(low, sample)];
  let [inside, run] = [0, 0];
  for (let n = 0; n <= wave.length; n++) {
    const sample = wave[n];
    const cut = (sample === high || sample === low) && Math.abs(sample) > 0.1;
    if (cut) run++;
    else {
      if (run >= CLIP_RUN) inside += run;
      run = 0;
    }
  }
  return wave.length ? inside / wave.length : 0;
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Refuse what nobody can be enrolled from.
 *
 * @throws UserError: silence, too little speech, or a tone or a noise instead.
 */
export function refuseUnfit({ seconds, speech, variation }: Recording): void {
  if (speech === 0) {
    throw new UserError(
      `${seconds.toFixed(1)} s, no speech stands out in it; check the microphone and record the voice again`,
    );
  }
  if (speech < LEAST_SPEECH) {
    throw new UserError(
      `Too short: ${speech.toFixed(1)} s of speech; at least ${LEAST_SPEECH} s are needed, better ${ENOUGH_SPEECH} s or more`,
    );
  }
  if (variation < LEAST_VARIATION) {
    throw new UserError("What stands out sounds always the same, like a tone or a noise; record a voice that speaks");
  }
}

/** What a better enrolment would mend, one line each; none if it is good. */
export function shortcomings({ speech, snr, clipped }: Recording): string[] {
  const found: string[] = [];
  if (speech < ENOUGH_SPEECH) {
    found.push(`${speech.toFixed(1)} s of speech; ${ENOUGH_SPEECH} s or more tell the voice better from others`);
  }
  if (snr < POOR_SNR_DB) {
    found.push(`SNR about ${snr.toFixed(0)} dB; record in a quieter place, with pauses`);
  }
  if (clipped > CLIPPED_SHARE) {
    found.push(`${(100 * clipped).toPrecision(2)} % of the samples are clipped; lower the microphone's gain`);
  }
  return found;
}
