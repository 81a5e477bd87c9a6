/** A streaming resampler: windowed sinc, linear phase. */

const CROSSINGS = 32; // of the sinc, on each side: what it holds back, at the lower rate
const ROLLOFF = 0.94; // of the lower Nyquist frequency
const KAISER_BETA = 9; // side lobes below -90 dB

/** Modified Bessel function of the first kind, order 0. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestDivisor(a: number, b: number): number {
  return b ? greatestDivisor(b, a % b) : a;
}

/**
 * Resample one channel as it comes. Chunks may have any length; the output is aligned
 * with the input and comes `heldBack` samples of the input late.
 */
export class Resampler {
  /** Input samples that are needed beyond the place of an output sample. */
  readonly heldBack: number;
  private readonly up: number;
  private readonly down: number;
  private readonly filters: Float32Array[];
  private input: Float32Array;
  private phase = 0;

  /** @param from, to rates in Hz, whole numbers. */
  constructor(from: number, to: number) {
    const divisor = greatestDivisor(from, to);
    [this.up, this.down] = [to / divisor, from / divisor];
    const cutoff = (ROLLOFF * Math.min(from, to)) / from; // of the input's Nyquist
    this.heldBack = from === to ? 0 : Math.ceil(CROSSINGS / cutoff);
    this.filters = from === to ? [] : this.design(cutoff);
    this.input = new Float32Array(this.heldBack); // silence before the signal
  }

  /** Take the next samples, and return those that are finished. */
  process(chunk: Float32Array): Float32Array {
    if (!this.filters.length) return chunk;
    const input = new Float32Array(this.input.length + chunk.length);
    input.set(this.input);
    input.set(chunk, this.input.length);
    const taps = 2 * this.heldBack + 1;
    const output: number[] = [];
    let at = 0;
    while (at + taps <= input.length) {
      const filter = this.filters[this.phase];
      let sum = 0;
      for (let n = 0; n < taps; n++) sum += filter[n] * input[at + n];
      output.push(sum);
      this.phase += this.down;
      at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.input = input.slice(at);
    return Float32Array.from(output);
  }

  /** End the signal: return the rest. */
  flush(): Float32Array {
    return this.process(new Float32Array(this.heldBack));
  }

  /** One filter for each place of an output sample between two input samples. */
  private design(cutoff: number): Float32Array[] {
    const reach = this.heldBack + 1;
    return Array.from({ length: this.up }, (_, phase) =>
      Float32Array.from({ length: 2 * this.heldBack + 1 }, (_, n) => {
        const time = n - this.heldBack - phase / this.up;
        const angle = Math.PI * cutoff * time;
        const sinc = angle ? Math.sin(angle) / angle : 1;
        const window = Math.sqrt(Math.max(0, 1 - (time / reach) ** 2));
        return (cutoff * sinc * bessel(KAISER_BETA * window)) / bessel(KAISER_BETA);
      }),
    );
  }
}
