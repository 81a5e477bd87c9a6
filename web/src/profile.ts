/** An enrolled voice as a file that `pse-kd` reads and writes; see `runtime/profile.py`. */

import { UserError } from "./errors";
import { type EncoderIdentity, encoderText, sameEncoder } from "./modelfile";
import type { Recording } from "./quality";

const FORMAT_VERSION = 2;
const UNIT_TOLERANCE = 1e-3;
const LARGEST = 1_000_000; // characters; a profile has some thousands
const MOST_VECTORS = 32;
const FULL = "full";
const BANDS = [FULL, "telephone"];

/** A vector of the voice: of one speaker encoder, and of one band of the speech. */
export interface VoiceVector {
  encoder: EncoderIdentity;
  band: string;
  vector: Float32Array;
}

/** An enrolled voice. */
export interface Profile {
  vectors: VoiceVector[];
  seconds: number;
  levelDbfs: number;
  snrDb: number;
  created: string;
  sources: string[];
  /** Of the recordings themselves. */
  band: string;
}

/** The profile of a vector, made from a recording here. */
export function newProfile(vector: Float32Array, encoder: EncoderIdentity, recording: Recording): Profile {
  const rounded = (value: number, digits: number) => Number(value.toFixed(digits));
  return {
    vectors: [{ encoder, band: FULL, vector }],
    seconds: rounded(recording.speech, 2),
    levelDbfs: rounded(recording.level, 1),
    snrDb: rounded(recording.snr, 1),
    created: new Date().toISOString().replace(/\.\d+Z$/, "+00:00"),
    sources: ["browser"],
    band: FULL,
  };
}

/**
 * The vector that a model needs, of the full band where the profile has it.
 *
 * @throws UserError: none was made with this encoder and these weights.
 */
export function vectorOf({ vectors }: Profile, encoder: EncoderIdentity, dim: number): Float32Array {
  const fitting = vectors.filter((one) => sameEncoder(one.encoder, encoder));
  const best = fitting.find(({ band }) => band === FULL) ?? fitting[0];
  if (!best) {
    const known = [...new Set(vectors.map((one) => encoderText(one.encoder)))].join(", ");
    throw new UserError(
      `This profile was made with the speaker encoder ${known.slice(0, 200)}, ` +
        `this page needs ${encoderText(encoder)}; record the voice again`,
    );
  }
  if (best.vector.length !== dim) throw damaged();
  return best.vector;
}

/** A profile's file. */
export function writeProfile(profile: Profile): string {
  const fields = {
    format_version: FORMAT_VERSION,
    vectors: profile.vectors.map(({ encoder, band, vector }) => ({ ...encoder, band, vector: encode(vector) })),
    seconds: profile.seconds,
    level_dbfs: profile.levelDbfs,
    snr_db: profile.snrDb,
    created: profile.created,
    sources: profile.sources,
    band: profile.band,
  };
  return `${JSON.stringify(fields, null, 1)}\n`;
}

/**
 * Read a profile's file.
 *
 * @throws UserError: it is none, damaged, or of another version.
 */
export function readProfile(text: string): Profile {
  const fields = parse(text);
  const version = fields.format_version;
  if (typeof version !== "number" || version > FORMAT_VERSION) {
    throw new UserError("This is no voice profile, or a newer one; make one here or with pse-kd enroll");
  }
  if (version < FORMAT_VERSION) {
    throw new UserError(
      "This profile is of an older version, which does not say with which weights it was made; record the voice again",
    );
  }
  return {
    vectors: several(fields.vectors).map(readVector),
    seconds: finite(fields.seconds),
    levelDbfs: finite(fields.level_dbfs),
    snrDb: finite(fields.snr_db),
    created: words(fields.created),
    sources: (Array.isArray(fields.sources) ? fields.sources : []).map(words),
    band: words(fields.band),
  };
}

const damaged = () => new UserError("This profile is damaged; record the voice again");

function readVector(given: unknown): VoiceVector {
  const fields = Object(given);
  const encoder = { name: words(fields.name), digest: words(fields.digest) };
  const [band, vector] = [words(fields.band), decode(words(fields.vector))];
  const unit = Math.abs(Math.hypot(...vector) - 1) < UNIT_TOLERANCE;
  if (!unit || !BANDS.includes(band)) throw damaged();
  return { encoder, band, vector };
}

function several(value: unknown): unknown[] {
  if (!Array.isArray(value) || !value.length || value.length > MOST_VECTORS) throw damaged();
  return value;
}

function finite(value: unknown): number {
  if (!Number.isFinite(value)) throw damaged();
  return value as number;
}

function words(value: unknown): string {
  if (typeof value !== "string") throw damaged();
  return value;
}

function parse(text: string): Record<string, unknown> {
  try {
    return text.length > LARGEST ? {} : Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Base64 of little-endian float32. */
function encode(vector: Float32Array): string {
  const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  return btoa(String.fromCharCode(...bytes));
}

/** The inverse of `encode`; nothing where it is damaged. */
function decode(text: string): Float32Array {
  try {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
  } catch {
    return new Float32Array(0);
  }
}
