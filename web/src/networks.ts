/** The exported graphs in onnxruntime-web: one thread, nothing fetched. */

import * as ort from "onnxruntime-web/wasm";

import { UserError } from "./errors";
import { BANDS, PARTIAL_FRAMES, enrolmentPieces } from "./features";
import { type EncoderIdentity, encoderItself, encoderOfStudent, readMetadata, required } from "./modelfile";

/** What a network remembers: tensors by the names of the graph's inputs. */
export type State = Record<string, ort.Tensor>;

/** Hand the runtime its WebAssembly, so that it asks no server for it. */
export function prepareRuntime(wasm: ArrayBuffer): void {
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // more would need headers that only a server can send
}

/** The network that enhances a stream hop by hop; see `runtime/model.py`. */
export class StreamingModel {
  readonly name: string;
  readonly sampleRate: number;
  readonly hop: number;
  readonly latency: number;
  readonly speakerEncoder: EncoderIdentity;
  readonly speakerDim: number;

  private constructor(
    private readonly session: ort.InferenceSession,
    metadata: Map<string, string>,
  ) {
    const number = (key: string) => Number(required(metadata, key));
    this.name = required(metadata, "name");
    this.sampleRate = number("sample_rate");
    this.hop = number("hop");
    this.latency = number("latency");
    this.speakerEncoder = encoderOfStudent(metadata);
    this.speakerDim = number("speaker_dim");
    this.fills = JSON.parse(required(metadata, "initial_state"));
  }

  private readonly fills: Record<string, number>;

  /** Open an exported student. */
  static async open(data: Uint8Array): Promise<StreamingModel> {
    const metadata = readMetadata(data, "student");
    return new StreamingModel(await ort.InferenceSession.create(data), metadata);
  }

  /** State before the first sample of a stream. */
  initState(): State {
    const state: State = {};
    for (const input of this.session.inputMetadata) {
      const fill = this.fills[input.name];
      if (fill === undefined || !input.isTensor) continue;
      const shape = input.shape as number[];
      const size = shape.reduce((product, length) => product * length, 1);
      state[input.name] = new ort.Tensor("float32", new Float32Array(size).fill(fill), shape);
    }
    return state;
  }

  /** A hop's output, `latency - hop` samples late, and the new state. */
  async step(frame: Float32Array, speaker: Float32Array, state: State): Promise<[Float32Array, State]> {
    const result = await this.session.run({
      frame: new ort.Tensor("float32", frame, [1, this.hop]),
      speaker: new ort.Tensor("float32", speaker, [1, this.speakerDim]),
      ...state,
    });
    const next: State = {};
    for (const name in state) next[name] = result[`new_${name}`] as ort.Tensor;
    return [result.output.data as Float32Array, next];
  }
}

/** The network that makes the vector of a voice; see `runtime/speaker_encoder.py`. */
export class SpeakerEncoder {
  private constructor(
    private readonly session: ort.InferenceSession,
    readonly identity: EncoderIdentity,
  ) {}

  /**
   * Open an exported speaker encoder.
   *
   * @throws UserError: it hears something else than mel power.
   */
  static async open(data: Uint8Array): Promise<SpeakerEncoder> {
    const metadata = readMetadata(data, "speaker_encoder");
    const session = await ort.InferenceSession.create(data);
    const identity = encoderItself(metadata);
    if (!session.inputNames.includes("mel")) {
      throw new UserError(`speaker encoder ${identity.name}: the page has mel power only; use pse-kd enhance`);
    }
    return new SpeakerEncoder(session, identity);
  }

  /** The unit vector of a voice from (N,) samples at 16 kHz. */
  async embed(wave: Float32Array): Promise<Float32Array> {
    const { mel, count } = enrolmentPieces(wave);
    const input = new ort.Tensor("float32", mel, [PARTIAL_FRAMES, count, BANDS]);
    const vectors = (await this.session.run({ mel: input })).vector.data as Float32Array;
    const dim = vectors.length / count;
    const sum = new Float64Array(dim);
    vectors.forEach((value, index) => (sum[index % dim] += value));
    const norm = Math.hypot(...sum);
    return Float32Array.from(sum, (value) => value / norm);
  }
}
