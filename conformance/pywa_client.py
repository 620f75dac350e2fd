"""pywa against the mock: nothing of it is changed but the base URL."""

import http.server
import json
import os
import queue
import threading
import time
import urllib.request

import httpx
from pywa import WhatsApp, errors
from pywa.types.templates import (
    BodyText,
    Buttons,
    ParamFormat,
    QuickReplyButton,
    Template,
    TemplateCategory,
    TemplateLanguage,
    TemplateStatus,
    URLButton,
)

MOCK_URL = os.environ["MOCK_URL"]
NUMBER, ACCOUNT = "106540352242922", "102290129340398"
PERSON = "+5511987654321"
PATIENCE_S = 20


def control(method, path, body):
    """Turns a knob of the mock."""
    request = urllib.request.Request(
        f"{MOCK_URL}/mock/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return json.load(response)


def expect(what, is_so):
    if not is_so:
        raise SystemExit(f"pywa: {what}: NOT so")
    print(f"pywa: {what}")


def expect_error(what, kind, call):
    try:
        call()
    except errors.WhatsAppError as error:
        expect(f"{what}: {kind.__name__} {error.code}", type(error) is kind)
    else:
        expect(f"{what}: {kind.__name__}", False)


def client(token=os.environ["WHATSAPP_ACCESS_TOKEN"]):
    session = httpx.Client(trust_env=False)
    whatsapp = WhatsApp(
        phone_id=NUMBER,
        waba_id=ACCOUNT,
        token=token,
        session=session,
        app_secret=os.environ["WHATSAPP_APP_SECRET"],
        verify_token=os.environ["WHATSAPP_VERIFY_TOKEN"],
    )
    session.base_url = str(session.base_url).replace("https://graph.facebook.com", MOCK_URL)
    return whatsapp


class Receiver(http.server.BaseHTTPRequestHandler):
    """A webhook's endpoint that leaves everything to pywa."""

    whatsapp = None

    def do_GET(self):
        query = dict(pair.split("=", 1) for pair in self.path.split("?", 1)[1].split("&"))
        answer, status = self.whatsapp.webhook_challenge_handler(
            query["hub.verify_token"], query["hub.challenge"]
        )
        self.answer(status, answer)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refusal = self.whatsapp.webhook_update_validator(body, self.headers.get("X-Hub-Signature-256"))
        answer, status = refusal or self.whatsapp.webhook_update_handler(body)
        self.answer(status, answer)

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def listen(whatsapp):
    """What pywa makes of each webhook, in a queue."""
    updates = queue.Queue()
    for decorator in (
        whatsapp.on_message,
        whatsapp.on_callback_button,
        whatsapp.on_message_status,
        whatsapp.on_template_status_update,
        whatsapp.on_user_marketing_preferences,
    ):
        decorator(lambda _, update: updates.put(update))
    Receiver.whatsapp = whatsapp
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"url": f"http://127.0.0.1:{server.server_port}/", "batch_size": 1}
    settings |= {"sent_ms": 10, "delivered_ms": 10, "read_ms": 10, "read_share": 1}
    control("PUT", "webhooks", settings)
    return updates


def wait_for(updates, what, is_it):
    """The first update that is meant; others are passed over."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            update = updates.get(timeout=max(0.01, deadline - time.monotonic()))
        except queue.Empty:
            raise SystemExit(f"pywa: {what}: did NOT come") from None
        if is_it(update):
            print(f"pywa: {what}")
            return update


def template(name, category):
    return Template(
        name=name,
        language=TemplateLanguage.PORTUGUESE_BR,
        category=category,
        parameter_format=ParamFormat.NAMED,
        components=[
            BodyText("Hello {{first_name}}, there is something new for you in our stores.", first_name="Ana"),
            Buttons(buttons=[
                URLButton(text="Look", url="https://example.com/{{1}}", example="https://example.com/a"),
                QuickReplyButton(text="Stop"),
            ]),
        ],
    )


def check_templates(whatsapp):
    created = [
        whatsapp.create_template(template(f"pywa_{kind.lower()}", kind))
        for kind in (TemplateCategory.MARKETING, TemplateCategory.UTILITY)
    ]
    expect("templates are created and approved", all(one.status == TemplateStatus.APPROVED for one in created))
    page = whatsapp.get_templates(name="pywa_")
    expect("templates are listed", sorted(one.name for one in page) == ["pywa_marketing", "pywa_utility"])
    expect("the list has its summary", page.total_count == 2 and not page.has_next)
    one = whatsapp.get_template(created[0].id)
    expect("a template is shown", one.name == "pywa_marketing" and len(one.components) == 2)
    wrong = template("pywa_wrong", TemplateCategory.UTILITY)
    wrong.components[0] = BodyText("{{first_name}}, this starts with a variable as none should", first_name="Ana")
    try:
        whatsapp.create_template(wrong)
        expect("a variable at the start is refused", False)
    except errors.WhatsAppError as error:
        expect("a variable at the start is refused: 100/2388299", (error.code, error.subcode) == (100, 2388299))


def send(whatsapp, name, **options):
    return whatsapp.send_template(
        PERSON,
        name,
        TemplateLanguage.PORTUGUESE_BR,
        options.pop("params", [BodyText.params(first_name="Ana"), URLButton.params(url_variable="a", index=0)]),
        **options,
    )


def check_messages(whatsapp, updates):
    sent = send(whatsapp, "pywa_utility", tracker="tracked")
    expect("a template is sent", sent.id.startswith("wamid."))
    for status in ("sent", "delivered", "read"):
        update = wait_for(
            updates,
            f"its status {status} comes, signed",
            lambda update: getattr(update, "status", None) == status and update.id == sent.id,
        )
        expect("with what was sent along", update.tracker == "tracked" and update.from_user.wa_id == PERSON[1:])
        if status == "delivered":
            expect("and with its price", update.pricing.category == "utility" and update.pricing.billable)
    expect("marketing is sent its own way", send(whatsapp, "pywa_marketing", use_mm_lite_api=True).id)

    expect_error("a text out of the blue", errors.ReEngagementMessage, lambda: whatsapp.send_text(PERSON, "hi"))
    person = {"phone_number_id": NUMBER, "from": PERSON[1:]}
    control("POST", "inbound", person | {"content": {"type": "text", "body": "oi"}})
    wait_for(updates, "a person writes", lambda update: getattr(update, "text", None) == "oi")
    expect("an answer is sent", whatsapp.send_text(PERSON, "hi").id)
    button = {"type": "button", "text": "Stop", "payload": "stop"}
    control("POST", "inbound", person | {"content": button, "context_id": sent.id})
    wait_for(updates, "a button is pressed", lambda update: getattr(update, "data", None) == "stop")
    control("POST", "inbound", person | {"content": {"type": "preference", "value": "stop"}})
    wait_for(updates, "marketing is stopped", lambda update: type(update).__name__ == "UserMarketingPreferences")


def check_refusals(whatsapp, updates):
    expect_error(
        "a parameter that is missing",
        errors.TemplateParamCountMismatch,
        lambda: send(whatsapp, "pywa_utility", params=[URLButton.params(url_variable="a", index=0)]),
    )
    expect_error("a template that is not there", errors.TemplateNotExists, lambda: send(whatsapp, "pywa_nothing"))
    control("PUT", f"accounts/{ACCOUNT}/templates/pywa_utility/pt_BR", {"status": "PAUSED"})
    wait_for(
        updates,
        "a template is paused",
        lambda update: getattr(update, "new_status", None) == TemplateStatus.PAUSED,
    )
    expect_error("a paused template", errors.TemplatePaused, lambda: send(whatsapp, "pywa_utility"))
    expect_error(
        "a wrong token", errors.ExpiredAccessToken, lambda: client("another").send_text(PERSON, "hi")
    )


def main():
    control("PUT", f"accounts/{ACCOUNT}", {"approves_at_once": True})
    control("PUT", f"numbers/{NUMBER}", {"verified_name": "A Shop"})
    whatsapp = client()
    updates = listen(whatsapp)
    expect("the webhook verifies itself", control("POST", "webhooks/verify", {})["verified"])
    number = whatsapp.get_business_phone_number()
    expect("the number is shown", number.verified_name == "A Shop" and number.quality_rating == "GREEN")
    expect("the account's numbers are listed", [one.id for one in whatsapp.get_business_phone_numbers()] == [NUMBER])
    check_templates(whatsapp)
    check_messages(whatsapp, updates)
    check_refusals(whatsapp, updates)


main()
