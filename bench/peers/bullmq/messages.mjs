// One message: the body of the Cloud API's request, and sending it.

import { Pool } from "undici";

const { WHATSAPP_BASE_URL, WHATSAPP_ACCESS_TOKEN, PHONE_NUMBER_ID, HTTP_CONNECTIONS } = process.env;
// The shape of the engine's own: <campaign>:<round>:<position>.
const CAMPAIGN = "01955c4e-0000-7000-8000-000000000001";
const NAMES = ["nome", "fatura", "valor", "vencimento"];

// The template "lembrete_fatura", filled.
export function render({ seq, to, values }) {
    return {
        messaging_product: "whatsapp",
        recipient_type: "individual",
        to,
        type: "template",
        template: {
            name: "lembrete_fatura",
            language: { code: "pt_BR" },
            components: [{
                type: "body",
                parameters: values.map((text, index) => ({ type: "text", parameter_name: NAMES[index], text })),
            }],
        },
        biz_opaque_callback_data: `${CAMPAIGN}:1:${seq}`,
    };
}

// `simulate` makes the id up, as the engine's simulated transport does; `http` posts to the mock of WhatsApp.
export function sender(kind) {
    if (kind === "simulate") return async (message) => `wamid.simulated.${message.biz_opaque_callback_data}`;
    if (kind !== "http") throw new Error(`SEND: found ${kind}; expected simulate or http`);
    const pool = new Pool(WHATSAPP_BASE_URL, { connections: Number(HTTP_CONNECTIONS) });
    const headers = {
        authorization: `Bearer ${WHATSAPP_ACCESS_TOKEN}`,
        "content-type": "application/json",
    };
    const path = `/v25.0/${PHONE_NUMBER_ID}/messages`;
    return async (message) => {
        const { statusCode, body } = await pool.request({
            method: "POST", path, headers, body: JSON.stringify(message),
        });
        const answer = await body.json();
        // A number that WhatsApp refuses is a message that was dealt with.
        if (statusCode === 200) return answer.messages[0].id;
        if (statusCode >= 500 || statusCode === 429) throw new Error(`WhatsApp answered ${statusCode}`);
        return null;
    };
}
