// The engine's work done with BullMQ: one job for each customer, whose worker renders the template and sends.
//
// ROLE is `produce`, `work` or `both`. Says "ready" when connected, begins at "go" on standard input, and tells
// "produced <jobs>" and "done <jobs so far>"; ends when standard input does.

import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { createInterface } from "node:readline";
import { pages } from "./audience.mjs";
import { Ledger } from "./ledger.mjs";
import { render, sender } from "./messages.mjs";

const QUEUE = "messages";
// How often progress is told, in milliseconds. The clock of the harness stops at the last one.
const TELL_EVERY_MS = 10;

const { ROLE, REDIS_PORT, DATABASE_URL, SEND, CONCURRENCY } = process.env;

function connection() {
    return new Redis({
        host: "127.0.0.1",
        port: Number(REDIS_PORT),
        maxRetriesPerRequest: null,
        enableAutoPipelining: true,
    });
}

const ledger = DATABASE_URL ? new Ledger(DATABASE_URL) : null;
const tell = (line) => process.stdout.write(`${line}\n`);

async function makeProducer() {
    const queue = new Queue(QUEUE, { connection: connection() });
    await queue.waitUntilReady();
    return async () => {
        let produced = 0;
        for await (const messages of pages()) {
            if (ledger) await ledger.insert(messages);
            await queue.addBulk(messages.map((data) => ({ name: "message", data })));
            produced += messages.length;
        }
        tell(`produced ${produced}`);
    };
}

async function makeWorker() {
    const send = sender(SEND);
    const process = async ({ data }) => {
        const wamid = await send(render(data));
        if (ledger) await ledger.accepted(data.seq, wamid);
        return wamid;
    };
    const worker = new Worker(QUEUE, process, {
        connection: connection(),
        concurrency: Number(CONCURRENCY),
        removeOnComplete: { count: 0 },
        autorun: false,
    });
    let done = 0;
    let told = 0;
    worker.on("completed", () => { done += 1; });
    worker.on("failed", (job, error) => {
        console.error(`a job failed: ${error.message}`);
        globalThis.process.exit(1);
    });
    worker.on("error", (error) => console.error(error));
    await worker.waitUntilReady();
    setInterval(() => {
        if (done !== told) tell(`done ${told = done}`);
    }, TELL_EVERY_MS);
    return () => worker.run();
}

const begin = [];
if (ROLE === "produce" || ROLE === "both") begin.push(await makeProducer());
if (ROLE === "work" || ROLE === "both") begin.push(await makeWorker());
if (begin.length === 0) throw new Error(`ROLE: found ${ROLE}; expected produce, work or both`);
if (ledger) await ledger.connect();

const commands = createInterface({ input: process.stdin });
commands.on("close", () => process.exit(0));
commands.once("line", () => {
    for (const start of begin) {
        start().catch((error) => {
            console.error(error);
            process.exit(1);
        });
    }
});
tell("ready");
