/** What tests/test_web.py calls: a function by its name, arguments and result as JSON. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { melPower } from "../src/features";
import { SpeakerEncoder, StreamingModel, prepareRuntime } from "../src/networks";
import { measure } from "../src/quality";
import { EnhancerStream } from "../src/stream";

interface Arguments {
  name: string;
  wave: number[];
  /** File of the network. */
  model: string;
  vector: number[];
  limit: number | null;
  chunk: number;
}

const read = (path: string) => new Uint8Array(readFileSync(path));

function loadRuntime(): void {
  const entry = createRequire(import.meta.url).resolve("onnxruntime-web/wasm");
  const wasm = read(entry.replace(/[^/]*$/, "ort-wasm-simd-threaded.wasm"));
  prepareRuntime(wasm.buffer);
}

const functions: Record<string, (given: Arguments) => unknown> = {
  melPower: ({ wave }) => melPower(Float32Array.from(wave)),
  measure: ({ wave }) => measure(Float32Array.from(wave)),

  async embed({ wave, model }) {
    loadRuntime();
    const encoder = await SpeakerEncoder.open(read(model));
    return encoder.embed(Float32Array.from(wave));
  },

  async stream({ wave, model, vector, limit, chunk }) {
    loadRuntime();
    const network = await StreamingModel.open(read(model));
    const stream = new EnhancerStream(network, Float32Array.from(vector), limit ?? Infinity);
    const output: number[] = [];
    for (let at = 0; at < wave.length; at += chunk) {
      output.push(...(await stream.process(Float32Array.from(wave.slice(at, at + chunk)))));
    }
    return [...output, ...(await stream.flush())];
  },
};

const given: Arguments = JSON.parse(readFileSync(0, "utf8"));
const result = await functions[given.name](given);
console.log(JSON.stringify(ArrayBuffer.isView(result) ? Array.from(result as Float32Array) : result));
