/** The networks, beside the page, so that it stays responsive. */

import { UserError } from "./errors";
import { LiveStream } from "./live";
import { checkPair } from "./modelfile";
import { SpeakerEncoder, StreamingModel, prepareRuntime } from "./networks";
import type { Request, RequestName, Requests } from "./protocol";
import { measure, refuseUnfit, shortcomings } from "./quality";
import { EnhancerStream } from "./stream";

type Handlers = {
  [Name in RequestName]: (content: Requests[Name][0], done: (samples: number) => void) => Promise<Requests[Name][1]>;
};

let networks: { model: StreamingModel; encoder: SpeakerEncoder };
let live: LiveStream | null = null;
let cancelled = false;

/** Let other messages in. */
const breathe = () => new Promise((resolve) => setTimeout(resolve));

/** A second of silence: browsers compile well only what has run, and a call cannot wait. */
async function warmUp(model: StreamingModel): Promise<void> {
  const stream = new EnhancerStream(model, new Float32Array(model.speakerDim));
  await stream.process(new Float32Array(model.sampleRate));
}

const handlers: Handlers = {
  async load({ wasm, student, encoder: data }) {
    prepareRuntime(wasm);
    const model = await StreamingModel.open(student);
    const encoder = await SpeakerEncoder.open(data);
    checkPair(model.speakerEncoder, encoder.identity);
    networks = { model, encoder };
    await warmUp(model);
    const { name, sampleRate, latency, hop, speakerEncoder, speakerDim } = model;
    return { name, sampleRate, latency, hop, speakerEncoder, speakerDim };
  },

  async enroll({ wave }) {
    const recording = measure(wave);
    refuseUnfit(recording);
    const vector = await networks.encoder.embed(wave);
    return { vector, recording, notes: shortcomings(recording) };
  },

  async enhance({ wave, vector, limitDb }, done) {
    cancelled = false;
    const started = performance.now();
    const stream = new EnhancerStream(networks.model, vector, limitDb);
    const result = new Float32Array(wave.length);
    let written = 0;
    const write = (piece: Float32Array) => {
      result.set(piece, written);
      written += piece.length;
    };
    const second = networks.model.sampleRate;
    for (let at = 0; at < wave.length; at += second) {
      write(await stream.process(wave.subarray(at, at + second)));
      done(written);
      await breathe();
      if (cancelled) return null;
    }
    write(await stream.flush());
    return { wave: result, seconds: (performance.now() - started) / 1000 };
  },

  async live({ port, rate, ...settings }) {
    live = new LiveStream(networks.model, port, rate, settings);
    return null;
  },

  async limit({ limitDb }) {
    if (live) live.stream.limitDb = limitDb;
    return null;
  },

  async cancel() {
    cancelled = true;
    return null;
  },

  async stop() {
    if (!live) throw new Error("no stream to stop");
    const stopped = live;
    live = null;
    return stopped.stop();
  },
};

onmessage = async ({ data: { id, name, content } }: MessageEvent<Request>) => {
  try {
    const handler = handlers[name] as (content: unknown, done: (samples: number) => void) => Promise<unknown>;
    const answer = await handler(content, (done) => postMessage({ id, done }));
    postMessage({ id, answer });
  } catch (error) {
    postMessage({ id, error: (error as Error).message ?? String(error), user: error instanceof UserError });
  }
};
