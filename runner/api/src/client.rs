//! The agent's side of the API.
