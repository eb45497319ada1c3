//! AWS on this machine: moto.

mod moto;

pub use moto::{Moto, RoleCredentials, element};
