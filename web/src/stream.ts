/**
 * A signal at the model's rate through the network, in chunks of any length; see
 * `espnet_pse_kd/runtime/stream.py`.
 */

import type { State, StreamingModel } from "./networks";

const RAMP_SECONDS = 0.01;
const LOUDEST = 1e6; // samples beyond it are broken

/** Two pieces of a signal, one after the other. */
export function joined(first: Float32Array, second: Float32Array): Float32Array {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/**
 * Enhance one channel as it comes.
 *
 * What `process` and the closing `flush` return is, put together, as long as the input
 * and aligned with it. Calls must not overlap.
 */
export class EnhancerStream {
  private state: State;
  private pending: Float32Array = new Float32Array(0);
  private dry: Float32Array = new Float32Array(0);
  private lag: number;
  private dryGain: number;

  /**
   * @param model the network.
   * @param speaker (D,) unit vector of the voice.
   * @param limitDb how far anything may be turned down; Infinity: no limit. May be
   *   changed at any time; the change is spread over 10 ms.
   */
  constructor(
    private readonly model: StreamingModel,
    private readonly speaker: Float32Array,
    public limitDb = Infinity,
  ) {
    this.state = model.initState();
    this.lag = model.latency - model.hop;
    this.dryGain = 10 ** (-limitDb / 20);
  }

  /** Take the next samples, and return those that are finished. */
  async process(chunk: Float32Array): Promise<Float32Array> {
    const clean = chunk.map((sample) => (Math.abs(sample) <= LOUDEST ? sample : 0));
    this.dry = joined(this.dry, clean);
    return this.advance(clean);
  }

  /** End the signal: return the rest. */
  async flush(): Promise<Float32Array> {
    const missing = this.dry.length + this.lag - this.pending.length;
    return this.advance(new Float32Array(Math.max(missing, 0) + this.model.hop));
  }

  private async advance(samples: Float32Array): Promise<Float32Array> {
    const { hop } = this.model;
    const pending = joined(this.pending, samples);
    const whole = Math.floor(pending.length / hop) * hop;
    const output = new Float32Array(whole);
    for (let at = 0; at < whole; at += hop) {
      const frame = pending.slice(at, at + hop);
      const [enhanced, state] = await this.model.step(frame, this.speaker, this.state);
      this.state = state;
      output.set(enhanced, at);
    }
    this.pending = pending.slice(whole);
    const skipped = Math.min(this.lag, output.length);
    this.lag -= skipped;
    const wet = output.subarray(skipped, skipped + this.dry.length);
    const dry = this.dry.subarray(0, wet.length);
    this.dry = this.dry.slice(wet.length);
    return this.mix(wet, dry);
  }

  /** Leave as much of the input as the limit says. */
  private mix(wet: Float32Array, dry: Float32Array): Float32Array {
    const wanted = 10 ** (-this.limitDb / 20);
    const slope = 1 / (RAMP_SECONDS * this.model.sampleRate);
    return wet.map((sample, n) => {
      const change = wanted - this.dryGain;
      this.dryGain += Math.sign(change) * Math.min(Math.abs(change), slope);
      return sample + this.dryGain * (dry[n] - sample);
    });
  }
}
