/** The microphone's end in the audio thread: chunks out, enhanced chunks in. */

import { PlayQueue } from "./queue";

// What TypeScript's libraries lack of the audio thread.
declare const sampleRate: number;
declare function registerProcessor(name: string, processor: new (options: never) => AudioWorkletProcessor): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

const CHUNK_SECONDS = 0.01;
const REPORT_SECONDS = 0.1;

/** Options of the node. */
export interface Options {
  processorOptions: { aheadSeconds: number };
}

class Microphone extends AudioWorkletProcessor {
  private readonly queue: PlayQueue;
  private sink: MessagePort | null = null;
  private chunk: number[] = [];
  private peaks = [0, 0];
  private sinceReport = 0;

  constructor({ processorOptions: { aheadSeconds } }: Options) {
    super();
    const ahead = Math.round(aheadSeconds * sampleRate);
    this.queue = new PlayQueue(ahead, ahead + 0.2 * sampleRate);
    this.port.onmessage = ({ data }: MessageEvent<MessagePort>) => {
      this.sink = data;
      this.sink.onmessage = (message: MessageEvent<Float32Array>) => this.queue.push(message.data);
    };
  }

  process([[input]]: Float32Array[][], [[output]]: Float32Array[][]): boolean {
    // Until the device is open there is no channel.
    if (input && this.sink) this.send(input);
    this.queue.pull(output);
    this.report(input, output);
    return true;
  }

  private send(input: Float32Array): void {
    this.chunk.push(...input);
    if (this.chunk.length < CHUNK_SECONDS * sampleRate) return;
    this.sink!.postMessage(Float32Array.from(this.chunk));
    this.chunk = [];
  }

  private report(...signals: (Float32Array | undefined)[]): void {
    signals.forEach((signal, n) => {
      for (const sample of signal ?? []) this.peaks[n] = Math.max(this.peaks[n], Math.abs(sample));
    });
    this.sinceReport += signals[1]!.length;
    if (this.sinceReport < REPORT_SECONDS * sampleRate) return;
    this.port.postMessage({ peaks: this.peaks, dropouts: this.queue.dropouts });
    [this.peaks, this.sinceReport] = [[0, 0], 0];
  }
}

registerProcessor("microphone", Microphone);
