//! Version 2 as `docs/PROTOCOL.md` has it: its tables, its examples byte for byte, and its decisions.

mod decisions;
mod examples;
mod promises;
mod sharing;
mod tables;
