//! The runner's API for its agents: wire types and a small client.
