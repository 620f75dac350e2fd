//! Applies the migrations and creates the first API key.
