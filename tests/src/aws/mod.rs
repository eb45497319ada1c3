//! AWS on this machine: moto, a stricter EC2 and STS in front of it, and the metadata service of an instance.

pub mod ec2;
mod imds;
mod machines;
mod moto;
mod sigv4;
mod sts;

pub use ec2::Ec2;
pub use imds::Imds;
pub use machines::Machines;
pub use moto::{Moto, RoleCredentials, element};
pub use sigv4::Request;
pub use sts::Sts;
