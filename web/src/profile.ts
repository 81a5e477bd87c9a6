/** An enrolled voice as a file that `pse-kd` reads and writes; see `runtime/profile.py`. */

import { UserError } from "./errors";
import type { Recording } from "./quality";

const FORMAT_VERSION = 1;
const UNIT_TOLERANCE = 1e-3;

/** An enrolled voice. */
export interface Profile {
  vector: Float32Array;
  speakerEncoder: string;
  seconds: number;
  levelDbfs: number;
  snrDb: number;
  created: string;
}

/** The profile of a vector, made from a recording. */
export function newProfile(vector: Float32Array, speakerEncoder: string, recording: Recording): Profile {
  const rounded = (value: number, digits: number) => Number(value.toFixed(digits));
  return {
    vector,
    speakerEncoder,
    seconds: rounded(recording.speech, 2),
    levelDbfs: rounded(recording.level, 1),
    snrDb: rounded(recording.snr, 1),
    created: new Date().toISOString().replace(/\.\d+Z$/, "+00:00"),
  };
}

/** A profile's file. */
export function writeProfile(profile: Profile): string {
  const bytes = new Uint8Array(profile.vector.buffer, profile.vector.byteOffset, profile.vector.byteLength);
  const fields = {
    vector: btoa(String.fromCharCode(...bytes)),
    speaker_encoder: profile.speakerEncoder,
    seconds: profile.seconds,
    level_dbfs: profile.levelDbfs,
    snr_db: profile.snrDb,
    created: profile.created,
    sources: ["browser"],
    format_version: FORMAT_VERSION,
  };
  return `${JSON.stringify(fields, null, 1)}\n`;
}

/**
 * Read a profile's file.
 *
 * @throws UserError: it is none, or another encoder's.
 */
export function readProfile(text: string, speakerEncoder: string, dim: number): Profile {
  const fields = parse(text);
  if (!(Number(fields.format_version) <= FORMAT_VERSION)) {
    throw new UserError("This is no voice profile, or a newer one; make one here or with pse-kd enroll");
  }
  if (fields.speaker_encoder !== speakerEncoder) {
    throw new UserError(
      `This profile was made with the speaker encoder ${String(fields.speaker_encoder).slice(0, 40)}, ` +
        `this page needs ${speakerEncoder}; record the voice again`,
    );
  }
  const vector = decode(String(fields.vector));
  if (vector.length !== dim || !(Math.abs(Math.hypot(...vector) - 1) < UNIT_TOLERANCE)) {
    throw new UserError("This profile is damaged; record the voice again");
  }
  return {
    vector,
    speakerEncoder,
    seconds: Number(fields.seconds),
    levelDbfs: Number(fields.level_dbfs),
    snrDb: Number(fields.snr_db),
    created: String(fields.created),
  };
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Little-endian float32 from base64; nothing where it is damaged. */
function decode(text: string): Float32Array {
  try {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
  } catch {
    return new Float32Array(0);
  }
}
