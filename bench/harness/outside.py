"""The two mocks: erp-mock-svc, whose customers everybody reads, and whatsapp-mock-svc, which everybody sends to."""

from . import settings
from .http import call, is_ready
from .processes import free_port, wait_until

READY_WITHIN_S = 60


class Service:
    """One of this project's services, listening on a port of its own."""

    def __init__(self, ground, name: str, environment: dict[str, str], *, program: str | None = None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        common = {"LISTEN_ADDR": f"127.0.0.1:{self.port}"}
        self.process = ground.start(name, [ground.binary(program or name)], common | environment)

    def wait_ready(self):
        def ready() -> bool:
            self.process.require_running()
            return is_ready(self.port)

        wait_until(f"{self.process.name} to be ready", READY_WITHIN_S, ready)


class Erp(Service):
    def __init__(self, ground, customers: int):
        super().__init__(ground, "erp-mock-svc", {
            "ERP_API_KEY": settings.ERP_KEY,
            "ERP_MOCK_CUSTOMERS": str(customers),
            "ERP_MOCK_TODAY": settings.TODAY,
            "REDIS_URL": ground.redis.url,
        })
        self.wait_ready()


class WhatsApp(Service):
    """Answers at once, and sends no webhooks until it is told where to."""

    def __init__(self, ground, changes: dict[str, str]):
        super().__init__(ground, "whatsapp-mock-svc", {
            "WHATSAPP_ACCESS_TOKEN": settings.ACCESS_TOKEN,
            "WHATSAPP_APP_SECRET": settings.APP_SECRET,
            "WHATSAPP_VERIFY_TOKEN": settings.VERIFY_TOKEN,
            "MOCK_LATENCY_MS": "0",
            "MOCK_JITTER_MS": "0",
            "MOCK_THROUGHPUT": str(settings.UNLIMITED_PER_SECOND),
        } | changes)
        self.wait_ready()

    def send_webhooks(self, urls_of_messenger: str):
        """All three statuses of each message, as soon as they can be."""
        call("PUT", f"{self.url}/mock/webhooks", {
            "enabled": True, "url": f"{urls_of_messenger}/webhooks/whatsapp", "read_share": 1.0,
            "sent_ms": 0, "delivered_ms": 0, "read_ms": 0,
        })

    def set_throughput(self, number: str, per_second: int):
        call("PUT", f"{self.url}/mock/numbers/{number}", {"throughput": per_second})

    def acceptances(self, campaign: str | None = None) -> dict:
        of = f"?campaign={campaign}" if campaign else ""
        return call("GET", f"{self.url}/mock/acceptances{of}")

    def rate(self, number: str) -> dict:
        return call("GET", f"{self.url}/mock/rate?phone_number_id={number}")

    def webhooks_left(self) -> int:
        outbox = call("GET", f"{self.url}/mock")["webhooks"]
        return sum(outbox[part] for part in ("pending", "ready", "inbound", "delivering"))


