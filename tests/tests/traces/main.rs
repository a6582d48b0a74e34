//! What the broker does, as traces to be read: under each thing that happens, what it makes of it.
//!
//! The traces are in `snapshots/`. Each is played to the model too, so it shows what the rules say
//! and not only what the core happens to do. To write one, give a script without a snapshot, read
//! what comes out, and accept it (`cargo insta review`, or `INSTA_UPDATE=always`).

use message_queue_tests::script::{Script, play};

/// Plays a script and compares the trace with the test's snapshot.
macro_rules! assert_trace {
    ($script:expr) => {
        let script: crate::Script = $script.parse().expect("a script");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(crate::play(&script));
        });
    };
}

mod bounds;
mod connections;
mod delivery;
mod drain;
