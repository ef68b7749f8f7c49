//! What is transferred and how: frozen stages, discriminative rates, feature caches.
