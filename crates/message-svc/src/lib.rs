//! Takes, renders and sends messages; receives webhooks.
