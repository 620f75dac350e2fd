// @kapso/whatsapp-cloud-api against the mock: nothing of it is changed but the base URL.

import http from "node:http";
import { GraphApiError, WhatsAppClient } from "@kapso/whatsapp-cloud-api";
import { normalizeWebhook, verifySignature } from "@kapso/whatsapp-cloud-api/server";

const { MOCK_URL, WHATSAPP_ACCESS_TOKEN, WHATSAPP_APP_SECRET } = process.env;
const number = "106540352242923";
const account = "102290129340399";
const person = "+5531987654321";
const patienceMs = 20_000;

/** Turns a knob of the mock. */
async function control(method, path, body) {
  const response = await fetch(`${MOCK_URL}/mock/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

function expect(what, isSo) {
  if (!isSo) throw new Error(`kapso: ${what}: NOT so`);
  console.log(`kapso: ${what}`);
}

async function expectError(what, code, call) {
  const error = await call().then(() => undefined, (error) => error);
  expect(`${what}: ${code}`, error instanceof GraphApiError && error.code === code);
}

/** What the client makes of each webhook, once its signature is right. */
async function listen() {
  const received = [];
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const rawBody = Buffer.concat(chunks);
    const signatureHeader = request.headers["x-hub-signature-256"];
    if (!verifySignature({ appSecret: WHATSAPP_APP_SECRET, rawBody, signatureHeader })) {
      response.writeHead(401).end();
      return;
    }
    received.push(normalizeWebhook(JSON.parse(rawBody)));
    response.writeHead(200).end();
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${server.address().port}/`;
  await control("PUT", "webhooks", { url, batch_size: 10 });
  return { received, close: () => server.close() };
}

async function waitFor(what, find) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const found = find();
    if (found) {
      console.log(`kapso: ${what}`);
      return found;
    }
    if (Date.now() > deadline) throw new Error(`kapso: ${what}: did NOT come`);
    await new Promise((later) => setTimeout(later, 20));
  }
}

const client = new WhatsAppClient({ baseUrl: MOCK_URL, accessToken: WHATSAPP_ACCESS_TOKEN });

function template(name, parameters) {
  return { name, language: { code: "pt_BR" }, components: [{ type: "body", parameters }] };
}

function send(name, parameters = [{ type: "text", text: "Ana" }]) {
  return client.messages.sendTemplate({
    phoneNumberId: number,
    to: person,
    template: template(name, parameters),
    bizOpaqueCallbackData: "tracked",
  });
}

async function checkTemplates() {
  for (const name of ["kapso_first", "kapso_second"]) {
    const created = await client.templates.create({
      businessAccountId: account,
      name,
      language: "pt_BR",
      category: "MARKETING",
      components: [{
        type: "BODY",
        text: "Hello {{1}}, there is something new for you in all of our stores.",
        example: { bodyText: [["Ana"]] },
      }],
    });
    expect(`template ${name} is created`, created.status === "APPROVED");
  }
  const first = await client.templates.list({ businessAccountId: account, limit: 1 });
  const after = first.paging.cursors.after;
  const second = await client.templates.list({ businessAccountId: account, limit: 1, after });
  const names = [...first.data, ...second.data].map((one) => one.name);
  expect("templates are listed page by page", names.join() === "kapso_first,kapso_second");
  const deleted = await client.templates.delete({ businessAccountId: account, name: "kapso_second" });
  expect("a template is deleted", deleted.success);
}

async function checkMessages(webhooks) {
  const sent = await send("kapso_first");
  const { id } = sent.messages[0];
  expect("a template is sent", id.startsWith("wamid.") && sent.contacts[0].waId === "553187654321");
  const statuses = () => webhooks.received.flatMap((webhook) => webhook.statuses);
  const delivered = await waitFor("its delivery is reported, signed", () =>
    statuses().find((status) => status.id === id && status.status === "delivered"));
  expect("with what was sent along", delivered.bizOpaqueCallbackData === "tracked");
  expect("and with its price", delivered.pricing.category === "marketing" && delivered.pricing.billable);

  const text = () => client.messages.sendText({ phoneNumberId: number, to: person, body: "hi" });
  await expectError("a text out of the blue", 131047, text);
  await control("POST", "inbound", {
    phone_number_id: number,
    from: "553187654321",
    content: { type: "text", body: "oi" },
  });
  const messages = () => webhooks.received.flatMap((webhook) => webhook.messages);
  await waitFor("a person writes", () => messages().find((message) => message.text?.body === "oi"));
  expect("an answer is sent", (await text()).messages[0].id);
}

async function checkRefusals() {
  await expectError("a parameter too many", 132000, () =>
    send("kapso_first", [{ type: "text", text: "Ana" }, { type: "text", text: "Bia" }]));
  await expectError("a template that was deleted", 132001, () => send("kapso_second"));
  await expectError("a value with a newline", 132018, () => send("kapso_first", [{ type: "text", text: "a\nb" }]));
  await control("PUT", `numbers/${number}`, { marketing_messages_only: true });
  await expectError("marketing on the ordinary way", 131063, () => send("kapso_first"));
  const stranger = new WhatsAppClient({ baseUrl: MOCK_URL, accessToken: "another" });
  await expectError("a wrong token", 190, () =>
    stranger.messages.sendText({ phoneNumberId: number, to: person, body: "hi" }));
}

await control("PUT", `accounts/${account}`, { approves_at_once: true });
await control("PUT", `numbers/${number}`, { account_id: account });
const webhooks = await listen();
await checkTemplates();
await checkMessages(webhooks);
await checkRefusals();
webhooks.close();
process.exit(0);
