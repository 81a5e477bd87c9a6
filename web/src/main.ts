/** The page. */

import workerCode from "inline:./worker.ts";
import workletCode from "inline:./worklet.ts";

import { asset } from "./assets";
import { Client } from "./client";
import { decode } from "./decode";
import { UserError } from "./errors";
import { LONGEST_TAKE } from "./live";
import { Microphone, type Report } from "./microphone";
import { Player } from "./player";
import { type Profile, newProfile, readProfile, vectorOf, writeProfile } from "./profile";
import type { ModelInfo } from "./protocol";
import { ENOUGH_SPEECH, speechSeconds } from "./quality";
import { Resampler } from "./resampler";
import { joined } from "./stream";

const LONGEST_ENROLMENT = 600; // seconds
const LONGEST_RECORDING = 20; // seconds at the microphone, if speech is sparse
const CHUNK_SECONDS = 0.01; // of the worklet

const byId = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;
const button = (id: string) => byId<HTMLButtonElement>(id);
const input = (id: string) => byId<HTMLInputElement>(id);

/** Everything that the page knows. */
class Page {
  private voice: { profile: Profile; vector: Float32Array } | null = null;
  // A worklet is a module, which a page that is opened as a file cannot load from a blob.
  private readonly worklet = `data:text/javascript;charset=utf-8,${encodeURIComponent(workletCode)}`;
  private readonly player: Player;

  constructor(
    private readonly client: Client,
    private readonly model: ModelInfo,
  ) {
    this.player = new Player(byId("player"), model.sampleRate);
    button("voice-record").onclick = () => this.run("voice-status", () => this.recordVoice());
    onFile("voice-file", (file) => this.run("voice-status", () => this.readVoice(file)));
    button("voice-save").onclick = () => this.saveVoice();
    onFile("recording-file", (file) => this.run("recording-status", () => this.enhance(file)));
    button("live-start").onclick = () => this.run("live-status", () => this.listen());
    byId("strength").onchange = () => void this.client.ask("limit", { limitDb: this.limitDb });
    byId("original").onchange = () => void this.client.ask("limit", { limitDb: this.limitDb });
    this.enable(true);
  }

  /** Strength in dB; hearing the original is a limit of 0 dB. */
  private get limitDb(): number {
    if (input("original").checked && button("live-start").disabled) return 0;
    return Number(byId<HTMLSelectElement>("strength").value);
  }

  /** Do one thing at a time; what goes wrong is said where it was asked for. */
  private async run(status: string, action: () => Promise<string>): Promise<void> {
    this.enable(false);
    for (const each of document.querySelectorAll(".error")) say(each.id, "");
    try {
      say(status, await action());
    } catch (error) {
      const known = error instanceof UserError;
      say(status, known ? error.message : `Something failed: ${(error as Error).message}`, "error");
    }
    this.enable(true);
  }

  private enable(on: boolean): void {
    for (const control of document.querySelectorAll<HTMLInputElement>("[data-needs]")) {
      control.disabled = !on || (control.dataset.needs === "voice" && !this.voice);
    }
  }

  // --- the voice ---

  private async readVoice(file: File): Promise<string> {
    if (/\.(profile|json)$/i.test(file.name)) {
      const profile = readProfile(await file.text());
      this.keepVoice(profile, vectorOf(profile, this.model.speakerEncoder, this.model.speakerDim));
      return `Voice of ${file.name}: made from ${profile.seconds.toFixed(1)} s of speech.`;
    }
    const wave = await decode(file, this.model.sampleRate);
    if (wave.length > LONGEST_ENROLMENT * this.model.sampleRate) {
      throw new UserError(`${file.name}: longer than ${LONGEST_ENROLMENT / 60} minutes; half a minute is plenty`);
    }
    return this.enroll(wave);
  }

  /** Record until there is enough speech. */
  private async recordVoice(): Promise<string> {
    const stop = button("voice-stop");
    let wave: Float32Array = new Float32Array(0);
    let speech = 0;
    const channel = new MessageChannel();
    let resampler: Resampler;
    const end = new Promise<void>((resolve) => {
      stop.onclick = () => resolve();
      channel.port2.onmessage = ({ data }: MessageEvent<Float32Array>) => {
        wave = joined(wave, resampler.process(data));
        if (speech >= ENOUGH_SPEECH || wave.length > LONGEST_RECORDING * this.model.sampleRate) resolve();
      };
    });
    const begin = (rate: number) => {
      resampler = new Resampler(rate, this.model.sampleRate);
      return channel.port1;
    };
    const microphone = await Microphone.open(this.worklet, begin, (report) => {
      meter("voice-meter", report.peaks[0]);
      speech = speechSeconds(wave);
      say("voice-status", `Speak as you do in a call: ${speech.toFixed(1)} of ${ENOUGH_SPEECH} s of speech.`);
    });
    microphone.onended = () => stop.click();
    show("voice-live", true);
    await end;
    show("voice-live", false);
    await microphone.close();
    return this.enroll(wave);
  }

  private async enroll(wave: Float32Array): Promise<string> {
    const { vector, recording, notes } = await this.client.ask("enroll", { wave });
    this.keepVoice(newProfile(vector, this.model.speakerEncoder, recording), vector);
    const { speech, level, snr } = recording;
    const worth = `${speech.toFixed(1)} s of speech, level ${level.toFixed(0)} dBFS, SNR about ${snr.toFixed(0)} dB.`;
    return ["Voice enrolled:", worth, ...notes.map((note) => `Better: ${note}.`)].join(" ");
  }

  private keepVoice(profile: Profile, vector: Float32Array): void {
    this.voice = { profile, vector };
    this.player.hide();
    for (const status of ["recording-status", "live-status"]) say(status, "");
    show("voice-save", true);
    byId("voice").classList.add("done");
  }

  private saveVoice(): void {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([writeProfile(this.voice!.profile)], { type: "application/json" }));
    link.download = "voice.profile";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // --- a recording ---

  private async enhance(file: File): Promise<string> {
    this.player.hide();
    say("recording-status", `Reading ${file.name} …`);
    const wave = await decode(file, this.model.sampleRate);
    const bar = byId<HTMLProgressElement>("recording-progress");
    bar.max = wave.length;
    show("recording-running", true);
    button("recording-stop").onclick = () => void this.client.ask("cancel", null);
    say("recording-status", `Enhancing ${file.name} …`);
    const settings = { vector: this.voice!.vector, limitDb: this.limitDb };
    const result = await this.client
      .ask("enhance", { wave, ...settings }, [], (done) => (bar.value = done))
      .finally(() => show("recording-running", false));
    if (!result) return "Stopped.";
    this.player.show(wave, result.wave, file.name.replace(/\.[^.]*$/, ""));
    const length = wave.length / this.model.sampleRate;
    const factor = length / result.seconds;
    return `${length.toFixed(1)} s in ${result.seconds.toFixed(1)} s, ${factor.toFixed(1)} times real time.`;
  }

  // --- the microphone ---

  private async listen(): Promise<string> {
    this.player.hide();
    const [stop, monitor] = [button("live-stop"), input("monitor")];
    const channel = new MessageChannel();
    let rate = 0;
    const settings = { vector: this.voice!.vector, limitDb: this.limitDb };
    const begin = (found: number) => {
      rate = found;
      void this.client.ask("live", { port: channel.port2, rate, ...settings }, [channel.port2]);
      return channel.port1;
    };
    let dropouts = 0;
    const microphone = await Microphone.open(this.worklet, begin, (report) => {
      dropouts = report.dropouts;
      this.showLevels(report);
    });
    const latency = microphone.deviceSeconds + this.networkSeconds(rate);
    say("live-status", `Listening, ${Math.round(1000 * latency)} ms late.`);
    const hear = () => (microphone.audible = monitor.checked);
    monitor.onchange = hear;
    hear();
    show("live-running", true);
    await new Promise<void>((resolve) => {
      stop.onclick = () => resolve();
      microphone.onended = () => resolve();
      setTimeout(resolve, 1000 * LONGEST_TAKE);
    });
    show("live-running", false);
    say("live-status", "Finishing …");
    await microphone.close();
    const take = await this.client.ask("stop", null);
    if (!take.before.length) throw new UserError("The microphone gave no sound; check it and try again");
    this.player.show(take.before, take.after, "microphone");
    const seconds = take.before.length / this.model.sampleRate;
    return `${seconds.toFixed(1)} s, ${Math.round(1000 * latency)} ms late, ${dropouts} dropouts.`;
  }

  /** Delay of chunks, resamplers and network. */
  private networkSeconds(rate: number): number {
    const { sampleRate, latency } = this.model;
    const resamplers = new Resampler(rate, sampleRate).heldBack / rate + new Resampler(sampleRate, rate).heldBack / sampleRate;
    return CHUNK_SECONDS + latency / sampleRate + resamplers;
  }

  private showLevels({ peaks }: Report): void {
    meter("meter-in", peaks[0]);
    meter("meter-out", peaks[1]);
  }
}

/** Write a line of status; an error is announced at once. */
function say(id: string, text: string, kind = ""): void {
  const line = byId(id);
  line.textContent = text;
  line.className = `status ${kind}`;
}

function show(id: string, on: boolean): void {
  byId(id).hidden = !on;
}

/** A peak on a scale of 60 dB. */
function meter(id: string, peak: number): void {
  byId<HTMLMeterElement>(id).value = Math.max(0, 1 + (20 * Math.log10(peak + 1e-9)) / 60);
}

/** Take a file that is chosen, or dropped on the card; the same may come twice. */
function onFile(id: string, take: (file: File) => void): void {
  const field = input(id);
  field.onchange = () => {
    const file = field.files?.[0];
    if (file) take(file);
    field.value = "";
  };
  const card = field.closest<HTMLElement>(".card")!;
  card.ondragover = (event) => event.preventDefault();
  card.ondrop = (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file && !field.disabled) take(file);
  };
}

async function start(): Promise<void> {
  const [wasm, student, encoder] = await Promise.all(["wasm", "student", "encoder"].map(asset));
  const client = new Client(workerCode);
  const transfer = [wasm.buffer, student.buffer, encoder.buffer];
  const model = await client.ask("load", { wasm: wasm.buffer, student, encoder }, transfer);
  new Page(client, model);
  say("page-status", "");
}

start().catch((error: Error) => {
  say("page-status", `This browser cannot run the page (${error.message}); use a recent one.`, "error");
});
