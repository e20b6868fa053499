// Files → the server, several to a request: as many requests as pictures would take longer than reading them.

import { Failure, t } from "../core.js";

const TOGETHER_BYTES = 2_000_000;
const TOGETHER = 24; // to take their sizes holds up the page, see below
const FIRST = 8; // the first request is small, so that reading begins at once
const AT_ONCE = 2;
const TRIES = 3;
const PICTURE = /\.(jpe?g|jpe|jfif|png|bmp|dib|tiff?|gif|webp)$/i;

/** One request's worth of files. See dashboard/upload/intake.py. */
function packed(parcels) {
  const parts = [];
  for (const { name, file, index } of parcels) {
    const head = new TextEncoder().encode(JSON.stringify({ name, size: file.size, index }));
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, head.length);
    parts.push(length, head, file);
  }
  return new Blob(parts);
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** To ask a file for its size takes Chromium a millisecond: it is asked when its turn comes. */
function* batches(files, largest, failed) {
  let batch = [];
  let bytes = 0;
  let most = FIRST;
  for (const [index, { name, file }] of files.entries()) {
    if (file.size > largest) {
      failed(name, t("upload.file_too_large", { size: megabytes(file.size), most: megabytes(largest) }));
      continue;
    }
    const parcel = { name, file, index };
    if (batch.length && (batch.length >= most || bytes + parcel.file.size > TOGETHER_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
      most = TOGETHER;
    }
    batch.push(parcel);
    bytes += parcel.file.size;
  }
  if (batch.length) yield batch;
}

/** Send a body, and hear how far it is. Resolves when the server has answered that it has it. */
function post(url, body, signal, heard) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.upload.onprogress = (event) => heard(event.loaded);
    request.onload = () => {
      let said = {};
      try {
        said = JSON.parse(request.responseText);
      } catch {
        said = { error: request.statusText };
      }
      if (request.status === 200) resolve(said);
      else reject(new Failure(request.status, said.error || String(request.status)));
    };
    request.onerror = () => reject(new Failure(0, t("upload.connection_lost")));
    request.onabort = () => reject(new Failure(-1, ""));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/**
 * Send files.
 *
 * @param url where to
 * @param files [{name, file}]
 * @param most bytes of one file
 * @param signal ends it
 * @param heard called with the number of files that were dealt with, and the bytes that left so far
 * @param failed called with the name and the reason of a file that cannot be sent
 * @throws Failure where the server takes no more
 */
export async function send(url, files, { most, signal, heard, failed }) {
  let count = 0;
  const refuse = (name, why) => {
    count += 1;
    failed(name, why);
  };
  const waiting = batches(files, most, refuse);
  const sent = new Map();
  const tell = (batch, bytes) => {
    sent.set(batch, bytes);
    heard(count, [...sent.values()].reduce((sum, each) => sum + each, 0));
  };

  async function deliver(batch) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const body = packed(batch);
        await post(url, body, signal, (bytes) => tell(batch, bytes));
        count += batch.length;
        tell(batch, body.size);
        return;
      } catch (failure) {
        if (failure.status !== 0) throw failure;
        if (batch.length > 1) {
          // One of them may have been changed or removed since it was chosen, which ends the whole request.
          for (const parcel of batch) await deliver([parcel]);
          return;
        }
        if (!(await readable(batch[0].file))) {
          refuse(batch[0].name, t("upload.file_changed"));
          return;
        }
        if (attempt === TRIES) throw failure;
      }
    }
  }

  async function hand() {
    for (let next = waiting.next(); !next.done; next = waiting.next()) await deliver(next.value);
  }
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
}

async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Chosen files as [{name, file}]; of a folder only what is named as a picture, hidden ones left out. */
export function chosen(files) {
  const list = [...files].map((file) => ({ name: file.webkitRelativePath || file.name, file }));
  return list.filter(({ name }) => !name.includes("/") || isPicture(name));
}

function isPicture(path) {
  return PICTURE.test(path) && !path.split("/").some((part) => part.startsWith("."));
}

/** What was dropped, folders with all below them. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) found.push({ name: entry.name, file: await fileOf(entry) });
    else await walk(entry, entry.name, found);
  }
  return found;
}

async function walk(folder, path, found) {
  const reader = folder.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    inside.push(...some);
  }
  inside.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of inside) {
    const name = `${path}/${entry.name}`;
    if (entry.isDirectory && !entry.name.startsWith(".")) await walk(entry, name, found);
    else if (entry.isFile && isPicture(name)) found.push({ name, file: await fileOf(entry) });
  }
}

function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
