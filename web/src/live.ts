/** The microphone's stream, in the worker: any rate in, the same rate out. */

import type { StreamingModel } from "./networks";
import type { Settings, Take } from "./protocol";
import { Resampler } from "./resampler";
import { EnhancerStream, joined } from "./stream";

/** Longest take that is kept, in seconds: it lies in memory. */
export const LONGEST_TAKE = 600;

/** A growing signal. */
class Tape {
  private readonly pieces: Float32Array[] = [];
  length = 0;

  push(piece: Float32Array): void {
    this.pieces.push(piece);
    this.length += piece.length;
  }

  /** All of it, or its beginning. */
  read(length = this.length): Float32Array {
    const whole = new Float32Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole.subarray(0, length);
  }
}

/** Enhance what an audio worklet sends, send it back, and keep both. */
export class LiveStream {
  readonly stream: EnhancerStream;
  private readonly down: Resampler;
  private readonly up: Resampler;
  private readonly before = new Tape();
  private readonly after = new Tape();
  private work: Promise<void> = Promise.resolve();

  constructor(
    private readonly model: StreamingModel,
    private readonly port: MessagePort,
    rate: number,
    settings: Settings,
  ) {
    this.stream = new EnhancerStream(model, settings.vector, settings.limitDb);
    this.down = new Resampler(rate, model.sampleRate);
    this.up = new Resampler(model.sampleRate, rate);
    // One chunk after the other: the network's state passes from each to the next.
    port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
      this.work = this.work.then(() => this.take(data));
    };
  }

  /** End it: the whole take. */
  async stop(): Promise<Take> {
    this.port.onmessage = null;
    await this.work;
    const before = this.before.read(LONGEST_TAKE * this.model.sampleRate);
    const after = joined(this.after.read(), await this.stream.flush());
    return { before, after: after.subarray(0, before.length) };
  }

  private async take(chunk: Float32Array): Promise<void> {
    const input = this.down.process(chunk);
    const output = await this.stream.process(input);
    if (this.before.length < LONGEST_TAKE * this.model.sampleRate) {
      this.before.push(input);
      this.after.push(output);
    }
    const sent = this.up.process(output);
    this.port.postMessage(sent);
  }
}
