// The audience: the same pages of the ERP that the engine reads, as messages with their values.

import { Pool } from "undici";

const { ERP_BASE_URL, ERP_API_KEY, ERP_PAGE_SIZE, ERP_QUERY } = process.env;

// Whoever has a phone. The engine does more here: it checks the number and the consent, and finds duplicates.
function message(customer, seq) {
    const digits = (customer.phone ?? "").replace(/\D/g, "");
    if (digits === "") return null;
    return {
        seq,
        to: digits.startsWith("55") && digits.length > 11 ? `+${digits}` : `+55${digits}`,
        values: [customer.name?.split(" ", 1)[0] ?? "cliente", customer.id, "R$ 10,00", "10/12/2026"],
    };
}

// Yields the messages of one page after the other; the next page is fetched while one is worked on.
export async function* pages() {
    const pool = new Pool(ERP_BASE_URL, { connections: 1 });
    const fetchPage = async (cursor) => {
        const after = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
        const { statusCode, body } = await pool.request({
            method: "GET",
            path: `/v1/customers?${ERP_QUERY}&limit=${ERP_PAGE_SIZE}${after}`,
            headers: { authorization: `Bearer ${ERP_API_KEY}` },
        });
        if (statusCode !== 200) throw new Error(`the ERP answered ${statusCode}: ${await body.text()}`);
        return body.json();
    };
    let seq = 0;
    let coming = fetchPage(null);
    while (coming) {
        const page = await coming;
        coming = page.next_cursor ? fetchPage(page.next_cursor) : null;
        const messages = [];
        for (const customer of page.customers) {
            const made = message(customer, seq + 1);
            if (made) {
                seq += 1;
                messages.push(made);
            }
        }
        if (messages.length > 0) yield messages;
    }
    await pool.close();
}
