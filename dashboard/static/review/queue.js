// Decisions on their way to the device, one after another. They are kept in this tab until the device has answered, so
// that neither a broker that restarts nor a sign-in that has ended loses one. A decision that is sent again bears the
// same id, and the device does it once.

import { Failure, address, postJson } from "../core.js";
import { newRequest } from "../cells.js";

const KEPT = "leukoscope-decisions";
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

export class Queue extends EventTarget {
  constructor(user) {
    super();
    this.user = user;
    this.items = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    this.blocked = false;
    this.busy = false;
    this.pause = FIRST_PAUSE_MS;
    this.wake = null;
    addEventListener("beforeunload", (event) => {
      if (this.items.length && !this.blocked) event.preventDefault();
    });
  }

  /** Decisions that somebody else made here before. */
  get foreign() {
    return this.items.filter((item) => item.user !== this.user);
  }

  add(item) {
    this.items.push({ ...item, request: newRequest(), user: this.user, problem: "" });
    this.keep();
    this.tell("changed");
    this.run();
  }

  /** The newest decision on a cell that the device has not answered yet. */
  waiting(device, cell) {
    return this.items.findLast((item) => item.device === device && item.cell === cell);
  }

  /** Try again at once. */
  kick() {
    this.pause = FIRST_PAUSE_MS;
    this.blocked = false;
    if (this.wake) this.wake();
    else this.run();
  }

  giveUp() {
    this.items = this.items.filter((item) => item.user === this.user);
    this.keep();
    this.tell("changed");
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    while (this.items.length && !this.blocked && !this.foreign.length) {
      const item = this.items[0];
      try {
        const { device, user, problem, ...said } = item;
        const answer = await postJson(address("/act", device, "decide"), said);
        this.settle(item, answer.ok ? "done" : "refused", answer.message);
      } catch (error) {
        await this.failed(item, error);
      }
    }
    this.busy = false;
  }

  async failed(item, error) {
    const status = error instanceof Failure ? error.status : 0;
    if (status === 401) {
      this.blocked = true;
      this.tell("signedout");
    } else if (status >= 400 && status < 500) {
      this.settle(item, "refused", error.message);
    } else {
      item.problem = error.message;
      this.keep();
      this.tell("changed");
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, this.pause);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = null;
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
    }
  }

  settle(item, what, message) {
    this.pause = FIRST_PAUSE_MS;
    this.items = this.items.filter((each) => each !== item);
    this.keep();
    this.tell(what, { item, message });
    this.tell("changed");
  }

  keep() {
    sessionStorage.setItem(KEPT, JSON.stringify(this.items));
  }

  tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
