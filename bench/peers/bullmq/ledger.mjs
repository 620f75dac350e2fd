// One Postgres row for each message, written in batches: inserted with its page, updated when it was sent.

import pg from "pg";

// Rows in one update, and updates at a time.
const BATCH_MAX = 1000;
const IN_FLIGHT_MAX = 2;

export class Ledger {
    #pool;
    #waiting = [];
    #inFlight = 0;

    constructor(connectionString) {
        this.#pool = new pg.Pool({ connectionString, max: 1 + IN_FLIGHT_MAX });
    }

    async connect() {
        await this.#pool.query("SELECT 1");
    }

    async insert(messages) {
        await this.#pool.query({
            name: "insert",
            text: `INSERT INTO peer_messages (seq, phone, variables)
                   SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::jsonb[])`,
            values: [
                messages.map(({ seq }) => seq),
                messages.map(({ to }) => to),
                messages.map(({ values }) => JSON.stringify(values)),
            ],
        });
    }

    // Resolves when the row is committed. What comes while updates are under way goes with the next one.
    accepted(seq, wamid) {
        return new Promise((resolve, reject) => {
            this.#waiting.push({ seq, wamid, resolve, reject });
            if (this.#waiting.length === 1) setImmediate(() => this.#flush());
        });
    }

    async #flush() {
        if (this.#inFlight >= IN_FLIGHT_MAX || this.#waiting.length === 0) return;
        const batch = this.#waiting.splice(0, BATCH_MAX).sort((one, other) => one.seq - other.seq);
        this.#inFlight += 1;
        try {
            await this.#pool.query({
                name: "accepted",
                text: `UPDATE peer_messages AS m
                       SET state = CASE WHEN u.wamid IS NULL THEN 'failed' ELSE 'accepted' END,
                           wamid = u.wamid, settled_at = now()
                       FROM UNNEST($1::bigint[], $2::text[]) AS u (seq, wamid) WHERE m.seq = u.seq`,
                values: [batch.map(({ seq }) => seq), batch.map(({ wamid }) => wamid)],
            });
            for (const { resolve } of batch) resolve();
        } catch (error) {
            for (const { reject } of batch) reject(error);
        } finally {
            this.#inFlight -= 1;
            setImmediate(() => this.#flush());
        }
    }
}
