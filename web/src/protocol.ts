/** What page and worker say to each other. */

import type { EncoderIdentity } from "./modelfile";
import type { Recording } from "./quality";

/** What the page shows of the networks. */
export interface ModelInfo {
  name: string;
  sampleRate: number;
  /** Samples by which the output of the network lags. */
  latency: number;
  hop: number;
  speakerEncoder: EncoderIdentity;
  speakerDim: number;
}

/** The voice, and how far anything may be turned down in dB (Infinity: no limit). */
export interface Settings {
  vector: Float32Array;
  limitDb: number;
}

export interface Take {
  /** Input and output of a live stream, at the model's rate. */
  before: Float32Array;
  after: Float32Array;
}

/** Requests by name: [what is sent, what is answered]. */
export interface Requests {
  load: [{ wasm: ArrayBuffer; student: Uint8Array; encoder: Uint8Array }, ModelInfo];
  enroll: [{ wave: Float32Array }, { vector: Float32Array; recording: Recording; notes: string[] }];
  enhance: [{ wave: Float32Array } & Settings, { wave: Float32Array; seconds: number } | null];
  live: [{ port: MessagePort; rate: number } & Settings, null];
  limit: [{ limitDb: number }, null];
  cancel: [null, null];
  stop: [null, Take];
}

export type RequestName = keyof Requests;

/** A request, numbered so that its answer finds it. */
export interface Request {
  id: number;
  name: RequestName;
  content: unknown;
}

/** An answer, an error, or what was done so far. */
export type Reply =
  | { id: number; answer: unknown }
  | { id: number; error: string; user: boolean }
  | { id: number; done: number };
