/** Parts of the page that have no counterpart in Python. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { UserError } from "../src/errors";
import { readMetadata } from "../src/modelfile";
import { newProfile, readProfile, vectorOf, writeProfile } from "../src/profile";
import { PlayQueue } from "../src/queue";
import { Resampler } from "../src/resampler";
import { wavFile } from "../src/wav";

const SECONDS = 0.5;

const tone = (rate: number, hz: number) =>
  Float32Array.from({ length: SECONDS * rate }, (_, n) => Math.sin((2 * Math.PI * hz * n) / rate));

/** Through the resampler in chunks of uneven lengths. */
function resampled(wave: Float32Array, from: number, to: number): number[] {
  const resampler = new Resampler(from, to);
  const output: number[] = [];
  for (let at = 0, length = 1; at < wave.length; at += length, length = (length * 7 + 3) % 500) {
    output.push(...resampler.process(wave.subarray(at, at + length)));
  }
  return [...output, ...resampler.flush()];
}

/** Largest difference past the edges of a signal. */
function difference(found: number[], expected: Float32Array): number {
  const edge = 1000;
  return Math.max(...found.slice(edge, -edge).map((value, n) => Math.abs(value - expected[n + edge])));
}

for (const [from, to] of [
  [48000, 16000],
  [44100, 16000],
  [16000, 48000],
  [16000, 44100],
]) {
  test(`a tone from ${from} to ${to} Hz stays that tone, aligned`, () => {
    for (const hz of [300, 6500]) {
      const found = resampled(tone(from, hz), from, to);
      assert.ok(Math.abs(found.length - SECONDS * to) <= 1, `${found.length} samples`);
      assert.ok(difference(found, tone(to, hz)) < 1e-3);
    }
  });
}

test("what lies above the lower Nyquist frequency is removed, not folded", () => {
  for (const hz of [9000, 15000]) {
    const found = resampled(tone(48000, hz), 48000, 16000);
    assert.ok(difference(found, new Float32Array(found.length)) < 1e-3);
  }
});

test("chunks change nothing", () => {
  const wave = tone(48000, 440);
  const whole = [...new Resampler(48000, 16000).process(wave)];
  assert.deepEqual(resampled(wave, 48000, 16000).slice(0, whole.length), whole);
});

test("the queue plays in order, and waits again after it ran empty", () => {
  const queue = new PlayQueue(4, 100);
  const pull = () => {
    const block = new Float32Array(2);
    queue.pull(block);
    return [...block];
  };
  queue.push(Float32Array.of(1, 2, 3));
  assert.deepEqual(pull(), [0, 0]); // not enough ahead
  queue.push(Float32Array.of(4));
  assert.deepEqual([pull(), pull()], [[1, 2], [3, 4]]);
  assert.deepEqual([pull(), pull()], [[0, 0], [0, 0]]);
  assert.equal(queue.dropouts, 1);
  queue.push(Float32Array.of(5, 6));
  assert.deepEqual(pull(), [0, 0]);
  queue.push(Float32Array.of(7, 8));
  assert.deepEqual(pull(), [5, 6]);
});

test("a queue that has grown too long is cut to what it needs", () => {
  const queue = new PlayQueue(2, 5);
  for (let n = 0; n < 6; n++) queue.push(Float32Array.of(n));
  const block = new Float32Array(2);
  queue.pull(block);
  assert.deepEqual([[...block], queue.dropouts], [[4, 5], 1]);
});

test("a WAV file has its header, and every sample as it is", async () => {
  const data = new DataView(await wavFile(Float32Array.of(0, 1e-6, 2), 16000).arrayBuffer());
  assert.deepEqual([20, 22, 34].map((at) => data.getUint16(at, true)), [3, 1, 32]);
  assert.deepEqual([4, 24, 40].map((at) => data.getUint32(at, true)), [48, 16000, 12]);
  const samples = [0, 1, 2].map((n) => data.getFloat32(44 + 4 * n, true));
  assert.deepEqual(samples, [0, Math.fround(1e-6), 2]);
});

const VECTOR = Float32Array.of(0.6, 0.8);
const RECORDING = { seconds: 9, speech: 8.004, level: -23.46, snr: 30.04, clipped: 0, variation: 5 };
const ENCODER = { name: "ge2e", digest: "0123456789abcdef" };

test("a profile is read as it was written", () => {
  const profile = newProfile(VECTOR, ENCODER, RECORDING);
  assert.deepEqual(readProfile(writeProfile(profile)), profile);
  assert.deepEqual(vectorOf(profile, ENCODER, 2), VECTOR);
});

test("of several vectors, that of the model's encoder and the full band is taken", () => {
  const others = [
    { encoder: { ...ENCODER, digest: "other" }, band: "full", vector: Float32Array.of(1, 0) },
    { encoder: ENCODER, band: "telephone", vector: Float32Array.of(0, 1) },
  ];
  const one = newProfile(VECTOR, ENCODER, RECORDING);
  const profile = readProfile(writeProfile({ ...one, vectors: [...others, ...one.vectors] }));
  assert.deepEqual(vectorOf(profile, ENCODER, 2), VECTOR);
  const narrow = readProfile(writeProfile({ ...one, vectors: others }));
  assert.deepEqual(vectorOf(narrow, ENCODER, 2), Float32Array.of(0, 1));
});

test("profiles that do not fit are refused", () => {
  const profile = newProfile(VECTOR, ENCODER, RECORDING);
  const text = writeProfile(profile);
  assert.throws(() => vectorOf(profile, { ...ENCODER, name: "other" }, 2), /made with the speaker encoder ge2e/);
  assert.throws(() => vectorOf(profile, { ...ENCODER, digest: "other" }, 2), /needs ge2e \(other\)/);
  assert.throws(() => vectorOf(profile, ENCODER, 3), /damaged/);
  for (const [good, bad] of [
    [/"vector": "[^"]*"/, '"vector": "AAAA"'],
    [/"band": "full",\n *"vector"/, '"band": "wide", "vector"'],
    [/"digest": "[^"]*"/, '"digest": 1'],
    [/"snr_db": 30/, '"snr_db": null'],
    [/"vectors": \[[^\]]*\]/, '"vectors": []'],
  ] as const) {
    assert.match(text, good);
    assert.throws(() => readProfile(text.replace(good, bad)), /damaged/);
  }
  assert.throws(() => readProfile(text.replace('version": 2', 'version": 3')), /newer/);
  assert.throws(() => readProfile(text.replace('version": 2', 'version": 1')), /older version/);
  for (const none of ["", "null", "[]", "{", "1"]) {
    assert.throws(() => readProfile(none), UserError);
  }
});

/** One field of bytes in a protocol buffer. */
const field = (number: number, content: Uint8Array) =>
  Uint8Array.of((number << 3) | 2, content.length, ...content);

const text = (value: string) => new TextEncoder().encode(value);

function modelFile(metadata: Record<string, string>): Uint8Array {
  const entries = Object.entries(metadata).map(([key, value]) =>
    field(14, Uint8Array.of(...field(1, text(key)), ...field(2, text(value)))),
  );
  return Uint8Array.of(0x08, 0x0a, ...entries.flatMap((entry) => [...entry])); // ir_version first
}

test("metadata of a model is read, and what does not fit refused", () => {
  const metadata = { producer: "espnet_pse_kd", format_version: "2", kind: "student", hop: "160" };
  const data = modelFile(metadata);
  assert.equal(readMetadata(data, "student").get("hop"), "160");
  assert.throws(() => readMetadata(data, "speaker_encoder"), /kind student/);
  assert.throws(() => readMetadata(data.subarray(0, -1), "student"), /truncated/);
  for (const version of ["1", "3"]) {
    const other = modelFile({ ...metadata, format_version: version });
    assert.throws(() => readMetadata(other, "student"), new RegExp(`version ${version}`));
  }
  assert.throws(() => readMetadata(modelFile({ ...metadata, producer: "x" }), "student"), /no model of/);
});
