/** The page's end of the worker. */

import { UserError } from "./errors";
import type { Reply, RequestName, Requests } from "./protocol";

interface Waiting {
  resolve: (answer: never) => void;
  reject: (error: Error) => void;
  done?: (samples: number) => void;
}

/** Sends requests to the worker, and finds who waits for an answer. */
export class Client {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  /** @param code of the worker. */
  constructor(code: string) {
    this.worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.receive(data);
    this.worker.onerror = ({ message }) => {
      for (const { reject } of this.waiting.values()) reject(new Error(message || "the worker did not start"));
    };
  }

  /**
   * Ask for something.
   *
   * @param transfer what is handed over instead of copied.
   * @param done told how many samples are done.
   * @throws UserError: what was sent cannot be used.
   */
  ask<Name extends RequestName>(
    name: Name,
    content: Requests[Name][0],
    transfer: Transferable[] = [],
    done?: (samples: number) => void,
  ): Promise<Requests[Name][1]> {
    const id = ++this.last;
    this.worker.postMessage({ id, name, content }, transfer);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject, done }));
  }

  private receive(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (!waiting) return;
    if ("done" in reply) return waiting.done?.(reply.done);
    this.waiting.delete(reply.id);
    if ("error" in reply) waiting.reject(reply.user ? new UserError(reply.error) : new Error(reply.error));
    else waiting.resolve(reply.answer as never);
  }
}
