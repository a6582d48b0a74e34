#![doc = "stub"]
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;
pub mod error;
pub mod id;
pub mod time;
pub mod wire;
/// x
pub struct Broker;
