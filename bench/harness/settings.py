"""What is the same for every contender."""

ERP_KEY = "bench-erp-key"
ACCESS_TOKEN = "bench-access-token"
APP_SECRET = "bench-app-secret"
VERIFY_TOKEN = "bench-verify-token"
# The development number that `migrate` makes.
PHONE_NUMBER_ID = "106540352242922"
# Of the ERP, so that the customers are the same on every day.
TODAY = "2026-03-01"
# Customers in a page of the ERP, and those who are asked for.
PAGE_SIZE = 2_000
ERP_QUERY = "active=true"
# Of the number and of the mock: never what holds a contender up.
UNLIMITED_PER_SECOND = 100_000
# Of each service of the engine, and of the peer that has threads: everyone shares the cores with servers and mocks, and
# on two cores one thread each was best for both.
WORKER_THREADS = 1
# Connections to WhatsApp at a time, of a peer.
HTTP_CONNECTIONS = 64
