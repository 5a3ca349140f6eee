//! Ringway, the proxy engine.
