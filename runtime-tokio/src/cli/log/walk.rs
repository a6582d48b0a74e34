//! Looks at a topic, and shows how far it is.

use super::LogError;
use super::data::Topic;
use crate::cli::progress::{Progress, Totals};
use message_queue_core::log::{Inspection, InspectionStep, ReadFrom, Seen, SeenContent, Stored};
use std::ops::ControlFlow;

/// What a look at a topic has come to.
pub(super) struct Looked {
    pub(super) inspection: Inspection,
    /// The messages that were seen.
    pub(super) totals: Totals,
    /// The bytes of all files.
    pub(super) bytes: u64,
}

/// Looks at a topic from some place on. `each` is told of every record that is whole, and may end it.
pub(super) fn look(
    topic: &Topic,
    from: ReadFrom,
    mut each: impl FnMut(Seen) -> Result<ControlFlow<()>, LogError>,
) -> Result<Looked, LogError> {
    let files = topic.files()?;
    let bytes = files.iter().map(|(_, size)| size).sum();
    let mut inspection = Inspection::new(topic.name(), &files, from);
    let mut progress = Progress::start(Some(bytes));
    let mut totals = Totals::default();
    let outcome = loop {
        match inspection.next() {
            InspectionStep::Read(operation) => {
                progress.update(inspection.position().0, totals);
                match topic.read(&operation) {
                    Ok(read) => inspection.read(read),
                    Err(error) => break Err(error),
                }
            }
            InspectionStep::Record(seen) => {
                if let SeenContent::Stored(Stored::Run { batch, .. }) = &seen.content {
                    totals.add(batch);
                }
                match each(seen) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            InspectionStep::Done => break Ok(()),
        }
    };
    progress.clear();
    outcome?;
    Ok(Looked {
        inspection,
        totals,
        bytes,
    })
}

/// The same, of every record.
pub(super) fn look_at_all(topic: &Topic) -> Result<Looked, LogError> {
    look(topic, ReadFrom::First, |_| Ok(ControlFlow::Continue(())))
}
