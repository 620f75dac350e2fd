//! A faithful mock of the WhatsApp Cloud API.
