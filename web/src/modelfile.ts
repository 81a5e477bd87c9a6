/**
 * What a model file says of itself: `metadata_props` of an ONNX graph, read without
 * parsing the graph. Written by `espnet_pse_kd.runtime.onnxfile`.
 */

import { UserError } from "./errors";

const PRODUCER = "espnet_pse_kd";
const FORMAT_VERSION = 2;
const METADATA_PROPS = 14; // field of onnx.ModelProto
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5]; // wire types

type Field = [number: number, content: Uint8Array | null];

/**
 * Metadata of a model file.
 *
 * @param data bytes of the file.
 * @param kind "student" or "speaker_encoder".
 * @throws UserError: it is truncated, of another kind, or of another version.
 */
export function readMetadata(data: Uint8Array, kind: string): Map<string, string> {
  const metadata = new Map<string, string>();
  const text = new TextDecoder();
  for (const [number, content] of fields(data)) {
    if (number !== METADATA_PROPS || !content) continue;
    const pair = new Map(fields(content));
    metadata.set(text.decode(pair.get(1) ?? undefined), text.decode(pair.get(2) ?? undefined));
  }
  if (metadata.get("producer") !== PRODUCER) {
    throw new UserError(`${kind}: no model of ${PRODUCER}; write it with pse-kd export`);
  }
  const version = metadata.get("format_version");
  if (Number(version) !== FORMAT_VERSION) {
    throw new UserError(
      `${kind}: format version ${version}, the page reads ${FORMAT_VERSION}; export the model again, and build anew`,
    );
  }
  if (metadata.get("kind") !== kind) {
    throw new UserError(`${kind}: the file holds a model of kind ${metadata.get("kind")}`);
  }
  return metadata;
}

/** Which speaker encoder made a vector: a name alone may get other weights. */
export interface EncoderIdentity {
  name: string;
  /** Of its weights. */
  digest: string;
}

/** Whether vectors of one are vectors of the other. */
export const sameEncoder = (one: EncoderIdentity, other: EncoderIdentity): boolean =>
  one.name === other.name && one.digest === other.digest;

/** An encoder as error messages name it. */
export const encoderText = ({ name, digest }: EncoderIdentity): string => `${name} (${digest.slice(0, 8)})`;

/** The encoder whose vectors a student was trained on. */
export function encoderOfStudent(metadata: Map<string, string>): EncoderIdentity {
  return { name: required(metadata, "speaker_encoder"), digest: required(metadata, "speaker_digest") };
}

/** What a speaker encoder is itself. */
export function encoderItself(metadata: Map<string, string>): EncoderIdentity {
  return { name: required(metadata, "name"), digest: required(metadata, "digest") };
}

/**
 * Refuse a speaker encoder that makes other vectors than a student was trained on.
 *
 * @throws UserError: name or weights differ.
 */
export function checkPair(needed: EncoderIdentity, found: EncoderIdentity): void {
  if (sameEncoder(needed, found)) return;
  throw new UserError(
    `speaker encoder ${encoderText(found)}, the model needs ${encoderText(needed)}; build the page from one export`,
  );
}

/** An entry that every model has. */
export function required(metadata: Map<string, string>, key: string): string {
  const value = metadata.get(key);
  if (value === undefined) throw new UserError(`model: its metadata lacks ${key}; export it again`);
  return value;
}

/** Fields of one message; numbers have no content. */
function* fields(data: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < data.length; scale *= 128) {
      const byte = data[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw truncated();
  };
  while (at < data.length) {
    const tag = varint();
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    if (wire === VARINT) {
      varint();
      yield [number, null];
      continue;
    }
    const size = wire === BYTES ? varint() : wire === FIXED64 ? 8 : wire === FIXED32 ? 4 : NaN;
    if (!(number > 0 && at + size <= data.length)) throw truncated();
    yield [number, data.subarray(at, at + size)];
    at += size;
  }
}

function truncated(): UserError {
  return new UserError("model: truncated, or no ONNX file; copy it again");
}
