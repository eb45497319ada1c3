//! AWS on this machine: moto.

pub mod ec2;
mod moto;

pub use ec2::Ec2;
pub use moto::{Moto, RoleCredentials, element};
