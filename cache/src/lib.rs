//! Content-addressed, deduplicated, verified dependency caches.
