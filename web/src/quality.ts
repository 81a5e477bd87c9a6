/**
 * What a recording of one voice is worth for enrolment, by energy alone.
 *
 * The same as `espnet_pse_kd/runtime/enrolment_quality.py`; `tests/test_web.py` compares
 * them.
 */

import { UserError } from "./errors";
import { SAMPLE_RATE, framePowers, power } from "./features";

export const ENOUGH_SPEECH = 8; // seconds
const LEAST_SPEECH = 1.5; // seconds
const POOR_SNR_DB = 10;
const CLIPPED_SHARE = 1e-3;
const FRAME_SECONDS = 0.03;
const LARGEST_SNR_DB = 60;
const CLIP_RUN = 3; // equal extremes in a row

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
}

/** Measure (N,) samples at 16 kHz. */
export function measure(wave: Float32Array): Recording {
  const powers = framePowers(wave).sort();
  const seconds = wave.length / SAMPLE_RATE;
  const clipped = clippedShare(wave);
  const none = { seconds, speech: 0, level: -Infinity, snr: NaN, clipped };
  if (!powers.length) return none;
  const noise = mean(powers.subarray(0, Math.max(1, Math.floor(powers.length / 10))));
  const loud = powers[Math.floor(0.95 * (powers.length - 1))];
  const floor = Math.max(loud * power(-30), noise * power(6), power(-70));
  const spoken = powers.filter((value) => value > floor);
  if (!spoken.length) return none;
  const level = mean(spoken);
  const snr = 10 * Math.log10((level - noise) / Math.max(noise, 1e-12));
  return {
    seconds,
    speech: spoken.length * FRAME_SECONDS,
    level: 10 * Math.log10(level),
    snr: Math.min(snr, LARGEST_SNR_DB),
    clipped,
  };
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
 * @throws UserError: silence, or too little speech.
 */
export function refuseUnfit({ seconds, speech }: Recording): void {
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
