//! What a broker does, message by message.

use message_queue_core::Output;

/// One thing that a broker does: an [`Output`] of the core, its write taken apart into messages.
pub type Effect = Output<Vec<Vec<u8>>>;

/// What the core did, message by message.
pub fn effect(output: Output) -> Effect {
    output.map_write(|write| {
        let bodies = write.batches().flat_map(|batch| batch.bodies());
        bodies.map(|body| body.to_vec()).collect()
    })
}
