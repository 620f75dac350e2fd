"""The engine, as it is deployed: scheduler-svc, sender-svc and some message-svc."""

import subprocess
import time
from datetime import datetime, timezone

from . import settings
from .ground import Ground
from .http import call
from .outside import Service
from .processes import Failed, wait_until

# States in which nothing is known of a message yet.
OPEN_STATES = ("pending", "deferred", "uncertain")
POLL_EVERY_S = 0.05


class Engine:
    def __init__(self, ground: Ground, *, messengers: int = 1, senders: int = 1, transport: str = "cloud-api",
                 environment: dict[str, str] | None = None):
        self.ground = ground
        self._environment = {
            "DATABASE_URL": ground.postgres.url,
            "REDIS_URL": ground.redis.url,
            # 20 requests a second are the default, as courtesy to an ERP; here nobody is to be spared.
            "ERP_REQUESTS_PER_SECOND": "1000",
            "WHATSAPP_APP_SECRET": settings.APP_SECRET,
            "WHATSAPP_VERIFY_TOKEN": settings.VERIFY_TOKEN,
            "TRANSPORT": transport,
            "WORKER_THREADS": str(settings.WORKER_THREADS),
        } | ground.outside() | (environment or {})
        self._migrate()
        self.messengers = [self._service("message-svc", number) for number in range(messengers)]
        self.senders = [self._service("sender-svc", number) for number in range(senders)]
        self.scheduler = self._service("scheduler-svc", 0)
        for service in [*self.messengers, *self.senders, self.scheduler]:
            service.wait_ready()
        self.set_throughput(settings.PHONE_NUMBER_ID, settings.UNLIMITED_PER_SECOND)

    def _service(self, program: str, number: int) -> Service:
        name = program if number == 0 else f"{program}-{number + 1}"
        return Service(self.ground, name, self._environment, program=program)

    def _migrate(self):
        key_file = self.ground.folders.data / "api-key"
        key_file.unlink(missing_ok=True)
        environment = self._environment | {"ADMIN_KEY_FILE": str(key_file), "DEV_DATA": "true"}
        done = subprocess.run([self.ground.binary("migrate")], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"migrate failed: {done.stderr or done.stdout}")
        self._key = key_file.read_text().strip()

    def api(self, method: str, path: str, body=None):
        return call(method, f"{self.scheduler.url}{path}", body, self._key)

    def set_throughput(self, number: str, per_second: int):
        self.api("PATCH", f"/v1/phone-numbers/{number}", {"throughput_per_second": per_second})

    def numbers(self, count: int, per_second: int) -> list[str]:
        """So many numbers of this throughput, the development number first."""
        account = self.api("GET", "/v1/accounts")["items"][0]["id"]
        found = [settings.PHONE_NUMBER_ID]
        self.set_throughput(found[0], per_second)
        for place in range(1, count):
            number = str(int(settings.PHONE_NUMBER_ID) + 1_000 + place)
            self.api("POST", "/v1/phone-numbers", {
                "phone_number_id": number, "account_id": account, "display_number": f"+{number}",
                "throughput_per_second": per_second,
            })
            found.append(number)
        return found

    def create(self, **changes) -> str:
        """A campaign to every active customer; returns its id."""
        campaign = {
            "name": "bench", "phone_number_id": settings.PHONE_NUMBER_ID, "segment": {"active": True},
            "template": {"name": "lembrete_fatura", "language": "pt_BR"},
            "mapping": {
                "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
                "fatura": {"source": "customer.id", "format": "text"},
                "valor": {"constant": "R$ 10,00"},
                "vencimento": {"constant": "10/12/2026"},
            },
        } | changes
        return self.api("POST", "/v1/campaigns", campaign)["id"]

    def schedule(self, campaign: str, at: float | None = None):
        """For now, or for a time in seconds since 1970."""
        body = {}
        if at:
            body["scheduled_at"] = datetime.fromtimestamp(at, timezone.utc).isoformat()
        self.api("POST", f"/v1/campaigns/{campaign}/schedule", body)

    def progress(self, campaign: str) -> dict:
        return self.api("GET", f"/v1/campaigns/{campaign}")["progress"]

    def wait_settled(self, campaign: str, within_s: float, *, read: bool = False,
                     poll_every_s: float = POLL_EVERY_S) -> dict:
        """Until the ledger knows what became of everyone, or with `read` until every message is read."""

        def settled():
            progress = self.progress(campaign)
            states = progress["by_state"]
            is_open = any(states.get(state, 0) for state in OPEN_STATES)
            if not progress["audience_complete"] or is_open or progress["total"] == 0:
                return None
            if read and any(states.get(state, 0) for state in ("accepted", "sent", "delivered")):
                return None
            return progress

        return wait_until("the campaign", within_s, settled, poll_every_s)


