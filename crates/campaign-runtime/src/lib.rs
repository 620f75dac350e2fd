//! How a process lives: configuration, telemetry, health, shutdown, problem details.
