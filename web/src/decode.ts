/** Files of sound as one channel at the model's rate. */

import { UserError } from "./errors";

/** Longest recording, in seconds: it lies in memory. */
export const LONGEST = 1800;
const LARGEST = 600_000_000; // bytes

/**
 * Decode whatever the browser reads; it resamples, channels are mixed down.
 *
 * @throws UserError: it is no sound, empty, or too long.
 */
export async function decode(file: File, rate: number): Promise<Float32Array> {
  if (file.size > LARGEST) {
    throw new UserError(`${file.name}: ${Math.round(file.size / 1e6)} MB; cut it, or use pse-kd enhance`);
  }
  const context = new OfflineAudioContext(1, 1, rate);
  let buffer: AudioBuffer;
  try {
    buffer = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new UserError(
      `${file.name}: this browser cannot read it as sound; convert it to WAV, MP3, FLAC, M4A or OGG`,
    );
  }
  if (!buffer.length) throw new UserError(`${file.name}: holds no sound; choose another file`);
  if (buffer.duration > LONGEST) {
    const minutes = Math.round(buffer.duration / 60);
    throw new UserError(`${file.name}: ${minutes} minutes; up to ${LONGEST / 60} fit here, pse-kd enhance takes any`);
  }
  return mixDown(buffer);
}

/** Mean of the channels. */
function mixDown(buffer: AudioBuffer): Float32Array {
  const mixed = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((sample, n) => (mixed[n] += sample / buffer.numberOfChannels));
  }
  return mixed;
}
