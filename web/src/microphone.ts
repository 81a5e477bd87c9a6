/** The microphone, and how it is heard. */

import { UserError } from "./errors";

/** Enhanced sound that waits for the device: bridges the bursts of the network. */
export const AHEAD_SECONDS = 0.03;

/** What the audio thread reports ten times a second. */
export interface Report {
  /** Of input and output, full scale = 1. */
  peaks: [number, number];
  /** Times the output ran empty. */
  dropouts: number;
}

/** An open microphone, sending chunks to a port and playing what comes back. */
export class Microphone {
  private constructor(
    private readonly context: AudioContext,
    private readonly media: MediaStream,
    private readonly volume: GainNode,
  ) {}

  /**
   * Ask for the microphone and open it.
   *
   * @param code address of the audio thread's script.
   * @param begin called with the device's rate; returns where chunks go.
   * @param report called ten times a second.
   * @throws UserError: there is none, or it may not be used.
   */
  static async open(
    code: string,
    begin: (rate: number) => MessagePort,
    report: (report: Report) => void,
  ): Promise<Microphone> {
    const media = await ask();
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.audioWorklet.addModule(code);
      await context.resume();
    } catch (error) {
      stop(media);
      throw error;
    }
    const node = new AudioWorkletNode(context, "microphone", {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
      processorOptions: { aheadSeconds: AHEAD_SECONDS },
    });
    node.port.onmessage = ({ data }: MessageEvent<Report>) => report(data);
    const sink = begin(context.sampleRate);
    node.port.postMessage(sink, [sink]);
    const volume = new GainNode(context, { gain: 0 });
    context.createMediaStreamSource(media).connect(node).connect(volume).connect(context.destination);
    return new Microphone(context, media, volume);
  }

  /** Whether what comes back is played. */
  set audible(on: boolean) {
    this.volume.gain.setTargetAtTime(on ? 1 : 0, this.context.currentTime, 0.01);
  }

  /** Delay of device and queues, in seconds, without the network's. */
  get deviceSeconds(): number {
    return this.context.baseLatency + (this.context.outputLatency || 0) + AHEAD_SECONDS;
  }

  /** Called when the device goes away. */
  set onended(handler: () => void) {
    this.media.getAudioTracks()[0].onended = handler;
  }

  async close(): Promise<void> {
    stop(this.media);
    await this.context.close();
  }
}

/** Give the device back. */
function stop(media: MediaStream): void {
  for (const track of media.getTracks()) track.stop();
}

async function ask(): Promise<MediaStream> {
  if (!navigator.mediaDevices) {
    throw new UserError("This browser gives no microphone to this page; open it as a file or over https");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new UserError(reason((error as DOMException).name));
  }
}

function reason(name: string): string {
  if (name === "NotFoundError") return "No microphone was found; connect one, or choose a file";
  if (name === "NotAllowedError") {
    return "The microphone is blocked; allow it in the browser's address bar, or choose a file";
  }
  if (name === "NotReadableError") return "The microphone is in use by another program; close it and try again";
  return `The microphone cannot be opened (${name}); choose a file instead`;
}
