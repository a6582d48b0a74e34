//! The broker's host.

use super::recorder::Recorder;
use super::socket::RecordedListener;
use crate::hosts::Program;
use crate::net::WorldListener;
use crate::plan::Plan;
use message_queue_core::wire::DecoderConfig;
use message_queue_tokio::Server;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use turmoil_net::shim::tokio::net::TcpListener;

/// The broker's host runs the production driver, unchanged.
pub(super) fn broker(
    plan: &Plan,
    recorder: Recorder,
    drain: Rc<Notify>,
    port: Rc<Cell<u16>>,
) -> Program {
    let settings = plan.settings.clone();
    let decoder = DecoderConfig {
        role_line_bytes: settings.role_line_bytes,
        read_bytes: settings.read_bytes,
    };
    let chaos = plan.packets.as_ref().is_some_and(|packets| packets.chaos);
    let chaos = chaos.then_some(plan.network.chunk_bytes);
    let seed = plan.seed;
    Box::new(move || {
        // Its clients look it up; see `World::start`.
        port.set(port.get() + 1);
        let address = ("0.0.0.0", port.get());
        let (settings, recorder, drain) = (settings.clone(), recorder.clone(), Rc::clone(&drain));
        Box::pin(async move {
            let listener = TcpListener::bind(address).await;
            let listener = listener.expect("nobody has listened on this port before");
            let listener = RecordedListener {
                listener: WorldListener(listener),
                recorder: recorder.clone(),
                chaos,
                seed,
            };
            // A producer may pause in a frame for as long as a consumer may in a write.
            let frame_timeout = Duration::from_micros(settings.write_timeout_us);
            let server = Server::new(settings.config(), decoder)
                .with_frame_timeout(frame_timeout)
                .observed_by(recorder);
            let handle = server.handle();
            let serving = server.serve(listener);
            tokio::pin!(serving);
            tokio::select! {
                biased;
                _ = &mut serving => return,
                () = drain.notified() => {}
            }
            handle.drain(Duration::from_micros(settings.drain_timeout_us));
            serving.await;
        })
    })
}
