//! What the services say to each other: models, template rendering and queue contracts.
