//! Against AWS on this machine.

mod moto;
